"""Charlson comorbidity index: conditions by ICD-10 category, from a pack."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models.pack import Pack, PackRef

COLUMNS = ("condition", "name", "weight", "superseded_by", "prefix")


@dataclass(frozen=True, slots=True)
class Condition:
    """One comorbidity: ``superseded_by`` is the worse form, with which it does not count."""

    code: str
    name: str
    weight: int
    superseded_by: str
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ComorbidityIndex:
    """The conditions of one published index."""

    conditions: tuple[Condition, ...]
    pack: PackRef | None = None

    def of(self, diagnoses: Iterable[str]) -> tuple[int, tuple[Condition, ...]]:
        """The index and the conditions that count among ``diagnoses`` (other diagnoses, 医保版)."""
        codes = tuple(diagnoses)
        found = {
            condition.code: condition
            for condition in self.conditions
            if any(code.startswith(condition.prefixes) for code in codes)
        }
        counted = tuple(one for one in found.values() if one.superseded_by not in found)
        return sum(one.weight for one in counted), counted


def load_comorbidity(pack: Pack) -> ComorbidityIndex:
    """Read a pack of kind ``comorbidity-index``. Raises PackError."""
    prefixes: dict[str, list[str]] = {}
    heads: dict[str, tuple[str, int, str]] = {}
    for code, name, weight, superseded_by, prefix in pack.records("conditions", *COLUMNS):
        heads[code] = (name, int(weight), superseded_by)
        prefixes.setdefault(code, []).append(prefix)
    return ComorbidityIndex(
        tuple(
            Condition(code, name, weight, superseded_by, tuple(prefixes[code]))
            for code, (name, weight, superseded_by) in heads.items()
        ),
        pack.ref,
    )
