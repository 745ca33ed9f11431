"""The value domains that the form offers: codes with their Chinese names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.pack import PackStore
from models.settlement_list import Interface

LONGEST_SELECT = 30
"""A domain with more values is typed with completion instead of being chosen from a menu."""


@dataclass(frozen=True, slots=True)
class Option:
    """One value of a domain."""

    code: str
    name: str


@dataclass(frozen=True, slots=True)
class Domain:
    """The values of one field. ``open``: not from an official text, so other values may stand there."""

    id: str
    options: tuple[Option, ...]
    open: bool = False

    @property
    def menu(self) -> bool:
        """Whether the values are chosen from a menu; else they are typed with completion."""
        return not self.open and len(self.options) <= LONGEST_SELECT

    def name(self, code: str) -> str:
        """The Chinese name of a value, empty when the domain does not have it."""
        return next((option.name for option in self.options if option.code == code), "")


@dataclass(frozen=True, slots=True)
class Domains:
    """Every value domain by its key: a wire name, ``departments`` or ``countries``."""

    by_key: Mapping[str, Domain]

    @classmethod
    def open(cls, store: PackStore, region: str = "") -> Domains:
        """Read the domains that hold in ``region``. Raises PackError."""
        pack = store.pack_for("value-domains", region)
        values: dict[str, list[Option]] = {}
        unofficial: set[str] = set()
        for field, code, name, status in pack.records("domains", "field", "code", "name", "status"):
            values.setdefault(field, []).append(Option(code, name))
            if status != "confirmed":
                unofficial.add(field)
        for table in ("departments", "countries"):
            values[table] = [Option(code, name) for code, name in pack.records(table, "code", "name")]
        return cls({key: Domain(key, tuple(found), key in unofficial) for key, found in values.items()})

    def get(self, key: str, interface: Interface) -> Domain | None:
        """The domain of a field; an edition of its own for the interface goes before the general one."""
        return self.by_key.get(f"{key}({interface})") or self.by_key.get(key)

    @property
    def completions(self) -> tuple[Domain, ...]:
        """The domains that are typed with completion, each once."""
        return tuple(domain for domain in self.by_key.values() if not domain.menu)
