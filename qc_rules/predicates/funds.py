"""Predicates of family FRD: leads for fund supervision that one list carries in itself."""

from __future__ import annotations

from collections.abc import Iterable

from qc_rules import usual
from qc_rules.facts import Facts, to_fen
from qc_rules.predicates import Hit, predicate
from qc_rules.predicates.combinations import describe_row
from qc_rules.predicates.fees import CATEGORIES, SURGERY, TREATMENT
from qc_rules.predicates.procedures import SURGICAL, THERAPEUTIC

EXAMINATION, LABORATORY, MATERIALS, GENERAL_CARE = "03", "04", "08", "12"
DRUGS = ("09", "10", "11", "13")
MEDICAL = frozenset("RSTUVWXYZ")
"""Second characters of the ADRGs of internal medicine (内科组) in CHS-DRG."""


def _charges_known(facts: Facts) -> bool:
    categories, amounts = facts.charge_columns[:2]
    return bool(amounts) and None not in amounts and CATEGORIES.issuperset(categories)


def _has_kind(facts: Facts, kinds: tuple[str, ...]) -> bool:
    return any(code is not None and code.kind in kinds for code in facts.procedure_codes)


def _medical_group(facts: Facts) -> bool:
    group = facts.group
    return group is not None and len(group.adrg) > 1 and group.adrg[1] in MEDICAL


@predicate(diagnoses="severe")
def severe_without_support(
    facts: Facts,
    *,
    severe: tuple[str, ...],
    supporting_diagnoses: tuple[str, ...],
    supporting_procedures: tuple[str, ...],
) -> Iterable[Hit]:
    """The principal diagnosis is severe, and nothing on the list bears it out.

    One supporting code is enough; so are hours on the ventilator and a stay in intensive care.
    """
    principal = facts.principal_code
    if facts.principal is None or principal is None or not principal.code.startswith(severe):
        return ()
    if facts.ventilation_minutes or facts.list.intensive_care:
        return ()
    if facts.diagnoses_starting(supporting_diagnoses) or facts.procedures_starting(supporting_procedures):
        return ()
    values = {"main": describe_row(facts, "diseinfo", facts.principal)}
    return (Hit("diseinfo", facts.principal, "diag_code", values=values),)


@predicate(needs=("iteminfo",), glance=usual.charges)
def operated_but_medical_group(facts: Facts, *, yuan: float) -> Iterable[Hit]:
    """Surgery was charged with at least ``yuan``, and the group is one of internal medicine."""
    amount = facts.charge_yuan.get(SURGERY, 0)
    group = facts.group
    if amount < yuan or group is None or not _medical_group(facts):
        return ()
    index = facts.charge_columns[0].index(SURGERY)
    return (Hit("iteminfo", index, "amt", values={"amount": to_fen(amount)}),)


@predicate(glance=usual.dates_and_counts)
def short_stay_without_procedure(facts: Facts, *, days: int, ways: tuple[str, ...]) -> Iterable[Hit]:
    """At most ``days`` in hospital, left in one of ``ways``, and nothing was done."""
    if facts.list.procedures or facts.stay.discharge_way not in ways:
        return ()
    stay = facts.stay_days
    if stay is None or not 0 <= stay <= days or not facts.inpatient or "oprninfo" in facts.malformed:
        return ()
    return (Hit("setlinfo", wire="act_ipt_days"),)


@predicate(needs=("iteminfo",), glance=usual.charges)
def only_drugs_charged(facts: Facts) -> Iterable[Hit]:
    """Drugs or registration were charged, but no examination, test, treatment, operation or general care."""
    charges = facts.charge_yuan
    if charges.get(EXAMINATION) or charges.get(LABORATORY) or charges.get(TREATMENT):
        return ()
    if charges.get(SURGERY) or charges.get(GENERAL_CARE):
        return ()
    if not any(charges.get(one) for one in DRUGS) or not _charges_known(facts):
        return ()
    return (Hit("iteminfo"),)


@predicate(needs=("iteminfo",), glance=usual.charges)
def checkup_stay(
    facts: Facts, *, least_days: int, most_days: int, percent: float, treatment_percent: float
) -> Iterable[Hit]:
    """A short stay whose fee is mostly examinations and tests, with hardly a treatment.

    Shares in percent of all charges: ``percent`` examinations and tests together at least,
    ``treatment_percent`` treatment at most.
    """
    days = facts.stay_days
    if days is None or not least_days <= days <= most_days:
        return ()
    charges = facts.charge_yuan
    checked = charges.get(EXAMINATION, 0) + charges.get(LABORATORY, 0)
    total = sum(charges.values())
    if total <= 0 or checked * 100 < percent * total or charges.get(SURGERY):
        return ()
    if charges.get(TREATMENT, 0) * 100 > treatment_percent * total or not _charges_known(facts):
        return ()
    if _has_kind(facts, (*SURGICAL, THERAPEUTIC)):
        return ()
    share = round(checked * 100 / total, 1)
    return (Hit("iteminfo", values={"share": share, "checked": to_fen(checked), "total": to_fen(total)}),)


@predicate(glance=usual.dates_and_counts)
def bed_left_empty(facts: Facts, *, least_days: int, percent: float) -> Iterable[Hit]:
    """Days of nursing cover less than ``percent`` of a stay of ``least_days`` or more."""
    days = facts.stay_days
    if days is None or days < least_days:
        return ()
    nursed = facts.nursing_days
    # 0 in all four fields is how systems send that nothing was filled in.
    if not nursed or nursed * 100 >= min(percent, 100) * days:
        return ()
    return (Hit("setlinfo", wire="act_ipt_days", values={"nursed": nursed}),)


@predicate(needs=("iteminfo",), glance=usual.charges)
def materials_without_operation(facts: Facts, *, yuan: float) -> Iterable[Hit]:
    """Materials were charged with at least ``yuan``, and no operation or treatment is coded."""
    amount = facts.charge_yuan.get(MATERIALS, 0)
    if amount < yuan or _has_kind(facts, (*SURGICAL, THERAPEUTIC)):
        return ()
    if any(path.startswith("oprninfo") for path in facts.malformed):
        return ()
    index = facts.charge_columns[0].index(MATERIALS)
    return (Hit("iteminfo", index, "amt", values={"amount": to_fen(amount)}),)
