"""Learns what cost and stay the coded case lets expect; lists far away are candidates for review."""

from __future__ import annotations

import math
import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import lightgbm
import numpy as np
import numpy.typing as npt

from api.services.month.records import Record
from api.services.month.result import LEAST_LISTS, Candidate, Driver, Model

FOLDS = 5
ROUNDS = 300
SEED = 20260101
FAR = 3.5
"""Robust standard deviations from the expectation that make a candidate."""
LEAST_ALIKE = 20
"""Lists of an ADRG in what was learned from, below which the model knows too little of it to judge."""
OWN_SPREAD = 30
"""Lists of an ADRG from which on its own spread counts, where it is wider than that of all."""
MOST_DRIVERS = 3
WORTH_NAMING = 0.05
"""A feature that moves the expectation by less is not named."""
NORMAL_MAD = 1.4826
"""Median absolute deviation → standard deviation of a normal distribution."""
PARAMETERS: dict[str, Any] = {
    "objective": "regression",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "cat_smooth": 10,
    "min_data_per_group": 10,
    "feature_fraction": 0.9,
    "lambda_l2": 1.0,
    "seed": SEED,
    "deterministic": True,
    "force_row_wise": True,
    # One thread adds up in one order on every machine.
    "num_threads": 1,
    "verbosity": -1,
}

Target = Literal["费用", "住院日"]
Matrix = npt.NDArray[np.float64]

FEATURES: tuple[tuple[str, Callable[[Record], float | None]], ...] = (
    ("年龄（岁）", lambda one: one.age),
    ("性别", lambda one: {"1": 1.0, "2": 2.0}.get(one.sex)),
    ("MCC 个数", lambda one: one.mcc),
    ("CC 个数", lambda one: one.cc),
    ("诊断个数", lambda one: one.diagnoses),
    ("手术操作个数", lambda one: one.procedures),
    ("重症监护时长（小时）", lambda one: one.intensive_minutes / 60),
    ("呼吸机时长（小时）", lambda one: one.ventilation_minutes / 60),
    ("入院途径", lambda one: float(one.admission_way) if one.admission_way in ("1", "2", "3", "9") else None),
    ("死亡离院", lambda one: float(one.discharge_way == "5")),
    ("病组公布的均次费用（元）", lambda one: None if one.average_fee is None else one.average_fee / 100),
    ("病组权重", lambda one: one.value.weight),
)
GROUPS = ("ADRG", "主要诊断类目")
"""Two further features that are names, not numbers; they stand behind the numbers."""
TARGETS: tuple[tuple[Target, Callable[[Record], float | None]], ...] = (
    ("费用", lambda one: one.cost / 100 if one.cost else None),
    ("住院日", lambda one: None if one.stay is None or one.stay < 0 else float(max(one.stay, 1))),
)


@dataclass(frozen=True)
class Residuals:
    """Candidates of both targets, how the models did, and what to say where there is none."""

    candidates: tuple[Candidate, ...]
    models: tuple[Model, ...]
    notes: tuple[str, ...]


def review_candidates(month: Sequence[Record], past: Sequence[Record], files: Sequence[str]) -> Residuals:
    """Lists of the month whose cost or stay is far from the expectation, the farthest first.

    Learned from the past when it has 500 lists, else from the month itself by cross-fitting: each list
    is judged by a model that has not seen it.
    """
    candidates: list[Candidate] = []
    models = []
    notes = []
    for target, value_of in TARGETS:
        rows, known = _Rows.of(month, value_of), _Rows.of(past, value_of)
        number, before = len(rows.at), len(known.at)
        if max(number, before) < LEAST_LISTS or not number:
            notes.append(
                f"已分组且有{target}的清单不足 {LEAST_LISTS} 份（本期 {number} 份，过去 {before} 份），"
                f"没有建立{target}的期望模型，不提示残差候选"
            )
            continue
        found = _expect(rows, known if before >= LEAST_LISTS else rows)
        chosen = _far(month, rows, found, files, target=target, value_of=value_of)
        rare = number - int(found.judged.sum())
        if rare:
            notes.append(f"{rare} 份清单的 ADRG 在学习数据中不足 {LEAST_ALIKE} 份，没有评判其{target}的残差")
        models.append(
            Model(
                target=target,
                learned_from=found.learned_from,
                explained=round(found.explained, 3),
                typical_error=round(math.exp(found.scale) - 1, 3),
                candidates=len(chosen),
            )
        )
        candidates += chosen
    return Residuals(tuple(candidates), tuple(models), tuple(notes))


