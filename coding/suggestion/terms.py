"""Our own tables of abbreviations, usages, eponyms and spellings, as one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coding.names import SYSTEMS, System
from coding.normalize import Normalizer, compact
from coding.suggestion.concepts import Concepts
from models.pack import Pack, PackError

CONCEPTS = ("site", "finding")
"""What words of the table of concepts are about."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the pack of kind ``coding-terms`` says, keys and values in the one spelling.

    ``expansions``: per system, phrase → every wording it may stand for, the usual one first.
    ``broader``: a part of the body or a finding → what the tables group it under.
    ``concepts``: the words for parts of the body (site) and for what is wrong with them (finding).
    ``common``: names that general hospitals code daily (2) or often (1).
    ``morphology``: (ICD-O-3 morphology code, name, whether it is the preferred name).
    """

    normalize: Normalizer
    expansions: Mapping[System, Mapping[str, tuple[str, ...]]]
    broader: Mapping[str, str]
    concepts: Mapping[str, Concepts]
    common: Mapping[System, Mapping[str, int]]
    morphology: tuple[tuple[str, str, bool], ...]
    initials: Sequence[Mapping[str, str]]

    @classmethod
    def load(cls, pack: Pack) -> Terms:
        """Read the pack's tables. Raises PackError."""
        normalize = Normalizer(
            {row["text"]: row["simplified"] for row in pack.rows("traditional")},
            {row["text"]: row["expansion"] for row in pack.rows("variants")},
        )
        collected: dict[System, dict[str, dict[str, None]]] = {"icd10": {}, "icd9cm3": {}}

        def add(system: System, text: str, expansion: str) -> None:
            key, value = normalize(text), normalize(expansion)
            if key and value != key:
                collected[system].setdefault(key, {})[value] = None

        for row in pack.rows("abbreviations") + pack.rows("synonyms"):
            add("icd9cm3" if row["system"] == "icd9cm3" else "icd10", row["text"], row["expansion"])
        for row in pack.rows("eponyms"):
            add("icd10", row["text"], row["expansion"])
            add("icd9cm3", row["text"], row["expansion"])
        return cls(
            normalize,
            {
                system: {key: tuple(values) for key, values in phrases.items()}
                for system, phrases in collected.items()
            },
            {normalize(row["text"]): normalize(row["broader"]) for row in pack.rows("sites")},
            _concepts(pack, normalize),
            {
                system: {
                    normalize(row["name"]): 1 if row.get("grade") == "1" else 2
                    for row in pack.rows("common")
                    if row["system"] == system
                }
                for system in SYSTEMS
            },
            tuple((row["code"], row["name"], row["preferred"] == "1") for row in pack.rows("morphology")),
            pack.rows("initials"),
        )


def _concepts(pack: Pack, normalize: Normalizer) -> dict[str, Concepts]:
    pairs: dict[str, list[tuple[str, str]]] = {kind: [] for kind in CONCEPTS}
    for kind, text, broader in pack.records("concepts", "kind", "text", "broader"):
        if kind in pairs:
            pairs[kind].append((compact(normalize(text)), compact(normalize(broader))))
    try:
        return {kind: Concepts.build(found) for kind, found in pairs.items()}
    except ValueError as error:
        raise PackError(
            f"{pack.folder.name} 的 concepts 表：“{error}”的上位词绕回了它自己，请改正 broader 一列"
        ) from error
