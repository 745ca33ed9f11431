"""A DIP catalogue as read from its pack: groups in order, exclusions, scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, cast

from grouper.dip.expression import Expression, ExpressionError, parse
from grouper.worksheet import fen
from models.pack import Pack, PackError, PackRef

Layer = Literal["pre", "merged", "burn", "tumour", "tuberculosis", "base", "comprehensive"]
LAYER_NAMES: Mapping[Layer, str] = {
    "pre": "先期分组",
    "merged": "并项规则",
    "burn": "诊断辅助细分（烧伤）",
    "tumour": "诊断辅助细分（肿瘤）",
    "tuberculosis": "诊断辅助细分（结核）",
    "base": "基础规则",
    "comprehensive": "综合病种",
}
"""The layers in the order in which they are tried."""

ProcedureRule = Literal["main", "any", "exact", "none", "free"]
PROCEDURE_RULES: Mapping[ProcedureRule, str] = {
    "main": "主要手术操作在所列之中；列有相关手术操作的，其他手术操作至少符合一项",
    "any": "任一手术操作（不限主要）符合所列组合",
    "exact": "计入分组的全部手术操作恰为所列",
    "none": "没有计入分组的手术操作（保守治疗）",
    "free": "不看手术操作",
}
TreatmentGroup = Literal["手术组", "治疗性操作组", "诊断性操作组", "内科组"]
TREATMENT_GROUPS: tuple[TreatmentGroup, ...] = ("手术组", "治疗性操作组", "诊断性操作组", "内科组")
TREATMENT_OF_KIND: Mapping[str, TreatmentGroup] = {
    "手术": "手术组",
    "介入治疗": "手术组",
    "治疗性操作": "治疗性操作组",
    "诊断性操作": "诊断性操作组",
}
"""综合病种 by the kind of the main procedure; any other kind is 内科组."""
Resistance = Literal["", "resistant", "sensitive"]


@dataclass(frozen=True, slots=True)
class DipGroup:
    """One row of a catalogue: what a case must have to belong to it.

    ``diagnoses`` are codes or leading characters of the principal diagnosis, or of any diagnosis where
    ``any_diagnosis``; none means every diagnosis. ``other_diagnoses`` are leading characters, one of
    which an other diagnosis must have. ``main`` and ``related`` are read as ``procedure_rule`` says.
    ``age_days_below`` is an age in days, exclusive; ``birth_weight_from`` and ``_to`` are g, inclusive.
    ``treatment`` is the kind of a 综合病种. ``primary_care``: 基层病种.
    """

    code: str
    layer: Layer
    category: str
    order: int
    name: str
    diagnoses: tuple[str, ...] = ()
    any_diagnosis: bool = False
    other_diagnoses: tuple[str, ...] = ()
    procedure_rule: ProcedureRule = "free"
    main: Expression | None = None
    related: Expression | None = None
    resistance: Resistance = ""
    age_days_below: int | None = None
    birth_weight_from: int | None = None
    birth_weight_to: int | None = None
    treatment: TreatmentGroup | Literal[""] = ""
    degree: str = ""
    area: str = ""
    primary_care: bool = False


@dataclass(frozen=True, slots=True)
class GroupScore:
    """What a region publishes for a group: ``score`` (RW), ``mean_cost`` in fen, ``cases`` counted."""

    score: Fraction | None = None
    mean_cost: int | None = None
    cases: int | None = None


@dataclass(frozen=True)
class Catalogue:
    """A whole catalogue. Exclusions and resistance diagnoses are codes or their leading characters."""

    groups: tuple[DipGroup, ...]
    scores: Mapping[str, GroupScore] = field(default_factory=dict)
    excluded_diagnoses: frozenset[str] = frozenset()
    excluded_procedures: frozenset[str] = frozenset()
    resistance_diagnoses: frozenset[str] = frozenset()
    pack: PackRef | None = None
    requires: Mapping[str, str] = field(default_factory=dict)

    def group(self, code: str) -> DipGroup | None:
        return next((group for group in self.groups if group.code == code), None)


GROUP_COLUMNS = (
    "code",
    "layer",
    "category",
    "order",
    "name",
    "diagnoses",
    "diagnosis_scope",
    "other_diagnoses",
    "procedure_rule",
    "main_procedures",
    "related_procedures",
    "resistance",
    "age_days_below",
    "birth_weight_from",
    "birth_weight_to",
    "treatment",
    "degree",
    "area",
    "primary_care",
)
SCORE_COLUMNS = ("code", "score", "mean_cost", "cases")


def read_scores(pack: Pack) -> dict[str, GroupScore]:
    """The table ``scores`` of a pack; empty where it has none. Raises PackError."""
    if "scores" not in pack.manifest.tables:
        return {}
    try:
        return {
            code: GroupScore(
                Fraction(score) if score else None,
                fen(mean) if mean else None,
                int(cases) if cases else None,
            )
            for code, score, mean, cases in pack.records("scores", *SCORE_COLUMNS)
        }
    except (ValueError, ArithmeticError) as error:
        raise PackError(f"{pack.table_path('scores')}：分值或均次费用不是数字（{error}）") from error


def load_catalogue(pack: Pack) -> Catalogue:
    """Read a pack of kind ``dip-catalogue``. Raises PackError."""
    return Catalogue(
        groups=tuple(_group(pack, row) for row in pack.records("groups", *GROUP_COLUMNS)),
        scores=read_scores(pack),
        excluded_diagnoses=_codes(pack, "excluded_diagnoses"),
        excluded_procedures=_codes(pack, "excluded_procedures"),
        resistance_diagnoses=_codes(pack, "resistance_diagnoses"),
        pack=pack.ref,
        requires=dict(pack.manifest.requires),
    )


def _codes(pack: Pack, table: str) -> frozenset[str]:
    if table not in pack.manifest.tables:
        return frozenset()
    return frozenset(code for (code,) in pack.records(table, "code"))


def _group(pack: Pack, row: tuple[str, ...]) -> DipGroup:
    try:
        return group_of_row(row)
    except (ValueError, ExpressionError) as error:
        raise PackError(f"{pack.table_path('groups')}：病种 {row[0]}：{error}") from error


def group_of_row(row: tuple[str, ...]) -> DipGroup:
    """One row of the table ``groups`` with the columns GROUP_COLUMNS. Raises ValueError."""
    value = dict(zip(GROUP_COLUMNS, row, strict=True))
    layer, rule = value["layer"], value["procedure_rule"]
    treatment, resistance = value["treatment"], value["resistance"]
    if layer not in LAYER_NAMES or rule not in PROCEDURE_RULES:
        raise ValueError(f"层次“{layer}”或手术操作规则“{rule}”不认识")
    if treatment not in ("", *TREATMENT_GROUPS) or resistance not in ("", "resistant", "sensitive"):
        raise ValueError(f"综合病种类别“{treatment}”或耐药“{resistance}”不认识")
    return DipGroup(
        code=value["code"],
        layer=cast(Layer, layer),
        category=value["category"],
        order=int(value["order"]),
        name=value["name"],
        diagnoses=split_codes(value["diagnoses"]),
        any_diagnosis=value["diagnosis_scope"] == "any",
        other_diagnoses=split_codes(value["other_diagnoses"]),
        procedure_rule=cast(ProcedureRule, rule),
        main=parse(value["main_procedures"]),
        related=parse(value["related_procedures"]),
        resistance=cast(Resistance, resistance),
        age_days_below=_number(value["age_days_below"]),
        birth_weight_from=_number(value["birth_weight_from"]),
        birth_weight_to=_number(value["birth_weight_to"]),
        treatment=cast(TreatmentGroup | Literal[""], treatment),
        degree=value["degree"],
        area=value["area"],
        primary_care=value["primary_care"] == "1",
    )


def row_of_group(group: DipGroup) -> tuple[str, ...]:
    """The row of the table ``groups`` that ``group_of_row`` reads back."""
    numbers = (group.age_days_below, group.birth_weight_from, group.birth_weight_to)
    return (
        group.code,
        group.layer,
        group.category,
        str(group.order),
        group.name,
        "|".join(group.diagnoses),
        "any" if group.any_diagnosis else "principal",
        "|".join(group.other_diagnoses),
        group.procedure_rule,
        group.main.text if group.main else "",
        group.related.text if group.related else "",
        group.resistance,
        *("" if number is None else str(number) for number in numbers),
        group.treatment,
        group.degree,
        group.area,
        "1" if group.primary_care else "",
    )


def split_codes(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split("|") if part)


def _number(text: str) -> int | None:
    return int(text) if text else None