@dataclass(frozen=True)
class _Rows:
    """The lists that have a group and a value: their places, features, names of the groups, logarithms.

    Only this is kept of them, so that a month of many lists need not be in memory as records.
    """

    at: list[int]
    numbers: Matrix
    names: tuple[list[str], list[str]]
    logs: Matrix

    @classmethod
    def of(cls, records: Iterable[Record], value_of: Callable[[Record], float | None]) -> _Rows:
        at: list[int] = []
        numbers, logs = array("d"), array("d")
        adrgs: list[str] = []
        categories: list[str] = []
        for place, record in enumerate(records):
            value = value_of(record) if record.grouped else None
            if not value:
                continue
            at.append(place)
            known = (feature_of(record) for _, feature_of in FEATURES)
            numbers.extend(math.nan if one is None else one for one in known)
            adrgs.append(sys.intern(record.adrg))
            categories.append(sys.intern(record.category))
            logs.append(math.log(value))
        shape = (len(at), len(FEATURES))
        return cls(at, np.array(numbers).reshape(shape), (adrgs, categories), np.array(logs))

    def matrix(self, places: Sequence[dict[str, int]]) -> Matrix:
        """Numbers, and the names by their ``places``; a name that has none is unknown to the model."""
        named = [
            [place.get(name, math.nan) for name in names]
            for place, names in zip(places, self.names, strict=True)
        ]
        return np.column_stack([self.numbers, *named])


@dataclass(frozen=True)
class _Expected:
    """By row: logarithm expected, residual, and the spread that counts for it.

    ``models``, and by row which of them judged it (``judge``) from which ``features``: what the parts of an
    expectation are computed from, where anybody asks.
    """

    logs: Matrix
    residuals: Matrix
    spreads: Matrix
    features: Matrix
    models: Sequence[Any]
    judge: npt.NDArray[np.int64]
    judged: npt.NDArray[np.bool_]
    scale: float
    explained: float
    learned_from: int


def _expect(rows: _Rows, source: _Rows) -> _Expected:
    """The expectation of each row, learned from ``source``; from the rows themselves by cross-fitting."""
    books = [sorted(set(names)) for names in source.names]
    places = [{name: at for at, name in enumerate(book)} for book in books]
    features, actual = rows.matrix(places), rows.logs
    number_of_rows = len(rows.at)
    if source is not rows:
        models = [_train(source.matrix(places), source.logs)]
        judge = np.zeros(number_of_rows, dtype=np.int64)
    else:
        judge = np.arange(number_of_rows) % FOLDS
        models = [_train(features[judge != fold], actual[judge != fold]) for fold in range(FOLDS)]
    expected = np.zeros(number_of_rows)
    for number, model in enumerate(models):
        if np.any(judge == number):
            expected[judge == number] = model.predict(features[judge == number])
    residuals = actual - expected
    residuals = residuals - np.median(residuals)
    scale = _spread(residuals)
    variance = float(np.var(actual))
    adrgs = rows.names[0]
    alike = Counter(source.names[0])
    return _Expected(
        logs=actual - residuals,
        residuals=residuals,
        spreads=_spreads(adrgs, residuals, scale),
        features=features,
        models=models,
        judge=judge,
        judged=np.array([alike[adrg] >= LEAST_ALIKE for adrg in adrgs]),
        scale=scale,
        explained=1 - float(np.var(residuals)) / variance if variance else 0.0,
        learned_from=len(source.at),
    )


