"""Predicates of family DX: repeated, misplaced, unspecific and misordered diagnoses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from qc_rules import usual
from qc_rules.code_pairs import shown_diagnoses
from qc_rules.facts import Facts
from qc_rules.predicates import Hit, predicate
from qc_rules.predicates.together import AROSE_LATER, arose_later
from qc_rules.reference import Reference

_condition = attrgetter("condition_on_admission")

NEOPLASMS = ("C", "D0", "D1", "D2", "D3", "D4")
"""ICD-10 chapter II, C00–D48."""
NO_CHAPTER = ("O", "P", "Q", "R", "Z", "U", "V", "W", "X", "Y")
"""Chapters that no organ binds: a diagnosis there says nothing against one elsewhere."""
UNSPECIFIED = ".900"
"""How the code of a disease ends that nothing more is said of (未特指)."""
CHAPTER_BY_LETTER: Mapping[str, str] = {"B": "A", "T": "S"}
"""Letters that share the chapter of another one."""


@predicate(needs=("diseinfo",), glance=usual.rows)
def diagnosis_repeated(facts: Facts, *, with_principal: bool) -> Iterable[Hit]:
    """The same code in two rows: of the other diagnoses, or of the principal one and another."""
    return _repeated(facts, with_principal) if facts.repeats_a_diagnosis else ()


def _repeated(facts: Facts, with_principal: bool) -> Iterator[Hit]:
    first: dict[str, int] = {}
    principal = facts.principal
    for index in sorted(facts.western, key=lambda row: row != principal):
        code = facts.diagnosis_codes[index]
        if code is None:
            continue
        earlier = first.setdefault(code.code, index)
        if earlier != index and (earlier == principal) is with_principal:
            yield Hit("diseinfo", index, "diag_code", values={"first": earlier + 1})


def _asterisks(reference: Reference, _given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The asterisk categories of the combined codes of the book."""
    return [
        ("icd10", prefix)
        for prefix in sorted(
            {code.asterisk[:3] for code in reference.library.icd10.codes.values() if code.asterisk}
        )
    ]


@predicate(codes=_asterisks)
def asterisk_apart(facts: Facts, *, dagger_listed: bool) -> Iterator[Hit]:
    """An asterisk code in a row of its own, with or without a diagnosis that can be its dagger half.

    As principal diagnosis it counts as standing apart from its dagger.
    """
    for index in facts.western:
        code = facts.diagnosis_codes[index]
        if code is None or not code.code.endswith("*") or "+" in code.code:
            continue
        daggers = {
            entry.dagger
            for entry in facts.reference.library.icd10.codes.values()
            if entry.asterisk == code.code
        }
        others = [
            i
            for i in facts.western
            if i != index and (other := facts.diagnosis_codes[i]) and other.dagger in daggers
        ]
        if bool(others or index == facts.principal) is not dagger_listed:
            continue
        combined = [
            entry
            for entry in facts.reference.library.icd10.codes.values()
            if entry.asterisk == code.code
            and any((other := facts.diagnosis_codes[i]) and other.dagger == entry.dagger for i in others)
        ]
        shown = "、".join(f"{entry.code} {entry.name}" for entry in combined[:3])
        yield Hit("diseinfo", index, "diag_code", values={"combined": shown or "剑号、星号合并的编码"})


def _unspecified(facts: Facts, index: int, _row: Any, _given: Mapping[str, Any]) -> bool:
    code = facts.diagnosis_codes[index]
    return code is not None and code.code.endswith(UNSPECIFIED)


def _diseases(facts: Facts) -> Iterator[str]:
    """The categories of the western diagnoses that are diseases, not symptoms (R) or factors of health (Z)."""
    categories = facts.western_categories
    if categories is None:
        categories = [code.category if (code := facts.diagnosis_codes[i]) else "" for i in facts.western]
    return (one for one in categories if one and one[0] not in "RZ")


def _mostly(facts: Facts, unspecified: Sequence[int], given: Mapping[str, Any]) -> bool:
    found, at_least = len(unspecified), given["at_least"]
    if found < at_least / 2:
        return False
    diseases = 0
    for diseases, _ in enumerate(_diseases(facts), 1):
        if found * 100 <= given["percent"] * diseases:
            return False  # there are too many others already
    return bool(diseases >= at_least)


@predicate(suspect=_unspecified, suspects=_mostly)
def mostly_unspecified(facts: Facts, *, at_least: int, percent: float) -> Iterable[Hit]:
    """More than ``percent`` % of ``at_least`` or more diseases have a code of 未特指 (x.900)."""
    rows = [i for i in facts.western if _unspecified(facts, i, None, {})]
    if not _mostly(facts, rows, {"at_least": at_least, "percent": percent}):
        return ()
    values = {"count": len(rows), "of": len(list(_diseases(facts))), "codes": shown_diagnoses(facts, rows)}
    return (Hit("diseinfo", rows[0], "diag_code", values=values),)


def _later_or_state(facts: Facts, index: int, row: Any, given: Mapping[str, Any]) -> bool:
    code = facts.diagnosis_codes[index]
    return arose_later(facts, index, row, given) or (
        code is not None and code.code.startswith(given["states"])
    )


