"""Predicates of families PROC and PPX: procedures listed twice, anaesthesia that does not fit, the main one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from qc_rules import usual
from qc_rules.facts import Facts
from qc_rules.predicates import Hit, predicate
from qc_rules.predicates.combinations import describe_row

SURGICAL = ("手术", "介入治疗")
"""Kinds of procedures that count as an operation (手术操作分类与代码, 类别)."""
THERAPEUTIC, DIAGNOSTIC = "治疗性操作", "诊断性操作"


@predicate(needs=("oprninfo",), glance=usual.rows)
def repeated_procedures(facts: Facts) -> Iterable[Hit]:
    """The same code with the same date and time stands in a second row."""
    codes = [row.code for row in facts.list.procedures]
    if len(set(codes)) == len(codes):
        return ()
    return _repeated(facts)


def _repeated(facts: Facts) -> Iterator[Hit]:
    first: dict[tuple[Any, ...], int] = {}
    for index, (row, code) in enumerate(zip(facts.list.procedures, facts.procedure_codes, strict=True)):
        if code is None or (row.performed_on is None and row.started_at is None):
            continue
        key = (code.code, row.performed_on, row.started_at)
        if key in first:
            yield Hit("oprninfo", index, "oprn_oprt_code", values={"first": first[key] + 1})
        else:
            first[key] = index


@predicate(rows=("oprninfo",))
def anaesthesia_unfit(
    facts: Facts,
    node: str,
    index: int,
    row: Any,
    *,
    large: tuple[str, ...],
    local: tuple[str, ...],
    small: tuple[str, ...],
    general: tuple[str, ...],
) -> Iterator[Hit]:
    """A large operation under local anaesthesia, or a bedside procedure under general anaesthesia.

    ``large`` and ``small``: code prefixes; ``local`` and ``general``: 麻醉方式.
    """
    way = row.anaesthesia
    code = facts.procedure_codes[index]
    if way is None or code is None:
        return
    if way in local and code.code.startswith(large):
        yield Hit(node, index, "anst_way", values={"reason": "这类手术通常在全身麻醉下进行"})
    elif way in general and code.code.startswith(small):
        yield Hit(node, index, "anst_way", values={"reason": "床旁操作通常不需要全身麻醉"})


@predicate(needs=("oprninfo",), glance=usual.rows)
def main_procedure_not_first(facts: Facts) -> Iterable[Hit]:
    """The main procedure is not in the first row."""
    if not facts.main:
        return ()
    return (Hit("oprninfo", facts.main, "oprn_oprt_type"),)


@predicate(needs=("oprninfo",), glance=usual.rows)
def operation_not_main(facts: Facts) -> Iterable[Hit]:
    """The main procedure is no operation although there is one: the first operation is named."""
    main = facts.main_code
    if main is None or main.kind not in (THERAPEUTIC, DIAGNOSTIC):
        return ()
    for index, code in enumerate(facts.procedure_codes):
        if code is not None and code.kind in SURGICAL:
            return (_main(facts, index),)
    return ()


@predicate(needs=("oprninfo",), glance=usual.rows)
def diagnostic_before_therapeutic(facts: Facts, *, minor: tuple[str, ...]) -> Iterable[Hit]:
    """The main procedure is diagnostic although there is a therapeutic one, and no operation.

    ``minor``: prefixes of therapeutic procedures that are no rival (not invasive).
    """
    main = facts.main_code
    if main is None or main.kind != DIAGNOSTIC:
        return ()
    codes = facts.procedure_codes
    if any(code is not None and code.kind in SURGICAL for code in codes):
        return ()
    for index, code in enumerate(codes):
        if code is not None and code.kind == THERAPEUTIC and not code.code.startswith(minor):
            return (_main(facts, index),)
    return ()


def _main(facts: Facts, better: int) -> Hit:
    row, main = facts.main or 0, facts.main_code
    values = {
        "main": describe_row(facts, "oprninfo", row),
        "kind": main.kind if main else "",
        "better": describe_row(facts, "oprninfo", better),
    }
    return Hit("oprninfo", row, "oprn_oprt_code", values=values)


@predicate(needs=("oprninfo",), glance=usual.rows)
def main_procedure_outside_mdc(facts: Facts) -> Iterable[Hit]:
    """The case fell into a 歧义组 because of its main procedure."""
    group = facts.group
    if group is None or group.reason != "ambiguous" or facts.main is None:
        return ()
    values = {"main": describe_row(facts, "oprninfo", facts.main)}
    return (Hit("oprninfo", facts.main, "oprn_oprt_code", values=values),)
