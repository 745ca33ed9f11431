"""Compare groups: other choices of the same record, single codes that carry a group, two schemes.

Alternatives stand in the order of the record, never in the order of money, each beside the rule of
selection that it would have to satisfy. What belongs first is decided by the record, not by the weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from pathlib import Path

import msgspec

from grouper.cases_csv import RowFault, case_rows
from grouper.drg import DrgScheme
from grouper.prepare import Preparation
from grouper.scheme import NOT_GROUPED
from models.grouping import Case, GroupResult
from models.pack import Pack

PRINCIPAL_RULE = (
    "主要诊断应是导致本次住院的主要原因，一般消耗医疗资源最多、对健康危害最大、影响住院时间最长"
    "（医疗保障基金结算清单填写规范，主要诊断选择要求的要旨）；改选须有病历依据"
)
MAIN_RULE = (
    "主要手术操作应与主要诊断相对应，一般风险最大、难度最高、花费最多"
    "（医疗保障基金结算清单填写规范，手术及操作填写要求的要旨）；改选须有手术记录依据"
)
OTHER_RULE = (
    "其他诊断应是本次住院中经过评估、检查、治疗或影响诊疗的疾病"
    "（医疗保障基金结算清单填写规范，其他诊断填写要求的要旨）；保留或删去都须与病历一致"
)


MAX_CODES = 200
"""Diagnoses and procedures of one what-if; the work grows with their square."""


class TooManyCodesError(ValueError):
    """A record with more codes than any real one; the message is Chinese."""


class Weights(msgspec.Struct, frozen=True):
    """Weight and payment of the DRGs in one local plan, and where they come from."""

    source: str
    weights: dict[str, Decimal]
    standards: dict[str, Decimal]
    """Payment standard in yuan, for plans that publish one."""
    pay: Callable[[GroupResult], Decimal | None] | None = None
    """What the case at hand is expected to be paid in a group, in yuan; None where a parameter is missing."""

    @classmethod
    def from_pack(cls, pack: Pack) -> Weights:
        """The weights in a ``drg-payment`` pack. Raises PackError."""
        weights: dict[str, Decimal] = {}
        standards: dict[str, Decimal] = {}
        for drg, weight, standard in pack.records("weights", "drg", "weight", "standard"):
            for text, column in ((weight, weights), (standard, standards)):
                try:
                    column[drg] = Decimal(text)
                except InvalidOperation:
                    continue  # an empty cell: this plan publishes no such figure for the DRG
        return cls(f"{pack.manifest.name}（{pack.manifest.publisher}）", weights, standards)


class Outcome(msgspec.Struct, frozen=True):
    """A group and what the plan gives for it; None where the plan publishes no figure.

    ``standard``: the published payment standard, ``payment``: the expected payment; both in yuan.
    """

    code: str
    name: str
    reason: str
    weight: Decimal | None = None
    standard: Decimal | None = None
    payment: Decimal | None = None


class Alternative(msgspec.Struct, frozen=True):
    """One other choice of the same record.

    ``kind``: ``principal`` (this diagnosis first), ``main`` (this procedure first), ``without`` (this
    MCC or CC left out). ``rule``: what the choice would have to satisfy; ``obstacles``: what of the
    tables speaks against it; both Chinese. Differences are alternative minus as listed.
    """

    kind: str
    code: str
    name: str
    outcome: Outcome
    same_group: bool
    weight_difference: Decimal | None
    standard_difference: Decimal | None
    rule: str
    obstacles: tuple[str, ...] = ()
    payment_difference: Decimal | None = None


class Carrier(msgspec.Struct, frozen=True):
    """A single code without which the group would be another: the record needs evidence for it.

    ``role``: ``principal``, ``other``, ``main`` or ``procedure``.
    """

    code: str
    name: str
    role: str
    without: Outcome


class WhatIf(msgspec.Struct, frozen=True):
    """The group as listed, the alternatives in the order of the record, and the codes that carry it."""

    listed: Outcome
    alternatives: tuple[Alternative, ...]
    carriers: tuple[Carrier, ...]
    weights_source: str = ""


class SchemeComparison(msgspec.Struct, frozen=True):
    """One case under two schemes."""

    first: GroupResult
    second: GroupResult
    first_outcome: Outcome
    second_outcome: Outcome
    weight_difference: Decimal | None


class Move(msgspec.Struct, frozen=True):
    """The cases that went from one group to another, and the change of weight of one of them.

    ``lines``: where they stand in the file.
    """

    first: str
    second: str
    cases: int
    lines: tuple[int, ...]
    weight_difference: Decimal | None


class FileComparison(msgspec.Struct, frozen=True):
    """A file of cases under two schemes. Weights are sums over the cases that have one in both."""

    cases: int
    same: int
    moves: tuple[Move, ...]
    first_not_grouped: int
    second_not_grouped: int
    weighed: int
    first_weight: Decimal
    second_weight: Decimal
    faults: tuple[RowFault, ...] = ()


def what_if(scheme: DrgScheme, case: Case, weights: Weights | None = None) -> WhatIf:
    """Every listed diagnosis as principal, every listed procedure as main, without each MCC and CC.

    Raises TooManyCodesError above MAX_CODES codes.
    """
    if len(case.diagnoses) + len(case.procedures) > MAX_CODES:
        raise TooManyCodesError(
            f"诊断和手术操作共 {len(case.diagnoses) + len(case.procedures)} 个，"
            f"超过 {MAX_CODES} 个，不能逐个比较；请核对清单"
        )
    preparation = scheme.prepare(case)
    result = scheme.group_prepared(preparation)
    listed = _outcome(result, weights)
    changes = _changes(case, preparation, result)
    return WhatIf(
        listed,
        tuple(_alternative(scheme, change, listed, weights) for change in changes),
        tuple(_carriers(scheme, case, preparation, listed, weights)),
        weights.source if weights else "",
    )


def compare_schemes(
    first: DrgScheme,
    second: DrgScheme,
    case: Case,
    first_weights: Weights | None = None,
    second_weights: Weights | None = None,
) -> SchemeComparison:
    """The same case under two schemes or two versions of one."""
    results = first.group(case), second.group(case)
    one, other = _outcome(results[0], first_weights), _outcome(results[1], second_weights)
    return SchemeComparison(*results, one, other, _difference(other.weight, one.weight))


def compare_file(
    first: DrgScheme,
    second: DrgScheme,
    path: Path,
    first_weights: Weights | None = None,
    second_weights: Weights | None = None,
) -> FileComparison:
    """A file of cases (columns as in ``group_cases_csv``) under two schemes. Raises CaseFileError."""
    lines: dict[tuple[str, str], list[int]] = {}
    faults = []
    for line, case in case_rows(first, path):
        if isinstance(case, RowFault):
            faults.append(case)
        else:
            lines.setdefault((first.group_code(case), second.group_code(case)), []).append(line)
    return _file_comparison(lines, first_weights, second_weights, faults)


class _Change(msgspec.Struct, frozen=True):
    kind: str
    code: str
    case: Case
    rule: str


def _as_used(case: Case, preparation: Preparation) -> Case:
    """The case with the codes that grouping used, so that a change touches one code only."""
    prepared = preparation.case
    procedures = (prepared.main, *prepared.other_procedures)
    return replace(
        case,
        diagnoses=(prepared.principal, *prepared.others),
        procedures=procedures if any(procedures) else (),
        diagnosis_edition="",
        procedure_edition="",
    )


def _changes(case: Case, preparation: Preparation, result: GroupResult) -> Iterator[_Change]:
    used = _as_used(case, preparation)
    for place, code in enumerate(used.diagnoses):
        if place and code:
            changed = replace(used, diagnoses=_first(used.diagnoses, place))
            yield _Change("principal", code, changed, PRINCIPAL_RULE)
    for place, code in enumerate(used.procedures):
        if place and code:
            changed = replace(used, procedures=_first(used.procedures, place))
            yield _Change("main", code, changed, MAIN_RULE)
    for complication in result.complications:
        if complication.level:
            kept = tuple(code for code in used.diagnoses if code != complication.code)
            yield _Change("without", complication.code, replace(used, diagnoses=kept), OTHER_RULE)


def _first(codes: tuple[str, ...], place: int) -> tuple[str, ...]:
    """``codes`` with the one at ``place`` in front; an empty first place goes."""
    rest = codes[:place] + codes[place + 1 :]
    return (codes[place], *(code for code in rest if code))


def _alternative(scheme: DrgScheme, change: _Change, listed: Outcome, weights: Weights | None) -> Alternative:
    result = scheme.group(change.case)
    outcome = _outcome(result, weights)
    obstacles = []
    if result.reason != "grouped":
        obstacles.append(result.explanation)
    if change.kind == "principal" and change.code.endswith("*") and "+" not in change.code:
        obstacles.append(f"{change.code} 是星号编码，不能作主要诊断")
    return Alternative(
        change.kind,
        change.code,
        _name(scheme, change.code, procedure=change.kind == "main"),
        outcome,
        outcome.code == listed.code,
        _difference(outcome.weight, listed.weight),
        _difference(outcome.standard, listed.standard),
        change.rule,
        tuple(obstacles),
        _difference(outcome.payment, listed.payment),
    )


def _carriers(
    scheme: DrgScheme, case: Case, preparation: Preparation, listed: Outcome, weights: Weights | None
) -> Iterator[Carrier]:
    used = _as_used(case, preparation)
    for field, codes, first, other in (
        ("diagnoses", used.diagnoses, "principal", "other"),
        ("procedures", used.procedures, "main", "procedure"),
    ):
        for place, code in enumerate(codes):
            if not code:
                continue
            # The first place stays empty: nothing moves up into it.
            left = codes[:place] + (() if place else ("",)) + codes[place + 1 :]
            changed = (
                replace(used, diagnoses=left) if field == "diagnoses" else replace(used, procedures=left)
            )
            outcome = _outcome(scheme.group(changed), weights)
            if outcome.code != listed.code:
                name = _name(scheme, code, procedure=field == "procedures")
                yield Carrier(code, name, other if place else first, outcome)


def _outcome(result: GroupResult, weights: Weights | None) -> Outcome:
    return Outcome(
        result.code,
        result.name,
        result.reason,
        weights.weights.get(result.code) if weights else None,
        weights.standards.get(result.code) if weights else None,
        weights.pay(result) if weights and weights.pay else None,
    )


def _name(scheme: DrgScheme, code: str, *, procedure: bool) -> str:
    library = scheme.library
    entry = None
    if library is not None:
        entry = library.procedure(code) if procedure else library.diagnosis(code)
    return entry.name if entry else ""


def _difference(value: Decimal | None, base: Decimal | None) -> Decimal | None:
    return None if value is None or base is None else value - base


def _file_comparison(
    lines: Mapping[tuple[str, str], list[int]],
    first_weights: Weights | None,
    second_weights: Weights | None,
    faults: Iterable[RowFault],
) -> FileComparison:
    def weight(weights: Weights | None, code: str) -> Decimal | None:
        return weights.weights.get(code) if weights else None

    totals = [Decimal(0), Decimal(0)]
    weighed = 0
    moves = []
    for (first, second), found in sorted(lines.items()):
        before, after = weight(first_weights, first), weight(second_weights, second)
        if before is not None and after is not None:
            weighed += len(found)
            totals[0] += before * len(found)
            totals[1] += after * len(found)
        if first != second:
            moves.append(Move(first, second, len(found), tuple(found), _difference(after, before)))
    moves.sort(key=lambda move: (-move.cases, move.first, move.second))
    return FileComparison(
        cases=sum(map(len, lines.values())),
        same=sum(len(found) for (first, second), found in lines.items() if first == second),
        moves=tuple(moves),
        first_not_grouped=sum(len(found) for (first, _), found in lines.items() if first == NOT_GROUPED),
        second_not_grouped=sum(len(found) for (_, second), found in lines.items() if second == NOT_GROUPED),
        weighed=weighed,
        first_weight=totals[0],
        second_weight=totals[1],
        faults=tuple(faults),
    )
