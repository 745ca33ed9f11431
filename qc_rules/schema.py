"""What a rule file, an override file and an example may contain: one documented unit per rule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)

from models.report import Severity
from models.settlement_list import Interface

Status = Literal["stable", "preview", "off"]
Confidence = Literal["official", "in use", "convention"]
Stage = Literal["事前", "事中", "事后"]
Scope = Literal[
    "list",
    "payinfo",
    "opspdiseinfo",
    "diseinfo",
    "iteminfo",
    "oprninfo",
    "icuinfo",
    "bldinfo",
    "feedetail",
    "evidence",
    "discharge_diagnoses",
    "western_diagnoses",
    "principal_diagnosis",
    "other_diagnoses",
    "main_procedure",
]

CONFIDENCE_LABELS: Mapping[Confidence, str] = {
    "official": "官方依据",
    "in use": "在用规则",
    "convention": "编码惯例",
}

LOCAL = frozenset({"地方结算清单质控规则库"})
"""Documents that are official in their own region only."""
UNOFFICIAL = frozenset({"医院病案首页质控规则", "医院审核规则目录", "编码与填报惯例", "编码惯例"})

RULE_CODE = r"^[A-Z]{2,5}-[0-9]{3}$"
Text = Annotated[StrictStr, Field(min_length=1)]
Value = StrictBool | StrictInt | StrictFloat | StrictStr | tuple[StrictStr, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Basis(_Strict):
    """Where a rule comes from: document, clause, and how far that can be trusted."""

    document: Text
    clause: StrictStr = ""
    confidence: Confidence

    @property
    def label(self) -> str:
        """How far it can be trusted, in Chinese; what only a local library calls official is said to be local."""
        documents = set(self.document.split("；"))
        if self.confidence == "official" and documents & LOCAL and documents <= LOCAL | UNOFFICIAL:
            return "地方官方"
        return CONFIDENCE_LABELS[self.confidence]

    @property
    def text(self) -> str:
        """As a finding prints it: document, clause, confidence, unless the document is itself called so."""
        place = f"{self.document} {self.clause}".strip()
        return place if self.label == "编码惯例" and place.endswith("惯例") else f"{place}（{self.label}）"


class Parameter(_Strict):
    """A value that a hospital may change: with what it means and its unit."""

    value: Value
    description: Text
    unit: StrictStr = ""


class Example(_Strict):
    """A base list and what is changed in it: official path → new value; null takes the field away.

    A path one past the last row (``diseinfo[5]``) adds a row; null on a row or a node removes it.
    ``group`` gives fields of the grouping result that the rule is to see.
    """

    base: Text = "adult"
    change: Mapping[StrictStr, Any] = {}
    group: Mapping[StrictStr, Any] | None = None
    settings: Mapping[StrictStr, StrictBool | StrictInt | StrictFloat | StrictStr] = {}
    note: StrictStr = ""


class Examples(_Strict):
    """Lists on which the rule fires, and near-misses on which it does not."""

    fires: tuple[Example, ...] = ()
    passes: tuple[Example, ...] = ()


class Rule(_Strict):
    """One rule. ``when`` says when it fires; see docs/writing-rules.md for its operators.

    ``name`` is short, ``title`` a sentence; ``at`` is the field the finding points to (default: the
    first field that ``when`` reads). ``needs`` says which data a switched-off rule would need.
    ``arithmetic`` marks arithmetic or date logic that cannot be otherwise: only such a rule may be an
    error without an official basis. ``severity_from`` names the setting that gives the severity
    (error, warn, info or off) in place of the rule's own. ``deduction`` is in points of 100.
    """

    code: Annotated[StrictStr, Field(pattern=RULE_CODE)]
    name: Text
    title: Text
    scope: Scope = "list"
    severity: Severity
    severity_from: StrictStr = ""
    status: Status = "stable"
    needs: StrictStr = ""
    effective_from: date | None = None
    effective_to: date | None = None
    interfaces: Annotated[tuple[Interface, ...], Field(min_length=1)] = ("4101", "4101A")
    basis: Basis
    arithmetic: StrictBool = False
    why: Text
    when: Mapping[StrictStr, Any] | None = None
    at: StrictStr = ""
    message: StrictStr = ""
    advice: Text
    deduction: Annotated[StrictInt, Field(ge=0, le=100)]
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = ("事前", "事中", "事后")
    parameters: Mapping[StrictStr, Parameter] = {}
    examples: Examples = Examples()

    @model_validator(mode="after")
    def _consistent(self) -> Rule:
        if self.severity == "error" and self.basis.confidence != "official" and not self.arithmetic:
            raise ValueError(
                "依据不是官方文件的规则最高为 warn；确属算术或日期逻辑、不可能有例外的，写 arithmetic: true"
            )
        if self.when is None:
            if self.status != "off" or not self.needs:
                raise ValueError('没有 when 的规则必须 status: "off"，并在 needs 写明缺少什么数据')
        elif not self.message:
            raise ValueError("有 when 的规则必须写 message")
        if self.effective_from and self.effective_to and self.effective_from > self.effective_to:
            raise ValueError("effective_from 晚于 effective_to")
        return self

    @property
    def family(self) -> str:
        """The letters of the code, ``CMP`` of CMP-001."""
        return self.code.partition("-")[0]

    def in_force(self, on: date | None) -> bool:
        """Whether the rule holds for a list with this discharge date; an unknown date counts as yes."""
        if on is None:
            return True
        return (self.effective_from or date.min) <= on <= (self.effective_to or date.max)


class Override(_Strict):
    """What a later pack may change of a rule of an earlier one."""

    severity: Severity | None = None
    status: Status | None = None
    deduction: Annotated[StrictInt, Field(ge=0, le=100)] | None = None
    effective_from: date | None = None
    effective_to: date | None = None
    parameters: Mapping[StrictStr, Value] = {}
    reason: Text
