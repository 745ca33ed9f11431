"""The code tables of one edition: look a code up, climb to its category, map codes of other editions."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Literal, NamedTuple

from models.pack import Pack, PackError, PackRef, PackStore

System = Literal["icd10", "icd9cm3"]
PROCEDURE_KINDS = ("手术", "介入治疗", "治疗性操作", "诊断性操作")
MAX_CODE_LENGTH = 64
"""Longest text read as a code; the longest code of the national tables has 20 characters."""

_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_VARIANTS = _HALF_WIDTH | str.maketrans({"†": "+", "∗": "*", "。": ".", "·": ".", "×": "x"})
_BLANKS = re.compile(r"\s+")
_EXTENSION = re.compile(r"(?<=\d)x\d{3,4}$")


def normalize_code(text: str) -> str:
    """``text`` as the tables write codes: half-width, no blanks, ``+`` for †, capitals but a small x.

    The x of an extension or a filler (``I10.X05``) is small, the chapter X (``X59.900``) is a capital.
    """
    # A capital may be longer than its letter: ß is SS.
    plain = _BLANKS.sub("", text[:MAX_CODE_LENGTH].translate(_VARIANTS)).upper()[:MAX_CODE_LENGTH]
    return "+".join(half[:1] + half[1:].replace("X", "x") for half in plain.split("+"))


def category(code: str) -> str:
    """The category (类目) of a code: ``E11`` of E11.900x001, ``36.0`` of the procedure 36.0600x001."""
    return code[:3] if code[:1].isalpha() else code[:4]


def subcategory(code: str) -> str:
    """The subcategory (亚目) of a code: ``E11.9`` of E11.900x001, ``36.06`` of 36.0600x001."""
    return code[:5]


def ancestors(code: str) -> tuple[str, ...]:
    """What stands above a code, nearest first: the code without extension, subcategory, category.

    A combined code climbs by its dagger half. ``E11.900x001`` → ``E11.900``, ``E11.9``, ``E11``.
    """
    dagger = code.partition("+")[0]
    base = _EXTENSION.sub("", dagger)
    chain = dict.fromkeys((dagger, base, subcategory(base), category(base)))
    return tuple(above for above in chain if above != code)


class Code(NamedTuple):
    """One entry of a code table. ``grey``: in the book but never on a settlement list (灰码).

    ``kind`` is the kind of a procedure (手术, 介入治疗, 治疗性操作, 诊断性操作), empty where the book
    gives none and for diagnoses. ``aliases``: other names of the same code, each once.
    """

    code: str
    name: str
    grey: bool
    kind: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def dagger(self) -> str:
        """The dagger half of a combined code (M34.800x007+N08.5* → M34.800x007), else the code."""
        return self.code.partition("+")[0]

    @property
    def asterisk(self) -> str:
        """The asterisk half of a combined code, with its asterisk (N08.5*); empty for other codes."""
        return self.code.partition("+")[2]


@dataclass(frozen=True)
class CodeTable:
    """One code book: ``codes`` by code in the book's order, and the pack it was read from."""

    system: System
    codes: Mapping[str, Code]
    pack: Pack

    def get(self, code: str) -> Code | None:
        """The entry of a code as the book writes it (see ``normalize_code``)."""
        return self.codes.get(code)

    def starting_with(self, prefix: str) -> Iterator[Code]:
        """Every entry whose code begins with ``prefix``, in code order."""
        ordered = self._ordered
        for position in range(bisect_left(ordered, prefix), len(ordered)):
            if not ordered[position].startswith(prefix):
                return
            yield self.codes[ordered[position]]

    @cached_property
    def categories(self) -> frozenset[str]:
        """Every category that holds a code."""
        return frozenset(map(category, self.codes))

    @cached_property
    def subcategories(self) -> frozenset[str]:
        """Every subcategory that holds a code."""
        return frozenset(map(subcategory, self.codes))

    @cached_property
    def editions(self) -> Mapping[str, Mapping[str, str | None]]:
        """Per edition (``clinical-2.0`` …): its code → the code of this book, None without counterpart.

        Read when first asked for. A target that this book lacks counts as no counterpart.
        """
        found: dict[str, dict[str, str | None]] = {}
        if "crosswalk" not in self.pack.manifest.tables:
            return found
        for edition, code, target in self.pack.records("crosswalk", "edition", "code", "insurance_code"):
            found.setdefault(edition, {})[code] = target if target in self.codes else None
        return found

    @cached_property
    def _ordered(self) -> list[str]:
        return sorted(self.codes)


@dataclass(frozen=True, slots=True)
class CodeLibrary:
    """The diagnoses and the procedures of one edition, as settlement lists write them."""

    icd10: CodeTable
    icd9cm3: CodeTable

    def diagnosis(self, code: str) -> Code | None:
        """The diagnosis with exactly this code, or None."""
        return self.icd10.codes.get(code)

    def procedure(self, code: str) -> Code | None:
        """The procedure with exactly this code, or None."""
        return self.icd9cm3.codes.get(code)

    def table(self, system: System) -> CodeTable:
        """The code book of one system."""
        return self.icd10 if system == "icd10" else self.icd9cm3

    def starting_with(self, prefix: str, system: System = "icd10") -> Iterator[Code]:
        """Every entry of one system whose code begins with ``prefix``, in code order."""
        return self.table(system).starting_with(prefix)

    def to_insurance(self, system: System, edition: str, code: str) -> str | None:
        """The code of this library for ``code`` of another ``edition``, None without counterpart.

        ``edition`` decides, never the look of the code: the same string can mean another disease in
        another edition. Raises UnknownEditionError for an edition without a crosswalk.
        """
        editions = self.table(system).editions
        if edition not in editions:
            raise UnknownEditionError(system, edition, editions)
        return editions[edition].get(normalize_code(code))

    @property
    def packs(self) -> tuple[PackRef, PackRef]:
        """The packs that the library was read from, for results that name what they used."""
        return self.icd10.pack.ref, self.icd9cm3.pack.ref


class UnknownEditionError(PackError):
    """A crosswalk was asked for an edition that the pack does not hold."""

    def __init__(self, system: System, edition: str, known: Mapping[str, object]) -> None:
        super().__init__(f"没有 {system} 版本 {edition} 的对照表；有的是：{'、'.join(known) or '（无）'}")


def load_table(pack: Pack) -> CodeTable:
    """Read one code book. Raises PackError."""
    system: System = "icd9cm3" if pack.kind == "icd9cm3" else "icd10"
    aliases: dict[str, dict[str, None]] = {}
    if "aliases" in pack.manifest.tables:
        for code, name in pack.records("aliases", "code", "name"):
            aliases.setdefault(code, {})[name] = None
    columns = ("code", "name", "grey", "kind") if system == "icd9cm3" else ("code", "name", "grey")
    codes = {
        code: Code(code, name, grey == "1", "".join(kind), tuple(aliases.get(code, ())))
        for code, name, grey, *kind in pack.records("codes", *columns)
    }
    return CodeTable(system, codes, pack)


def load_library(store: PackStore, region: str = "", on: date | None = None) -> CodeLibrary:
    """The code books that hold in ``region`` on discharge date ``on``. Raises PackError."""
    return CodeLibrary(
        load_table(store.pack_for("icd10", region, on)), load_table(store.pack_for("icd9cm3", region, on))
    )
