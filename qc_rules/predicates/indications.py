"""Predicates of family IND: what a procedure is done for, and the side of the body on which it is done."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from qc_rules.charge_tables import ChargedProcedure, Words, plain
from qc_rules.code_pairs import pairs_of, shown_diagnoses, shown_procedures
from qc_rules.facts import Facts
from qc_rules.indications import CATEGORY, Indication
from qc_rules.ledger import Line, ledger
from qc_rules.predicates import Hit, predicate
from qc_rules.predicates.procedures import SURGICAL
from qc_rules.reference import Reference

CODES_SHOWN = 3
"""Prefixes that a message names; shorter ones than a category say nothing."""
LEFT, RIGHT, BOTH = "左", "右", "双"
# 左心室、左冠状动脉 and the like are parts of one organ, not a side of the body.
_NO_SIDE = "心室房束旋主冠位前后上下半利氧卡西美炔旁"
_SIDES: Mapping[str, re.Pattern[str]] = {
    LEFT: re.compile(f"左(?![{_NO_SIDE}])"),
    RIGHT: re.compile(f"右(?![{_NO_SIDE}])"),
    BOTH: re.compile("双侧|双(?=[眼耳肾肺膝髋肩足手下上乳卵输侧])|两侧"),
}


def _procedures(reference: Reference, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The prefixes of a level; of the organs, the operations that no row of an operation has taken."""
    table = reference.indications
    if given["level"] == "operation":
        return [("icd9cm3", prefix) for prefix in table.prefixes("operation")]
    found = []
    for code in reference.library.icd9cm3.codes.values():
        row = table.of_code(code.code)
        if row is not None and row.level == "organ" and code.kind in SURGICAL:
            found.append(("icd9cm3", code.code))
    return found


def _any_procedure(reference: Reference, _given: Mapping[str, Any]) -> list[tuple[str, str]]:
    table = reference.indications
    return [("icd9cm3", prefix) for prefix in (*table.prefixes("operation"), *table.prefixes("organ"))]


@predicate(codes=_procedures)
def indication_not_listed(facts: Facts, *, level: str) -> Iterable[Hit]:
    """A procedure of the table of indications, and no diagnosis that it is done for.

    ``level``: ``operation`` judges kinds of operations, ``organ`` operations on an organ system. Silent
    where a western diagnosis is no code of the book: it may be the indication.
    """
    table = facts.reference.indications
    codes: list[str] | None = None
    found: dict[str, Hit] = {}
    for index, procedure in enumerate(facts.procedure_codes):
        row = None if procedure is None else table.of_code(procedure.code)
        if procedure is None or row is None or row.level != level or not row.diagnoses or row.id in found:
            continue
        if level == "organ" and procedure.kind not in SURGICAL:
            continue
        if not row.categories.isdisjoint(facts.western_categories or facts.categories):
            continue
        if codes is None:
            codes = [code.code for i in facts.western if (code := facts.diagnosis_codes[i]) is not None]
        if not any(code.startswith(row.diagnoses) for code in codes):
            found[row.id] = _unlisted(facts, index, row)
    return found.values() if found and _readable(facts) else ()


def _readable(facts: Facts) -> bool:
    """Whether the diagnoses are all codes of the book, and none explains any procedure."""
    general = facts.reference.indications.general
    listed = [facts.diagnosis_codes[i] for i in facts.western]
    return bool(listed) and all(
        code is not None and code.known and not code.code.startswith(general) for code in listed
    )


def _unlisted(facts: Facts, index: int, row: Indication) -> Hit:
    shown = [one for one in row.diagnoses if len(one) >= CATEGORY][:CODES_SHOWN]
    values = {
        "procedure": shown_procedures(facts, (index,)),
        "kind": row.name,
        "indication": row.shown,
        "codes": "、".join(shown or row.diagnoses) + (" 等" if len(row.diagnoses) > len(shown) > 0 else ""),
        "diagnoses": shown_diagnoses(facts, facts.western),
    }
    return Hit("oprninfo", index, "oprn_oprt_code", values=values, severity="" if row.sure else "info")


def side_of(name: str | None) -> str:
    """The one side of the body that a name says: 左 or 右; empty for none or both."""
    if not name or not (LEFT in name or RIGHT in name):
        return ""
    said = [side for side, words in _SIDES.items() if words.search(name)]
    return said[0] if len(said) == 1 and said[0] != BOTH else ""


