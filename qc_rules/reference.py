"""What rules look values up in: value domains, the code books, the codes of one sex."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from coding.library import CodeLibrary, category, load_library, normalize_code, subcategory
from models.pack import Pack, PackError, PackRef, PackStore
from qc_rules.charge_tables import CHARGE_RULES, EVIDENCE, ChargeTables, EvidenceTables
from qc_rules.code_index import NOWHERE, PLACED, Leads
from qc_rules.indications import INDICATIONS, IndicationTable

KINDS = ("icd10", "icd9cm3", "value-domains", "sex-restricted", INDICATIONS, CHARGE_RULES, EVIDENCE)
"""The kinds of pack that a reference is made of."""
MAX_REMEMBERED = 100_000
"""Codes and rows that one process remembers; a month of a large hospital has some 20,000."""


@dataclass(frozen=True, slots=True)
class Domain:
    """The values that a coded field may take. Not ``confirmed``: no official copy, so it never blocks."""

    values: Mapping[str, str]
    confirmed: bool = True


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """One code as received and what the code book says of it.

    ``code``: normalised; ``name``, ``kind`` and ``grey`` are the book's (empty, False when unknown);
    ``dagger`` and ``asterisk``: the halves of a combined code (``asterisk`` empty for other codes).
    ``leads``: the rules to look at because this code is in the list, ``placed`` because it is the
    principal diagnosis or the main procedure.
    """

    received: str
    code: str
    known: bool
    name: str
    grey: bool
    kind: str
    aliases: tuple[str, ...]
    category: str
    subcategory: str
    dagger: str
    asterisk: str
    leads: Leads = NOWHERE
    placed: Leads = NOWHERE

    def starts_with(self, prefixes: tuple[str, ...]) -> bool:
        """Whether the code begins with one of ``prefixes``; a combined code by its dagger half."""
        return self.code.startswith(prefixes)


@dataclass(frozen=True, slots=True)
class SexLimit:
    """Codes that only one sex can have: ``sex`` "1" male or "2" female, by prefix; error or warn."""

    prefix: str
    system: str
    sex: str
    level: str


@dataclass(frozen=True)
class Reference:
    """The tables of one region and date. Domains are named by the wire name of their field."""

    library: CodeLibrary
    domains: Mapping[str, Domain]
    sex_limits: tuple[SexLimit, ...] = ()
    packs: tuple[PackRef, ...] = field(default=())
    charges: ChargeTables = field(default_factory=ChargeTables)
    evidence: EvidenceTables = field(default_factory=EvidenceTables)
    indications: IndicationTable = field(default_factory=IndicationTable)
    backing_packs: tuple[PackRef, ...] = ()
    """What a list with charge lines or evidence is judged by besides."""

    @classmethod
    def load(cls, store: PackStore, region: str = "", on: date | None = None) -> Reference:
        """The tables that hold in ``region`` on discharge date ``on``. Raises PackError."""
        library = load_library(store, region, on)
        values = store.pack_for("value-domains", region, on)
        limits = store.pack_for("sex-restricted", region, on)
        indications = store.pack_for(INDICATIONS, region, on)
        charges = store.pack_for(CHARGE_RULES, region, on)
        evidence = store.pack_for(EVIDENCE, region, on)
        found: dict[str, dict[str, str]] = {}
        doubtful = set()
        for name, code, meaning, status in values.records("domains", "field", "code", "name", "status"):
            found.setdefault(name, {})[code] = meaning
            if status != "confirmed":
                doubtful.add(name)
        domains = {name: Domain(codes, name not in doubtful) for name, codes in found.items()}
        departments = _names(values, "departments")
        # Some systems send A03.01 without its dots.
        undotted = {code.replace(".", ""): name for code, name in departments.items()}
        domains["departments"] = Domain({**undotted, **departments})
        domains["countries"] = Domain(_names(values, "countries"))
        rows = limits.records("code_prefix", "code_prefix", "system", "sex", "level")
        return cls(
            library,
            domains,
            tuple(SexLimit(*row) for row in rows),
            (*library.packs, values.ref, limits.ref, indications.ref),
            ChargeTables.read(charges),
            EvidenceTables.read(evidence),
            IndicationTable.read(indications),
            (charges.ref, evidence.ref),
        )

    def domain(self, names: Iterable[str]) -> Domain:
        """The union of the named domains. Raises PackError for a name that no pack has."""
        values: dict[str, str] = {}
        confirmed = True
        for name in names:
            if name not in self.domains:
                raise PackError(f"没有值域“{name}”；有的是：{'、'.join(sorted(self.domains))}")
            values |= self.domains[name].values
            confirmed &= self.domains[name].confirmed
        return Domain(values, confirmed)


def _names(pack: Pack, table: str) -> dict[str, str]:
    return {row[0]: row[1] for row in pack.records(table, "code", "name")}


class CodeReader:
    """Looks a received code up once and remembers it: the same codes come back all month."""

    def __init__(self, library: CodeLibrary, leads_of: Callable[[str, str], Leads]) -> None:
        self._library = library
        self._leads_of = leads_of
        self._diagnoses: dict[str | None, CodeFacts] = {}
        self._procedures: dict[str | None, CodeFacts] = {}

    def diagnosis(self, received: str | None) -> CodeFacts | None:
        """The facts of a diagnosis code, None when there is none."""
        if received is None:
            return None
        return self._diagnoses.get(received) or self._read("icd10", received)

    def procedure(self, received: str | None) -> CodeFacts | None:
        """The facts of a procedure code, None when there is none."""
        if received is None:
            return None
        return self._procedures.get(received) or self._read("icd9cm3", received)

    def diagnoses(self, received: Sequence[str | None]) -> list[CodeFacts | None]:
        """The facts of several diagnosis codes."""
        known = self._diagnoses.get
        return [known(code) or self.diagnosis(code) for code in received]

    def _read(self, system: str, received: str) -> CodeFacts:
        code = normalize_code(received)
        diagnosis = system == "icd10"
        entry = self._library.diagnosis(code) if diagnosis else self._library.procedure(code)
        dagger, _, asterisk = code.partition("+")
        facts = CodeFacts(
            received=received,
            code=code,
            known=entry is not None,
            name=entry.name if entry else "",
            grey=entry.grey if entry else False,
            kind=entry.kind if entry else "",
            aliases=entry.aliases if entry else (),
            category=category(code),
            subcategory=subcategory(code),
            dagger=dagger,
            asterisk=asterisk or (code if code.endswith("*") else ""),
            leads=self._leads_of(system, code),
            placed=self._leads_of(PLACED[system], code),
        )
        memory = self._diagnoses if diagnosis else self._procedures
        if len(memory) >= MAX_REMEMBERED:
            memory.clear()
        memory[received] = facts
        return facts
