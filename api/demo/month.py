"""A month of made-up lists, some with planted mistakes, as files: lists.ndjson and labels.ndjson."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from api.demo.defects import DEFECTS, Defect
from api.demo.generator import DemoList, Generator

LISTS_FILE = "lists.ndjson"
LABELS_FILE = "labels.ndjson"
SHARE_DEFECTIVE = 0.30
SHARE_SECOND = 0.25
"""Of the defective lists, how many carry a second mistake, and of these a third."""
MOST_DEFECTS = 3

encode = msgspec.json.Encoder().encode


class Label(msgspec.Struct, frozen=True):
    """What was planted in one list: ``line`` from 1; ``expected`` are the rules that must fire."""

    line: int
    list_id: str
    theme: str
    defects: tuple[str, ...]
    expected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Month:
    """``count`` lists, about 30 % of them with mistakes that ``rules`` (codes that run) can find.

    The mistakes come round in turn: of those that fit a list the least planted one so far.
    """

    generator: Generator
    count: int
    rules: Collection[str]

    @property
    def defects(self) -> tuple[Defect, ...]:
        """The mistakes whose rules all run."""
        return tuple(one for one in DEFECTS if all(rule in self.rules for rule in one.expects))

    def __iter__(self) -> Iterator[tuple[DemoList, Label]]:
        planted: Counter[str] = Counter()
        usable = self.defects
        for index in range(self.count):
            rng = self.generator.random_for(index, "defects")
            defective = bool(usable) and rng.random() < SHARE_DEFECTIVE
            made = self.generator.make(index, only_4101=defective)
            list_id, theme, found = made.list_id, made.theme, list[Defect]()
            while defective and len(found) < MOST_DEFECTS:
                # The order is random, then by how often each was planted: the rare ones get their turn.
                order = sorted(rng.sample(usable, len(usable)), key=lambda one: planted[one.name])
                chosen = self._plant(made, order, found, index)
                if chosen is None:
                    break
                found.append(chosen)
                planted[chosen.name] += 1
                if rng.random() > SHARE_SECOND:
                    break
            expected = tuple(dict.fromkeys(rule for one in found for rule in one.expects))
            yield made, Label(index + 1, list_id, theme, tuple(one.name for one in found), expected)

    def _plant(
        self, made: DemoList, order: Sequence[Defect], found: list[Defect], index: int
    ) -> Defect | None:
        """Plant the first mistake that fits; a further one only where it disturbs no other."""
        touched = {one.touches for one in found}
        for one in order:
            if found and (not one.apart or one.touches in touched):
                continue
            rng = self.generator.random_for(index, one.name)
            if one.plant(made.body, rng, self.generator.mix):
                return one
        return None

    def write(self, lists: BinaryIO, labels: BinaryIO) -> Iterator[None]:
        """Write both files line by line; yields after each list."""
        for made, label in self:
            lists.write(encode(made.payload()) + b"\n")
            labels.write(encode(label) + b"\n")
            yield