@predicate(codes=_any_procedure)
def sides_disagree(facts: Facts) -> Iterable[Hit]:
    """A procedure on one side of the body, while every diagnosis that it is done for is on the other."""
    names = "、".join([row.name for row in facts.list.procedures if row.name])
    return _against_side(facts) if LEFT in names or RIGHT in names else ()


def _against_side(facts: Facts) -> Iterator[Hit]:
    table = facts.reference.indications
    rows = facts.list.diagnoses
    for index, code in enumerate(facts.procedure_codes):
        side = side_of(facts.list.procedures[index].name)
        row = table.of_code(code.code) if code and side else None
        if row is None:
            continue
        related = [i for i in facts.diagnoses_starting(row.diagnoses) if _sided(rows[i].name)]
        if related and all(side_of(rows[i].name) == _other(side) for i in related):
            values = {"side": side, "other": _other(side), "diagnoses": _as_written(rows, related)}
            yield Hit("oprninfo", index, "oprn_oprt_name", values=values)


def _sided(name: str | None) -> bool:
    return bool(name and any(words.search(name) for words in _SIDES.values()))


def _other(side: str) -> str:
    return RIGHT if side == LEFT else LEFT


def _as_written(rows: Sequence[Any], found: Sequence[int]) -> str:
    """Diagnoses as the list names them: the side often stands in the hospital's own name only."""
    return "、".join(f"{rows[i].code or ''} {rows[i].name or ''}".strip() for i in found[:CODES_SHOWN])


@predicate(needs=("feedetail",))
def charge_of_other_approach(facts: Facts, *, approaches: tuple[str, ...]) -> Iterator[Hit]:
    """An operation is charged by an approach that no coded procedure says. ``approaches``: word:word,word,
    as a charge and as the name of a procedure writes it."""
    coded = [
        (code.code, f"{code.name} {' '.join(code.aliases)} {row.name or ''}")
        for code, row in zip(facts.procedure_codes, facts.list.procedures, strict=True)
        if code is not None
    ]
    names = " ".join(text for _, text in coded)
    seen: set[str] = set()
    for line, kind in _operations(facts):
        own = [code for code, _ in coded if code.startswith(kind.procedures)]
        if kind.id in seen or not own:
            continue
        for charged, written in pairs_of(approaches):
            if any(word in line.name for word in charged) and not any(word in names for word in written):
                seen.add(kind.id)
                at = [i for i, code in enumerate(facts.procedure_codes) if code and code.code in own]
                values = {"approach": charged[0], "coded": shown_procedures(facts, at)}
                yield Hit("feedetail", line.index, "medins_list_name", values=values)
                break


@predicate(needs=("feedetail",))
def charge_of_other_side(facts: Facts) -> Iterator[Hit]:
    """An operation is charged on one side, and coded on the other only."""
    rows = facts.list.procedures
    seen: set[str] = set()
    for line, kind in _operations(facts):
        side = side_of(line.name)
        if not side or kind.id in seen:
            continue
        own = [i for i in facts.procedures_starting(kind.procedures) if _sided(rows[i].name)]
        if own and all(side_of(rows[i].name) == _other(side) for i in own):
            seen.add(kind.id)
            coded = "、".join(f"{rows[i].code} {rows[i].name}" for i in own[:CODES_SHOWN])
            yield Hit("feedetail", line.index, "medins_list_name", values={"side": side, "coded": coded})


def _operations(facts: Facts) -> Iterator[tuple[Line, ChargedProcedure]]:
    """The charge lines of named operations that were not refunded, each with its row of the table."""
    lines = ledger(facts).lines
    sums: dict[str, float] = {}
    for line in lines:
        sums[line.name] = sums.get(line.name, 0) + line.quantity
    for line in lines:
        if line.quantity <= 0 or sums[line.name] <= 0 or line.row.category not in ("03", "05", "06"):
            continue
        if "anaesthesia" in line.concepts:
            continue
        for kind in facts.reference.charges.procedures:
            if _fits(kind.words, line.name):
                yield line, kind


@lru_cache(maxsize=4096)
def _fits(words: Words, name: str) -> bool:
    return words.fit(plain(name))
