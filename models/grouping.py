"""The case that a grouper groups and the result it gives."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from models.pack import PackRef


@dataclass(frozen=True, slots=True)
class Case:
    """What grouping looks at in one stay. Codes stand as received, not yet prepared.

    ``diagnoses``: principal first; ``procedures``: main first. ``sex``: "1" male, "2" female, or
    what else stands in the list. ``age`` in whole years (0 under one year), ``age_days`` in days
    (under one year only), ``birth_weight`` in g, ``length_of_stay`` in days, ``icu_hours`` in hours;
    None where the list does not say. ``discharge_way`` and ``department`` are wire codes.
    ``diagnosis_edition`` and ``procedure_edition`` name the edition the codes were written in
    (``clinical-2.0``); empty is 医保版 2.0.
    """

    diagnoses: tuple[str, ...]
    procedures: tuple[str, ...] = ()
    sex: str = ""
    age: int | None = None
    age_days: int | None = None
    birth_weight: int | None = None
    length_of_stay: int | None = None
    discharge_way: str = ""
    icu_hours: float | None = None
    department: str = ""
    diagnosis_edition: str = ""
    procedure_edition: str = ""


class Complication(msgspec.Struct, frozen=True):
    """What one other diagnosis counts for: level MCC, CC or "" ; excluded by which table, if any."""

    code: str
    level: str
    exclusion_table: str = ""
    excluded: bool = False


class PreparedCode(msgspec.Struct, frozen=True):
    """One received code and what grouping used: ``used`` is empty when it was dropped.

    ``reason`` (Chinese) says why it was converted or dropped; empty when used as received.
    """

    received: str
    used: str
    reason: str = ""


class GroupResult(msgspec.Struct, frozen=True):
    """The group of one case.

    ``code``: the DRG, ``0000`` (not grouped) or an xQY code (歧义组). ``reason``: a fixed key such
    as ``grouped``, ``ambiguous``, ``no_principal_diagnosis``, ``grey_principal_diagnosis``,
    ``sex_conflict``, ``age_conflict``, ``no_mdc``; ``explanation`` says the same in Chinese.
    """

    code: str
    name: str
    mdc: str
    adrg: str
    reason: str
    explanation: str
    complications: tuple[Complication, ...] = ()
    diagnoses: tuple[PreparedCode, ...] = ()
    procedures: tuple[PreparedCode, ...] = ()
    pack: PackRef | None = None
