"""Refuses a settlement list whose JSON writes one field twice: a parser keeps the last and says nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from models.settlement_list import FIELDS, NODE_LABELS
from models.wire import DecodeError, Received, decode

MOST_SHOWN = 3
"""Repeated fields that the message names."""
LONGEST_PLACE = 60
_BLANKS = b" \t\r\n"
_parse = msgspec.json.Decoder().decode


def decode_unrepeated(content: bytes) -> Received:
    """A list whose fields stand once each. Raises DecodeError, as ``decode`` and ``refuse_repeats`` do."""
    received = decode(content)
    refuse_repeats(content)
    return received


def refuse_repeats(content: bytes) -> None:
    """Raises DecodeError (Chinese) when one object of ``content`` has a key twice with different values.

    The same written twice loses nothing and passes. What is no JSON is left to ``decode``, which says why.
    Where no key is repeated this takes about as long as ``decode``: the keys are only counted.
    """
    if _none_repeated(content):
        return
    try:
        found = [*dict(_repeats(json.loads(content, object_pairs_hook=_Object), "")).items()]
    except (ValueError, RecursionError):
        return
    if not found:
        return
    shown = "、".join(
        f"“{_shown(place)}”{_label(place)}写了 {times} 次" for place, times in found[:MOST_SHOWN]
    )
    more = f"等 {len(found)} 处" if len(found) > MOST_SHOWN else ""
    raise DecodeError(
        f"{shown}{more}，内容不同，不能判断以哪一个为准；请在报文中合并或只保留一个，再重新提交"
    )


def _none_repeated(content: bytes) -> bool:
    """Whether as many keys are read as stand in the bytes; False also where that cannot be told.

    Outside a text, a quote before a colon ends a key; inside one it has a backslash. A text that begins
    with a colon counts too much, and so do objects in other places than a list has: neither hides a repeat.
    """
    try:
        parsed = _parse(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    if not isinstance(parsed, dict):
        return False
    read = len(parsed)
    body = parsed.get("input")
    if isinstance(body, dict):
        read += len(body)
    else:
        body = parsed
    for node in body.values():
        if type(node) is dict:
            read += len(node)
        elif type(node) is list:
            read += sum([len(row) for row in node if type(row) is dict])
    return read == content.translate(None, _BLANKS).count(b'":')


class _Object:
    """An object as it stands in the JSON: every pair of it."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Object) and self.pairs == other.pairs

    def repeated(self) -> dict[str, int]:
        """How often each key stands there that has different values."""
        last = dict(self.pairs)
        if len(last) == len(self.pairs):
            return {}
        times = Counter(key for key, _ in self.pairs)
        return {key: times[key] for key, value in self.pairs if value != last[key]}


def _repeats(value: object, place: str) -> Iterator[tuple[str, int]]:
    """Place and number of every repeated key, in the order of the list."""
    if isinstance(value, _Object):
        repeated = value.repeated()
        for key, times in repeated.items():
            yield f"{place}{key}", times
        for key, inner in value.pairs:
            if key not in repeated:
                yield from _repeats(inner, f"{place}{key}.")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _repeats(inner, f"{place.removesuffix('.')}[{index}].")


def _shown(place: str) -> str:
    """A place as people read it: a key may hold anything."""
    text = "".join(one if one.isprintable() else "·" for one in place)
    return text if len(text) <= LONGEST_PLACE else f"{text[:LONGEST_PLACE]}…"


def _label(place: str) -> str:
    """What people call the node or field, in brackets; nothing for one that the interfaces do not have."""
    node, _, name = place.removeprefix("input.").partition(".")
    info = FIELDS.get(node.partition("[")[0], {}).get(name)
    label = info.label if info else NODE_LABELS.get(node, "") if not name else ""
    return f"（{label}）" if label else ""
