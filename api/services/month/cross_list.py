"""Looks across the lists of one person: overlapping stays, readmission, decomposed stays; and at multiples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from api.services.month.records import Record
from api.services.month.result import CrossFinding
from models.report import Finding, Severity
from qc_rules.schema import Rule

MOST_STAYS = 100
"""An identifier with more lists than this names nobody (a ward's placeholder), and is passed over."""
ONE_DAY = 24.0
SERIAL_TREATMENT = ("Z49", "Z51")
"""Principal diagnoses of treatment in courses (dialysis, chemotherapy, radiotherapy): planned returns."""
OVERLAP, DECOMPOSED, WITHIN_A_DAY, MULTIPLE = "LOG-030", "FRD-006", "FRD-007", "FRD-011"
DEATH = "5"
"""离院方式: 死亡."""
TRANSFER = ("2", "3")
"""离院方式: 医嘱转院, 医嘱转社区."""


@dataclass(frozen=True, slots=True)
class CrossParameters:
    """What a hospital may change: windows of readmission in days, multiples of the group's standard."""

    windows: tuple[int, ...] = (7, 10, 15, 31)
    high_multiple: float = 3.0
    low_multiple: float = 0.4
    serial: tuple[str, ...] = SERIAL_TREATMENT


PARAMETERS = CrossParameters()


@dataclass
class Skipped:
    """What was seen and left out, to be said and not hidden."""

    planned: int = 0
    no_person: int = 0
    no_times: int = 0
    placeholders: int = 0
    repeated: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        found = (
            (
                self.planned,
                "对再住院属于计划内（31 天内再住院计划标志为“有”，或透析、放化疗等分次治疗），未列出",
            ),
            (self.no_person, "份清单没有可用的医保编号、证件号码或人员编号，没有参加跨清单比对"),
            (self.no_times, "份清单没有入院、出院时间或出院早于入院，没有参加跨清单比对"),
            (self.placeholders, f"个号码各对应 {MOST_STAYS} 份以上清单，视为占位号码，没有比对"),
            (self.repeated, "份清单同时在本期和过去的文件里，没有当作重复上传；请核对 --reference"),
        )
        return tuple(f"{number} {text}" for number, text in found if number)


def across(
    records: Sequence[Record],
    month_files: int,
    files: Sequence[str],
    rules: dict[str, Rule],
    parameters: CrossParameters,
) -> tuple[list[CrossFinding], Skipped]:
    """Findings that need the other lists of the same person, in the order of the lists.

    The first ``month_files`` files are the month; of two lists at least one belongs to it.
    ``rules`` are the documented rules by code: title, severity, advice and basis are theirs; a rule that
    a hospital's pack has withdrawn is missing there, and silent here.
    """
    found, skipped = pairs_across(records, month_files, files, rules, parameters)
    findings = [one for _, _, one in found]
    numbers = {name: number for number, name in enumerate(files)}
    findings.sort(key=lambda one: (numbers[one.file], one.line, one.finding.rule, one.other_line))
    return findings, skipped


def pairs_across(
    records: Sequence[Record],
    month_files: int,
    files: Sequence[str],
    rules: dict[str, Rule],
    parameters: CrossParameters,
) -> tuple[list[tuple[Record, Record, CrossFinding]], Skipped]:
    """As ``across``, each finding with the earlier and the later of its two records, in no stated order."""
    skipped = Skipped()
    judge = _Judge(files, rules, parameters, skipped)
    found = [
        (earlier, later, one)
        for earlier, later in _pairs(records, skipped)
        if _in_month(earlier, later, month_files, skipped)
        for one in judge.pair(earlier, later)
    ]
    return found, skipped


def _in_month(earlier: Record, later: Record, month_files: int, skipped: Skipped) -> bool:
    """Whether a pair concerns the month; the same list in month and past is no second stay."""
    inside = [one.file < month_files for one in (earlier, later)]
    if inside[0] != inside[1] and earlier.list_id and earlier.list_id == later.list_id:
        skipped.repeated += 1
        return False
    return any(inside)


def _pairs(records: Sequence[Record], skipped: Skipped) -> Iterator[tuple[Record, Record]]:
    """Each stay with the next of the same person, and with every one it overlaps; each pair once."""
    people: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for at, record in enumerate(records):
        if not any(record.people):
            skipped.no_person += 1
        elif record.admitted is None or record.discharged is None or record.discharged < record.admitted:
            skipped.no_times += 1
        else:
            for kind, identifier in enumerate(record.people):
                if identifier:
                    people[kind, identifier].append(at)
    seen = set()
    for stays in people.values():
        if len(stays) > MOST_STAYS:
            skipped.placeholders += 1
            continue
        if len(stays) < 2:
            continue
        stays.sort(key=lambda at: (records[at].admitted, records[at].discharged, at))
        for position, first in enumerate(stays):
            next_one = True
            for second in stays[position + 1 :]:
                if not _same_person(records[first], records[second]):
                    continue
                if not next_one and not _overlap(records[first], records[second]):
                    break
                next_one = False
                if (first, second) not in seen:
                    seen.add((first, second))
                    yield records[first], records[second]


def _same_person(one: Record, other: Record) -> bool:
    """False where the lists contradict: a newborn is often billed under the mother's number."""
    for mine, theirs in (
        (one.born, other.born),
        (one.sex, other.sex),
        (one.birth_weight, other.birth_weight),
    ):
        if mine and theirs and mine != theirs:
            return False
    if one.age is None or other.age is None:
        return True
    return abs(one.age - other.age) <= 1


def _overlap(earlier: Record, later: Record) -> bool:
    return bool(later.admitted and earlier.discharged and later.admitted < earlier.discharged)


@dataclass(frozen=True)
class _Judge:
    """What judging a pair needs besides the pair."""

    files: Sequence[str]
    rules: dict[str, Rule]
    parameters: CrossParameters
    skipped: Skipped

    def pair(self, earlier: Record, later: Record) -> Iterator[CrossFinding]:
        """The findings on the later of two stays of one person."""
        admitted, discharged = later.admitted, earlier.discharged
        if admitted is None or discharged is None:
            return
        gap = (admitted - discharged) / timedelta(hours=1)

        def finding(code: str, message: str) -> Iterator[CrossFinding]:
            if code in self.rules:
                yield CrossFinding(
                    list_id=later.list_id,
                    file=self.files[later.file],
                    line=later.line,
                    other_id=earlier.list_id,
                    other_file=self.files[earlier.file],
                    other_line=earlier.line,
                    finding=_finding(
                        self.rules[code],
                        "setlinfo.adm_time",
                        "入院时间",
                        f"{admitted:%Y-%m-%d %H:%M}",
                        message,
                    ),
                    gap_hours=round(gap, 1),
                )

        other = f"清单 {earlier.list_id or '（无编号）'}（{self.files[earlier.file]} 第 {earlier.line} 行）"
        if gap < 0:
            same = earlier.admitted == admitted and discharged == later.discharged
            message = (
                f"与{other}的入院、出院时间完全相同，可能重复上传"
                if same
                else f"入院时间 {admitted:%Y-%m-%d %H:%M} 早于{other}的出院时间 {discharged:%Y-%m-%d %H:%M}，两次住院重叠"
            )
            yield from finding(OVERLAP, message)
            return
        if earlier.institution and later.institution and earlier.institution != later.institution:
            return
        if earlier.discharge_way == DEATH or earlier.discharge_way in TRANSFER:
            return
        days = (admitted.date() - discharged.date()).days
        same_disease = bool(later.category) and earlier.category == later.category
        window = next((limit for limit in self.parameters.windows if days <= limit), None)
        if gap >= ONE_DAY and not (same_disease and window is not None):
            return
        if earlier.planned or later.principal.startswith(self.parameters.serial):
            self.skipped.planned += 1
            return
        if gap < ONE_DAY:
            kind = "主要诊断类目相同" if same_disease else "主要诊断类目不同"
            yield from finding(WITHIN_A_DAY, f"距{other}出院只有 {gap:.1f} 小时再次住院（{kind}）")
        if same_disease and window is not None:
            yield from finding(
                DECOMPOSED,
                f"距{other}出院 {days} 天（{window} 天窗口内）再次住院，主要诊断同为 {later.category} 类目",
            )


def multiples(
    records: Sequence[Record], files: Sequence[str], rules: dict[str, Rule], parameters: CrossParameters
) -> Iterator[CrossFinding]:
    """Lists whose cost is a high or low multiple of the standard of their group."""
    rule = rules.get(MULTIPLE)
    if rule is None:
        return
    for record in records:
        if record.multiple is None or record.cost is None:
            continue
        if record.outlier:
            high, low = record.outlier == "high", record.outlier == "low"
            limit = "当地的倍率界限"
        else:
            high = record.multiple > parameters.high_multiple
            low = record.multiple < parameters.low_multiple
            limit = f"{parameters.high_multiple if high else parameters.low_multiple:g} 倍"
        if not (high or low):
            continue
        text = (
            f"费用 {record.cost / 100:.2f} 元，是 {record.drg} {record.against}的 {record.multiple:.2f} 倍，"
            f"{'高于' if high else '低于'} {limit}"
        ).replace(" 当地", "当地")
        yield CrossFinding(
            list_id=record.list_id,
            file=files[record.file],
            line=record.line,
            other_id="",
            other_file="",
            other_line=0,
            finding=_finding(rule, "setlinfo.medfee_sumamt", "医疗费总额", f"{record.cost / 100:.2f}", text),
        )


def _finding(rule: Rule, path: str, field: str, value: str, message: str) -> Finding:
    severity: Severity = rule.severity
    return Finding(
        rule=rule.code,
        title=rule.title,
        severity=severity,
        path=path,
        field=field,
        value=value,
        message=message,
        advice=rule.advice,
        basis=rule.basis.text,
    )
