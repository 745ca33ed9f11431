"""The catalogue, the plan and the hand-worked cases that the DIP tests share."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from coding.library import CodeLibrary, load_library
from grouper.dip.catalogue import GROUP_COLUMNS, Catalogue, GroupScore, group_of_row
from grouper.dip.comorbidity import load_comorbidity
from grouper.dip.engine import DipEngine
from grouper.dip.score import DipPlan
from grouper.parameters import DIP_PARAMETERS, Parameter, Parameters
from grouper.worksheet import fen
from models.grouping import Case
from models.pack import PackStore

FILE = Path(__file__).parent.parent / "data" / "dip_cases.yaml"
DEFAULTS = {"category": "", "diagnosis_scope": "principal", "procedure_rule": "free"}


@cache
def content() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(FILE.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return loaded


@cache
def library() -> CodeLibrary:
    return load_library(PackStore())


@cache
def catalogue() -> Catalogue:
    tables = content()["catalogue"]
    groups = []
    for given in tables["groups"]:
        row = {**dict.fromkeys(GROUP_COLUMNS, ""), **DEFAULTS, **given}
        assert set(row) == set(GROUP_COLUMNS), row
        groups.append(group_of_row(tuple(row[column] for column in GROUP_COLUMNS)))
    scores = {
        code: GroupScore(Fraction(score), fen(mean) if mean else None, int(cases))
        for code, (score, mean, cases) in tables["scores"].items()
    }
    return Catalogue(
        tuple(groups),
        scores,
        frozenset(tables["excluded_diagnoses"]),
        frozenset(tables["excluded_procedures"]),
        frozenset(tables["resistance_diagnoses"]),
    )


@cache
def engine() -> DipEngine:
    return DipEngine(catalogue(), library())


def plan(changed: dict[str, str] | None = None, without: tuple[str, ...] = ()) -> DipPlan:
    """The fictional plan, with some parameters changed or left out."""
    rows = [row for row in content()["plan"] if row[0] not in without and row[0] not in (changed or {})]
    rows += [[name, "", "", "", value] for name, value in (changed or {}).items()]
    parameters = Parameters(
        Parameter(name, DIP_PARAMETERS[name], key, level, insurance, value, "", "虚构示例")
        for name, key, level, insurance, value in rows
    )
    severity = tuple((prefix, level) for level, prefix in content()["severity"])
    comorbidity = load_comorbidity(PackStore().get("charlson-quan-2005"))
    return DipPlan(catalogue().scores, parameters, severity, comorbidity)


def case_of(given: dict[str, Any]) -> Case:
    return replace(
        Case(tuple(given["diagnoses"]), tuple(given.get("procedures", ())), sex="1"),
        age=given.get("age", 50),
        age_days=given.get("age_days"),
        birth_weight=given.get("birth_weight"),
        icu_hours=given.get("icu_hours"),
    )