def _train(features: Matrix, targets: Matrix) -> Any:
    names = [len(FEATURES) + number for number in range(len(GROUPS))]
    data = lightgbm.Dataset(features, targets, categorical_feature=names, free_raw_data=True)
    return lightgbm.train(PARAMETERS, data, num_boost_round=ROUNDS)


def _spread(values: Matrix) -> float:
    """Robust standard deviation, never 0."""
    middle = np.median(values)
    return max(float(np.median(np.abs(values - middle))) * NORMAL_MAD, 1e-6)


def _spreads(adrgs: Sequence[str], residuals: Matrix, scale: float) -> Matrix:
    places = defaultdict(list)
    for at, adrg in enumerate(adrgs):
        places[adrg].append(at)
    found = np.full(len(adrgs), scale)
    for of_group in places.values():
        if len(of_group) >= OWN_SPREAD:
            found[of_group] = max(scale, _spread(residuals[of_group]))
    return found


def _far(
    month: Sequence[Record],
    rows: _Rows,
    expected: _Expected,
    files: Sequence[str],
    *,
    target: Target,
    value_of: Callable[[Record], float | None],
) -> list[Candidate]:
    deviations = expected.residuals / expected.spreads
    far = [int(at) for at in np.flatnonzero((np.abs(deviations) >= FAR) & expected.judged)]
    far.sort(key=lambda at: (-abs(deviations[at]), at))
    # The parts of an expectation cost a hundred times the expectation: only these rows need them.
    parts = {
        at: expected.models[expected.judge[at]].predict(expected.features[at : at + 1], pred_contrib=True)[0]
        for at in far
    }
    found = []
    for at in far:
        record = month[rows.at[at]]
        actual = value_of(record) or 0.0
        ratio = math.exp(expected.residuals[at])
        drivers = _drivers(record, parts[at], low=ratio < 1)
        found.append(
            Candidate(
                list_id=record.list_id,
                file=files[record.file],
                line=record.line,
                target=target,
                department=record.department,
                doctor=record.doctor,
                drg=record.drg,
                actual=round(actual, 2),
                expected=round(math.exp(expected.logs[at]), 2),
                ratio=round(ratio, 3),
                deviations=round(float(deviations[at]), 2),
                drivers=drivers,
                text=_text(target, ratio, drivers),
            )
        )
    return found


def _drivers(record: Record, contributions: Matrix, *, low: bool) -> tuple[Driver, ...]:
    """What raised the expectation of a list that stayed below it, or lowered that of one above it."""
    names = [*(name for name, _ in FEATURES), *GROUPS]
    values = [*(value_of(record) for _, value_of in FEATURES), record.adrg, record.category]
    parts = contributions[:-1]
    order = np.argsort(-parts if low else parts, kind="stable")[:MOST_DRIVERS]
    found = []
    for at in order:
        factor = math.exp(parts[at])
        if (factor - 1 if low else 1 - factor) >= WORTH_NAMING:
            value = values[at]
            text = "未填" if value is None else f"{value:g}" if isinstance(value, float | int) else value
            found.append(Driver(names[at], text, round(factor, 3)))
    return tuple(found)


def _text(target: Target, ratio: float, drivers: Sequence[Driver]) -> str:
    moved = "、".join(f"{one.feature} {one.value}（×{one.factor:.2f}）" for one in drivers)
    if ratio < 1:
        why = f"；期望较高主要因为 {moved}" if moved else ""
        return (
            f"{target}是编码所示病情期望的 {ratio:.2f} 倍{why}。可能是编码重于实际，"
            "也可能是病情轻、提前出院或费用未计全，请对照病历"
        )
    why = f"；期望较低主要因为 {moved}" if moved else ""
    return (
        f"{target}是编码所示病情期望的 {ratio:.2f} 倍{why}。可能有诊断或手术漏编，"
        "也可能是并发症、材料贵或收费有误，请对照病历"
    )
