"""Predicates on the structure of what was received: wrong shapes and types, unknown and overlong fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any

from models.settlement_list import FIELDS
from models.wire import Defect
from qc_rules.facts import Facts
from qc_rules.predicates import MEMORABLE, Hit, predicate
from qc_rules.predicates.combinations import describe_row

_OFFICIAL = re.compile(r"(\w+)(?:\[(\d+)\])?(?:\.(\w+))?")
MAX_NAMES_SHOWN = 20
MAX_ROWS_SHOWN = 10


def defect_hit(defect: Defect) -> Iterator[Hit]:
    """The place of a defect, with its value and reason."""
    found = _OFFICIAL.fullmatch(defect.official)
    if found is None:
        return
    node, index, wire = found.groups()
    yield Hit(
        node,
        -1 if index is None else int(index),
        wire or "",
        values={"reason": defect.reason},
        path=defect.path,
        label=defect.label,
        value=defect.shown,
    )


@predicate(defects=True)
def malformed_values(
    facts: Facts, *, kinds: tuple[str, ...], except_fields: tuple[str, ...] = ()
) -> Iterator[Hit]:
    """A value that could not be read as its kind: text, number, count, amount, date, datetime, duration,
    weights, node. ``except_fields``: official paths that another rule judges.
    """
    for defect in facts.received.defects:
        if defect.kind in kinds and defect.official not in except_fields:
            yield from defect_hit(defect)


@predicate(defects=True)
def unknown_fields(facts: Facts) -> Iterator[Hit]:
    """Fields that the interfaces do not have: one hit that names them all."""
    unknown = facts.received.unknown
    if not unknown:
        return
    names = list(dict.fromkeys(f"{one.node}.{one.name}" if one.node else one.name for one in unknown))
    shown = "、".join(name[:40] for name in names[:MAX_NAMES_SHOWN])
    more = f"等 {len(names)} 个" if len(names) > MAX_NAMES_SHOWN else ""
    yield Hit(
        unknown[0].node or "setlinfo",
        values={"names": shown + more},
        path=unknown[0].path,
        label="接口中没有的字段",
        value=unknown[0].name[:60],
    )


def _limited(node: str) -> list[tuple[str, str, int]]:
    """Attribute, wire name and length of the texts of a node that may be too long."""
    remembered = () if node == "setlinfo" else MEMORABLE.get(node, ())
    return [
        (info.attribute, info.wire, info.length)
        for info in FIELDS[node].values()
        if info.length and info.kind == "text" and (not remembered or info.wire in remembered[0])
    ]


_TCM_KINDS = {"4101": frozenset("34"), "4101A": frozenset("23")}
"""诊断类别 of the rows for Chinese medicine (中医主病、主证)."""


def _kind_without_flag(_facts: Facts, _index: int, row: Any, _given: Mapping[str, Any]) -> bool:
    return bool(row.kind == "1" and row.principal_flag != "1")


@predicate(suspect=_kind_without_flag)
def principal_kind_without_flag(facts: Facts) -> Iterator[Hit]:
    """4101: a western row of 诊断类别 1 (主要诊断) is not flagged as principal, while other rows are flagged.

    Several flagged rows are not its matter, nor lists in which no row has a flag: see ``main_rows_wrong``.
    """
    rows = facts.list.diagnoses
    if facts.interface != "4101" or all(rows[index].principal_flag is None for index in facts.western):
        return
    wrong = [i for i in facts.western if rows[i].kind == "1" and rows[i].principal_flag != "1"]
    if wrong:
        shown = "、".join(describe_row(facts, "diseinfo", index) for index in wrong[:MAX_ROWS_SHOWN])
        more = f"等 {len(wrong)} 条" if len(wrong) > MAX_ROWS_SHOWN else ""
        yield Hit("diseinfo", wrong[0], "diag_type", values={"codes": shown + more})


@predicate(rows=("diseinfo",))
def western_code_in_tcm_row(facts: Facts, node: str, index: int, row: Any) -> Iterator[Hit]:
    """A row whose 诊断类别 makes it a diagnosis of Chinese medicine has a code of ICD-10."""
    code = facts.diagnosis_codes[index]
    if row.kind in _TCM_KINDS[facts.interface] and code is not None and code.known:
        yield Hit(node, index, "diag_code")


_LIMITED = {node: _limited(node) for node in ("setlinfo", "opspdiseinfo", "diseinfo", "oprninfo")}
"""The texts of the other nodes are codes of a dictionary, which has its own rules."""
_LENGTHS = {
    node: (attrgetter(*(attribute for attribute, _, _ in limited)), [limit for _, _, limit in limited])
    for node, limited in _LIMITED.items()
}


_WIRES = {node: [wire for _, wire, _ in limited] for node, limited in _LIMITED.items()}


@predicate(rows=tuple(_LIMITED))
def overlong_texts(facts: Facts, node: str, index: int, row: Any) -> Iterable[Hit]:
    """A text has more characters than the interface allows."""
    del facts
    read, limits = _LENGTHS[node]
    for value, limit in zip(read(row), limits, strict=True):
        if value is not None and len(value) > limit:
            return _overlong(node, index, row)
    return ()


def _overlong(node: str, index: int, row: Any) -> Iterator[Hit]:
    read, limits = _LENGTHS[node]
    for value, limit, wire in zip(read(row), limits, _WIRES[node], strict=True):
        if value is not None and len(value) > limit:
            yield Hit(node, index, wire, values={"limit": limit, "length": len(value)})