def _out_of_order(facts: Facts, found: Sequence[int], _given: Mapping[str, Any]) -> bool:
    """Whether not all of these rows are states that stand last, where they belong."""
    rows = facts.list.diagnoses
    return found[0] + len(found) < len(rows) or AROSE_LATER in [rows[i].condition_on_admission for i in found]


@predicate(suspect=_later_or_state, suspects=_out_of_order)
def diagnoses_misordered(facts: Facts, *, chronic: tuple[str, ...], states: tuple[str, ...]) -> Iterator[Hit]:
    """A complication of this stay behind a mild chronic disease, or a disease behind a mere state.

    A complication is a disease with 入院病情 4. Only the first row out of order is named.
    """
    rows, codes = facts.list.diagnoses, facts.diagnosis_codes
    any_later = AROSE_LATER in map(_condition, rows)
    state = mild = -1
    for index in facts.others:
        code = codes[index]
        if code is None:
            continue
        text = code.code
        if text.startswith(states):
            state = index if state < 0 else state
        elif text.startswith(NO_CHAPTER):
            continue
        elif state >= 0:
            yield _behind(facts, index, state, "疾病应排在既往史、术后状态等之前")
            return
        elif not any_later:
            continue
        elif text.startswith(chronic):
            mild = index if mild < 0 else mild
        elif mild >= 0 and rows[index].condition_on_admission == AROSE_LATER:
            yield _behind(facts, index, mild, "本次住院发生的并发症应排在慢性合并症之前")
            return


def _behind(facts: Facts, index: int, before: int, reason: str) -> Hit:
    values = {"before": f"第 {before + 1} 条 {shown_diagnoses(facts, (before,))}", "reason": reason}
    return Hit("diseinfo", index, "diag_code", values=values)


@predicate(needs=("diseinfo",), glance=usual.rows)
def outpatient_in_other_chapter(facts: Facts) -> Iterator[Hit]:
    """门（急）诊诊断 and 主要诊断 belong to different chapters, both of them bound to an organ or a cause."""
    principal, outpatient = facts.principal_code, facts.outpatient_code
    if principal is None or outpatient is None or principal.code[:1] == outpatient.code[:1]:
        return
    if not (principal.known and outpatient.known):
        return
    one, other = _chapter(principal.code), _chapter(outpatient.code)
    if one and other and one != other:
        values = {"principal": f"{principal.code} {principal.name}", "name": outpatient.name}
        yield Hit("setlinfo", wire="wm_dise_code", values=values)


def _chapter(code: str) -> str:
    """The letter of the chapter; empty where a chapter says nothing about the organ."""
    if code.startswith(NO_CHAPTER) or code.startswith(NEOPLASMS):
        return ""
    if code.startswith("H"):
        return "H0" if code < "H60" else "H6"
    return CHAPTER_BY_LETTER.get(code[0], code[0])


def _limited(reference: Reference, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (limit.system, limit.prefix)
        for limit in reference.sex_limits
        if limit.system == "icd10" and limit.sex != given["sex"]
    ]


def _limited_prefixes(reference: Reference, given: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(prefix for _, prefix in _limited(reference, given))


@predicate(codes=_limited, derived={"prefixes": _limited_prefixes})
def outpatient_of_other_sex(facts: Facts, *, sex: str, prefixes: tuple[str, ...]) -> Iterator[Hit]:
    """The 门（急）诊诊断 of a patient of ``sex`` is one that only the other sex can have (``prefixes``)."""
    outpatient = facts.outpatient_code
    if facts.stay.sex != sex or outpatient is None:
        return
    if outpatient.code.startswith(prefixes):
        yield Hit("setlinfo", wire="wm_dise_code", values={"name": outpatient.name})


def _of_sex(name: str, given: Mapping[str, Any]) -> str:
    """The sex that a name speaks of: "1", "2", or "" for none or both."""
    male = any(word in name for word in given["male"])
    female = any(word in name for word in given["female"])
    return "" if male is female else "1" if male else "2"


def _sexes(reference: Reference, given: Mapping[str, Any]) -> dict[str, str]:
    """The codes whose name speaks of one sex, and that no table reserves for it, with that sex."""
    limited = tuple(limit.prefix for limit in reference.sex_limits if limit.system == "icd10")
    return {
        code.code: sex
        for code in reference.library.icd10.codes.values()
        if (sex := _of_sex(code.name, given)) and not code.code.startswith((*limited, *given["but"]))
    }


def _named_for_sex(reference: Reference, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [("icd10", code) for code in _sexes(reference, given)]


@predicate(codes=_named_for_sex, derived={"sexes": _sexes})
def name_of_other_sex(
    facts: Facts,
    *,
    male: tuple[str, ...],
    female: tuple[str, ...],
    but: tuple[str, ...],
    sexes: Mapping[str, str],
) -> Iterator[Hit]:
    """A diagnosis whose name speaks of the other sex, and which the table of sex-restricted codes lacks.

    ``male`` and ``female``: words; ``but``: prefixes of codes that do not say the patient's sex; from these
    follows ``sexes``, the sex that each code speaks of.
    """
    del male, female, but
    sex = facts.stay.sex
    if sex not in ("1", "2"):
        return
    for index in facts.western:
        code = facts.diagnosis_codes[index]
        if code is not None and sexes.get(code.code, sex) != sex:
            yield Hit("diseinfo", index, "diag_code", values={"name": code.name})
