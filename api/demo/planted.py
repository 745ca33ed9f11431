"""What a planted mistake is: a change to a made-up list, with the rules that must find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from api.demo.case_mix import CaseMix
from api.demo.generator import Payload

Plant = Callable[[Payload, Random, CaseMix], bool]
"""Changes a list in place; False, with the list untouched, when this list gives no occasion."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One mistake. ``expects``: the rules that must find it; others may as well.

    ``touches`` is the field that is changed. ``apart`` says that no other rule looks at that field,
    so the mistake can stand beside any mistake in another field.
    """

    name: str
    expects: tuple[str, ...]
    plant: Plant
    touches: str = ""
    apart: bool = False
