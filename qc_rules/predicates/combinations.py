"""Predicates of families EXC, CMB and PROC: codes that stand together, or without what belongs to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from coding.library import Code, CodeLibrary
from qc_rules.facts import Facts
from qc_rules.predicates import Hit, predicate
from qc_rules.reference import CodeFacts, Reference
from qc_rules.terms import CompileError

_NAMED = {"诊断": "icd10", "手术": "icd9cm3"}
"""What stands before ``~`` in a token that means every code whose name contains a word."""
_AT = ("when", "check", "patterns")
_EXTENSIONS = ("", "00", "x00", "000", ".x00", ".000")
"""What follows a category or subcategory in the code that carries its own name."""


@dataclass(frozen=True, slots=True)
class CodeGroup:
    """Codes of one system: by prefix or by a word in their name, less those with a prefix of ``but``."""

    system: str
    prefixes: tuple[str, ...]
    words: tuple[str, ...]
    but: tuple[str, ...]

    def holds(self, code: CodeFacts, name: str | None) -> bool:
        """Whether the code of a row belongs; its name by the code book, else as written."""
        text = code.code
        if not text.startswith(self.prefixes) and not (self.words and self._named(code.name or name or "")):
            return False
        return not text.startswith(self.but)

    def _named(self, name: str) -> bool:
        return any(word in name for word in self.words)

    def prefixes_in(self, library: CodeLibrary) -> Iterator[tuple[str, str]]:
        """System and prefix of every code that may belong."""
        for prefix in self.prefixes:
            yield self.system, prefix
        table = library.icd10 if self.system == "icd10" else library.icd9cm3
        for code in table.codes.values() if self.words else ():
            if self._named(code.name):
                yield self.system, code.code


@dataclass(frozen=True, slots=True)
class Pattern:
    """``together``: each group has a row of its own; ``without``: no row has such a code.

    ``named``: codes that the message names.
    """

    together: tuple[CodeGroup, ...]
    without: tuple[CodeGroup, ...]
    named: tuple[str, ...]


def _groups(text: str) -> tuple[CodeGroup, ...]:
    """The tokens of one part, by system: prefixes, ``手术~词`` or ``诊断~词``, and ``-prefix`` to leave out."""
    found: dict[str, tuple[list[str], list[str], list[str]]] = {}
    for token in text.split():
        place, word = 0, token.removeprefix("-")
        system = "icd10" if word[:1].isalpha() else "icd9cm3"
        if "~" in word:
            kind, _, word = word.partition("~")
            if kind not in _NAMED or not word:
                raise CompileError(_AT, f"“{token}”应写成 诊断~词 或 手术~词")
            place, system = 1, _NAMED[kind]
        elif token.startswith("-"):
            place = 2
        found.setdefault(system, ([], [], []))[place].append(word)
    return tuple(
        CodeGroup(system, tuple(prefixes), tuple(words), tuple(but))
        for system, (prefixes, words, but) in found.items()
    )


@cache
def parse_patterns(patterns: tuple[str, ...]) -> tuple[Pattern, ...]:
    """``A a + B > C = N``: a code of A and another of B, none of C; N (else C) is what a message names.

    The parts ``> C`` and ``= N`` may be left out. A, B, C and N are codes or prefixes with blanks between.
    """
    found = []
    for text in patterns:
        rest, _, named = text.partition(" = ")
        parts, _, without = rest.partition(" > ")
        together = tuple(group for part in parts.split(" + ") for group in _groups(part))
        if len(together) != parts.count(" + ") + 1:
            raise CompileError(_AT, f"“{text}”的每一部分应是同一种编码（诊断或手术操作）")
        names = tuple(token for token in (named or without).split() if token[0] != "-" and "~" not in token)
        found.append(Pattern(together, _groups(without), names))
    return tuple(found)


def _needed(reference: Reference, given: Mapping[str, Any]) -> Iterator[list[set[tuple[str, str]]]]:
    """The first group of each pattern, and the others that go by code alone (a name may be the row's own)."""
    for pattern in parse_patterns(given["patterns"]):
        first, *others = pattern.together
        groups = [first, *(group for group in others if not group.words)]
        yield [set(group.prefixes_in(reference.library)) for group in groups]


def _named(reference: Reference, given: Mapping[str, Any]) -> list[tuple[Pattern, tuple[str, ...]]]:
    """The patterns, each with the codes that its message names, as it names them."""
    library = reference.library
    return [
        (pattern, tuple(describe_code(library, code) for code in pattern.named))
        for pattern in parse_patterns(given["patterns"])
    ]


@predicate(combinations=_needed, derived={"named_patterns": _named})
def codes_together(
    facts: Facts,
    *,
    patterns: tuple[str, ...],
    named_patterns: Sequence[tuple[Pattern, tuple[str, ...]]],
) -> Iterable[Hit]:
    """Codes that stand together, or stand without a code that belongs to them.

    ``patterns``: see ``parse_patterns``; ``named_patterns`` are these. The finding is at the row of the first
    group; a pattern whose rows an earlier one has already named is passed over, unless it asks for a
    missing code.
    """
    del patterns
    found: list[Hit] = []
    reported: set[tuple[str, int]] = set()
    for pattern, named in named_patterns:
        rows = _rows(facts, pattern.together)
        if rows is None or (len(rows) > 1 and reported.issuperset(rows)):
            continue
        if pattern.without and any(_first(facts, group, ()) is not None for group in pattern.without):
            continue
        reported.update(rows)
        node, index = rows[0]
        wire = "diag_code" if node == "diseinfo" else "oprn_oprt_code"
        values = {
            "codes": tuple(describe_row(facts, *row) for row in rows),
            "named": named,
            "offer": f"：可用合并编码 {'、'.join(named)}" if named else "：合并编码已在清单上",
        }
        found.append(Hit(node, index, wire, values=values))
    return found


def _rows(facts: Facts, groups: Sequence[CodeGroup]) -> list[tuple[str, int]] | None:
    """One row for each group, none twice; None when a group has no row."""
    found: list[tuple[str, int]] = []
    for group in groups:
        # Only a code of the first group makes the rule worth a look: a name beside an unknown code does not.
        index = _first(facts, group, found, own_names=bool(found))
        if index is None:
            return None
        found.append((_NODE[group.system], index))
    return found


_NODE = {"icd10": "diseinfo", "icd9cm3": "oprninfo"}


def _first(
    facts: Facts, group: CodeGroup, taken: Sequence[tuple[str, int]], *, own_names: bool = True
) -> int | None:
    """The first row with a code of the group that is not taken; by ``own_names`` too beside unknown codes."""
    node, prefixes = _NODE[group.system], group.prefixes
    diagnosis = node == "diseinfo"
    codes = facts.diagnosis_codes if diagnosis else facts.procedure_codes
    rows = facts.list.diagnoses if diagnosis else facts.list.procedures
    for index in facts.western if diagnosis else range(len(codes)):
        code = codes[index]
        if code is None or not (group.words or code.code.startswith(prefixes)):
            continue  # the usual row at once
        if group.holds(code, rows[index].name if own_names else None) and (node, index) not in taken:
            return index
    return None


def describe_row(facts: Facts, node: str, index: int) -> str:
    """A row for a message: ``第 2 条出院诊断 I10.x00x002 高血压``."""
    if node == "diseinfo":
        what, code, row_name = "出院诊断", facts.diagnosis_codes[index], facts.list.diagnoses[index].name
    else:
        what, code, row_name = "手术操作", facts.procedure_codes[index], facts.list.procedures[index].name
    name = row_name or (code.name if code else "") or ""
    return f"第 {index + 1} 条{what} {code.code if code else ''} {name}".rstrip()


def describe_code(library: CodeLibrary, prefix: str) -> str:
    """A code or category for a message, with the name that the code book gives it."""
    entry = library_code(library, prefix)
    return f"{prefix} {entry.name}" if entry else prefix


def library_code(library: CodeLibrary, prefix: str) -> Code | None:
    """The code itself, or the one that carries the name of its category or subcategory."""
    for extension in _EXTENSIONS:
        entry = library.diagnosis(prefix + extension) or library.procedure(prefix + extension)
        if entry is not None:
            return entry
    return None
