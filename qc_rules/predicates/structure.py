"""Predicates on the structure of what was received: wrong shapes and types, unknown and overlong fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import attrgetter

from models.settlement_list import FIELDS
from models.wire import Defect
from qc_rules.facts import Facts
from qc_rules.predicates import Hit, predicate

_OFFICIAL = re.compile(r"(\w+)(?:\[(\d+)\])?(?:\.(\w+))?")
MAX_NAMES_SHOWN = 20


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


_LIMITED = {
    node: [
        (info.attribute, info.wire, info.length)
        for info in fields.values()
        if info.length and info.kind == "text"
    ]
    for node, fields in FIELDS.items()
}
_READ = {
    node: attrgetter(*(attribute for attribute, _, _ in limited))
    for node, limited in _LIMITED.items()
    if len(limited) > 1
}
_LENGTHS = {node: [limit for _, _, limit in limited] for node, limited in _LIMITED.items()}


@predicate()
def overlong_texts(facts: Facts) -> Iterator[Hit]:
    """A text has more characters than the interface allows."""
    for node, read in _READ.items():
        limits = _LENGTHS[node]
        for index, row in enumerate(facts.rows(node)):
            values = read(row)
            for value, limit in zip(values, limits, strict=True):
                if value is not None and len(value) > limit:
                    yield from _overlong(node, index, values)
                    break


def _overlong(node: str, index: int, values: tuple[str | None, ...]) -> Iterator[Hit]:
    for value, (_, wire, limit) in zip(values, _LIMITED[node], strict=True):
        if value is not None and len(value) > limit:
            counts = {"limit": limit, "length": len(value)}
            yield Hit(node, -1 if node == "setlinfo" else index, wire, values=counts)
