"""Predicates of family VENT: hours on the ventilator against procedures, intensive care and the group."""

from __future__ import annotations

from collections.abc import Iterable

from qc_rules import usual
from qc_rules.facts import Facts
from qc_rules.predicates import Hit, predicate
from qc_rules.predicates.combinations import describe_row

HOUR = 60


@predicate(procedures="prefixes")
def ventilation_against_code(
    facts: Facts, *, prefixes: tuple[str, ...], hours: int, longer: bool
) -> Iterable[Hit]:
    """呼吸机使用时间 is on the other side of ``hours`` than a code says; ``longer``: the code means less."""
    minutes = facts.ventilation_minutes
    if not minutes or (minutes >= hours * HOUR) is not longer:
        return ()
    return [Hit("oprninfo", index, "oprn_oprt_code") for index in facts.procedures_starting(prefixes)]


@predicate(procedures="invasive", fields=("vent_used_dura",))
def ventilation_disagrees(
    facts: Facts, *, invasive: tuple[str, ...], any_kind: tuple[str, ...]
) -> Iterable[Hit]:
    """Hours on the ventilator without such a procedure, or invasive ventilation without hours."""
    minutes = facts.stay.ventilation
    if minutes:
        if facts.procedures_starting(any_kind):
            return ()
        values = {"codes": "手术操作", "reason": "中没有机械通气（96.7、93.9）的编码"}
        return (Hit("setlinfo", wire="vent_used_dura", values=values),)
    if not facts.list.procedures:
        return ()
    rows = facts.procedures_starting(invasive)
    if not rows or (minutes is None and "setlinfo.vent_used_dura" in facts.malformed):
        return ()
    values = {"codes": describe_row(facts, "oprninfo", rows[0]), "reason": "应有使用时间"}
    return (Hit("setlinfo", wire="vent_used_dura", values=values),)


@predicate(fields=("vent_used_dura",))
def only_noninvasive_ventilation(
    facts: Facts, *, noninvasive: tuple[str, ...], invasive: tuple[str, ...]
) -> Iterable[Hit]:
    """Hours on the ventilator, and the only ventilation coded is non-invasive."""
    if not facts.ventilation_minutes:
        return ()
    rows = facts.procedures_starting(noninvasive)
    if not rows or facts.procedures_starting(invasive):
        return ()
    values = {"codes": describe_row(facts, "oprninfo", rows[0])}
    return (Hit("setlinfo", wire="vent_used_dura", values=values),)


@predicate(procedures="tracheostomy")
def long_ventilation_outside_first_groups(
    facts: Facts,
    *,
    tracheostomy: tuple[str, ...],
    long_ventilation: tuple[str, ...],
    oxygenation: tuple[str, ...],
    hours: int,
) -> Iterable[Hit]:
    """Tracheostomy with long ventilation or ECMO, and the group is not one of 先期分组 (MDCA)."""
    group = facts.group
    if group is None or not group.mdc or group.mdc == "A":
        return ()
    rows = facts.procedures_starting(tracheostomy)
    if not rows:
        return ()
    support = facts.procedures_starting((*long_ventilation, *oxygenation))
    minutes = facts.ventilation_minutes or 0
    if support:
        evidence = describe_row(facts, "oprninfo", support[0])
    elif minutes >= hours * HOUR:
        evidence = f"呼吸机使用时间 {minutes // HOUR} 小时"
    else:
        return ()
    values = {"codes": describe_row(facts, "oprninfo", rows[0]), "evidence": evidence}
    return (Hit("oprninfo", rows[0], "oprn_oprt_code", values=values),)


@predicate(fields=("vent_used_dura",))
def ventilated_longer_than_in_care(facts: Facts, *, hours: int) -> Iterable[Hit]:
    """Hours on the ventilator exceed those in intensive care by more than ``hours``."""
    minutes, care = facts.ventilation_minutes, facts.icu_minutes
    if not minutes or care is None or minutes <= care + hours * HOUR:
        return ()
    return (Hit("setlinfo", wire="vent_used_dura", values={"minutes": minutes, "care": care}),)


@predicate(glance=usual.dates_and_counts)
def special_nursing_without_care(facts: Facts, *, days: int) -> Iterable[Hit]:
    """More than ``days`` of 特级护理, and no stay in intensive care."""
    nursed = facts.stay.special_nursing_days
    if not nursed or nursed <= days or facts.list.intensive_care:
        return ()
    if any(path.startswith("icuinfo") for path in facts.malformed):
        return ()
    return (Hit("setlinfo", wire="spga_nurscare_days"),)
