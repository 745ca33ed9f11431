"""Look codes up: the search box over both books, and one code with its flags and other names."""

from __future__ import annotations

from typing import Literal

import msgspec

from coding.library import CodeLibrary, System, ancestors, normalize_code
from coding.names import SYSTEMS, NameTable
from coding.search import CodeSearch, Initials, Usages
from models.pack import PackStore

Kind = Literal["diagnosis", "procedure"]
SYSTEM_OF: dict[Kind, System] = {"diagnosis": "icd10", "procedure": "icd9cm3"}
USAGE_TABLES = ("synonyms", "abbreviations", "eponyms")
"""Of the pack of terms: what doctors write and the name that it stands for."""


class CodeEntry(msgspec.Struct, frozen=True):
    """One code of a book. ``grey``: 灰码, not for settlement lists. ``ancestors`` nearest first."""

    system: System
    code: str
    name: str
    grey: bool
    kind: str
    aliases: tuple[str, ...]
    ancestors: tuple[str, ...]


def open_search(store: PackStore, region: str = "") -> CodeSearch:
    """The search box over the code books that hold in ``region``. Raises PackError."""
    tables = {}
    for system in SYSTEMS:
        pack = store.pack_for(system, region)
        aliases = pack.rows("aliases") if "aliases" in pack.manifest.tables else []
        tables[system] = NameTable.build(system, pack.rows("codes"), aliases)
    terms = store.pack_for("coding-terms", region)
    said = [row for name in USAGE_TABLES if name in terms.manifest.tables for row in terms.rows(name)]
    usages = {system: Usages.build(system, said) for system in SYSTEMS}
    return CodeSearch(tables, Initials.build(terms.rows("initials")), usages)


def find_code(library: CodeLibrary, system: System, code: str) -> CodeEntry | None:
    """The entry of ``code`` in any spelling (full width, † for +), None when the book lacks it."""
    found = library.table(system).get(normalize_code(code))
    if found is None:
        return None
    return CodeEntry(
        system, found.code, found.name, found.grey, found.kind, found.aliases, ancestors(found.code)
    )
