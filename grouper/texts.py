"""Group case after case from the texts of a file: one look-up for each code, from text to what it decides.

The same answer as preparing a case and grouping it, for schemes whose rules do not count codes.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import NamedTuple

from coding.library import System
from grouper.compiled import Decision
from grouper.drg import DrgScheme
from grouper.prepare import PreparedCase, prepare_code

MAX_REMEMBERED = 500_000
"""Different texts of one column that are remembered, so that a hostile file cannot fill the memory."""

_NONE: Set[str] = frozenset()


class Codes(dict[str, str]):
    """What each text of a code column is grouped by, worked out when first met."""

    def __init__(self, scheme: DrgScheme, system: System, edition: str) -> None:
        super().__init__()
        self.scheme, self.system, self.edition = scheme, system, edition

    def __missing__(self, text: str) -> str:
        used: str = prepare_code(text, self.system, self.edition, self.scheme.library)[0]
        if len(self) < MAX_REMEMBERED:
            self[text] = used
        return used


_Diagnosis = tuple[str, int, int, Set[str], int, int, str]
"""The code used; as principal diagnosis the entries it can lead to, its word and the exclusion tables that
name it; elsewhere its word where it is excluded, its word where it counts, and its exclusion table."""
_Procedure = tuple[str, int, int, int]
"""The code used; as main procedure the entries it can lead to and its word; its word elsewhere."""


class _Diagnoses(dict[str, _Diagnosis]):
    """The texts of diagnoses; texts of the same code share one value, and equal words one number."""

    def __init__(self, scheme: DrgScheme, edition: str) -> None:
        super().__init__()
        self._compiled, self._library, self._edition = scheme.compiled, scheme.library, edition
        self._words: dict[int, int] = {}

    def __missing__(self, text: str) -> _Diagnosis:
        used, _ = prepare_code(text, "icd10", self._edition, self._library)
        found = self.get(used) or self._read(used)
        self[text] = self[used] = found
        return found

    def _read(self, code: str) -> _Diagnosis:
        bits, shared = self._compiled.bits, self._words.setdefault
        possible, principal, tables = bits.principal.get(code) or (self._compiled.free_principal, 0, _NONE)
        word, level, table = bits.other.get(code) or (0, 0, "")
        counting = word | level
        return (
            code, shared(possible, possible), shared(principal, principal), tables,
            shared(word, word), shared(counting, counting), table if level else "",
        )  # fmt: skip


class _Procedures(dict[str, _Procedure]):
    """The texts of procedures; texts of the same code share one value, and equal words one number."""

    def __init__(self, scheme: DrgScheme, edition: str) -> None:
        super().__init__()
        self._compiled, self._library, self._edition = scheme.compiled, scheme.library, edition
        self._words: dict[int, int] = {}

    def __missing__(self, text: str) -> _Procedure:
        used, _ = prepare_code(text, "icd9cm3", self._edition, self._library)
        found = self.get(used) or self._read(used)
        self[text] = self[used] = found
        return found

    def _read(self, code: str) -> _Procedure:
        bits, shared = self._compiled.bits, self._words.setdefault
        possible, main = bits.main.get(code) or (self._compiled.free_main, 0)
        word = bits.other_procedure.get(code, 0)
        return code, shared(possible, possible), shared(main, main), shared(word, word)


class Patient(NamedTuple):
    """A case without codes, and the entries of the scheme that its age and sex leave."""

    case: PreparedCase
    possible: int


class TextGrouper:
    """Groups by the texts of the codes: principal diagnosis and main procedure first, at least one text each."""

    def __init__(self, scheme: DrgScheme, diagnosis_edition: str, procedure_edition: str) -> None:
        self._compiled = scheme.compiled
        self._diagnoses = _Diagnoses(scheme, diagnosis_edition)
        self._procedures = _Procedures(scheme, procedure_edition)

    def decide(
        self, diagnoses: Sequence[str], procedures: Sequence[str], patient: Patient
    ) -> Decision | None:
        """Where the case ends; None when no entry takes it or it has no principal diagnosis."""
        if len(self._diagnoses) + len(self._procedures) > MAX_REMEMBERED:
            # Never within a row, where codes are told apart by being the same value.
            self._diagnoses.clear()
            self._procedures.clear()
        first, *rest = map(self._diagnoses.__getitem__, diagnoses)
        code, possible, principal, tables, *_ = first
        if not code:
            return None
        others = 0
        # A code that stands again says nothing new: only one that repeats the first place must not count.
        for diagnosis in rest:
            if diagnosis is not first:
                excluded = tables and diagnosis[6] in tables
                others |= diagnosis[4] if excluded else diagnosis[5]
        main, *performed = map(self._procedures.__getitem__, procedures)
        _, possible_by_main, main_word, _ = main
        procedure_word = 0
        for procedure in performed:
            if procedure is not main:
                procedure_word |= procedure[3]
        return self._compiled.decide_words(
            possible & possible_by_main & patient.possible,
            (principal, others, main_word, procedure_word),
            patient.case,
        )
