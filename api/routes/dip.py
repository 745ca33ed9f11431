"""``POST /api/v1/dip/…`` and ``/api/v1/payment``: group, explain and price one case or one settlement list."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from api.answers import API_PREFIX, JSON, Region, Scheme, answer, json_body, ok
from api.example import EXAMPLE_CASE, EXAMPLE_LIST
from api.problems import ProblemError
from api.routes.check import read_list
from api.routes.group import EXPECTED, GroupRequest, field_problem, is_list
from api.services.dip import MAX_COST_YUAN, read_cost
from api.services.payment import billing_of_list
from api.state import ServiceDep
from grouper.worksheet import Billing
from models.grouping import Case
from models.wire import Received

router = APIRouter(prefix=API_PREFIX, tags=["DIP 与支付"])

Short = Annotated[str, msgspec.Meta(max_length=30)]
Yuan = Annotated[float, msgspec.Meta(ge=0, le=float(MAX_COST_YUAN))]
IcuDays = Annotated[int, msgspec.Meta(ge=0, le=36500)]


EXAMPLE_BILLED_CASE = {**EXAMPLE_CASE, "cost": 12500.0, "hospital_level": "三级", "insurance": "职工"}


class BilledCase(GroupRequest, frozen=True, forbid_unknown_fields=True):
    """A case and what payment needs beside it. ``cost`` in yuan."""

    cost: Annotated[Yuan | None, msgspec.Meta(description="医疗总费用（元）")] = None
    hospital: Annotated[Short, msgspec.Meta(description="医疗机构编号")] = ""
    hospital_level: Annotated[Short, msgspec.Meta(description="医疗机构等级，写法与支付数据包一致")] = ""
    insurance: Annotated[Short, msgspec.Meta(description="险种，写法与支付数据包一致")] = ""
    icu_days: Annotated[IcuDays | None, msgspec.Meta(description="ICU 天数；不写时由小时数折算")] = None

    def billing(self) -> Billing:
        cost = None if self.cost is None else read_cost(repr(self.cost))
        return Billing(cost, self.hospital, self.hospital_level, self.insurance, self.icu_days)

    def case(self) -> Case:
        plain = {field: getattr(self, field) for field in GroupRequest.__struct_fields__}
        return Case(**plain)


_decode = msgspec.json.Decoder(BilledCase).decode
_EXPECTED = {
    **EXPECTED,
    "cost": f"0 到 {MAX_COST_YUAN} 的数字（元）",
    "hospital": "医疗机构编号的文本，30 个字符以内",
    "hospital_level": "医疗机构等级的文本，如 三级",
    "insurance": "险种的文本，如 职工",
    "icu_days": "0 到 36500 的整数（天）",
}

PackId = Annotated[
    str,
    Query(pattern=r"^[a-z0-9._-]{0,64}$", description="数据包编号；不写时按地区和出院日期选取。"),
]
DrgPlanId = Annotated[
    str,
    Query(
        pattern=r"^[a-z0-9._-]{0,64}$",
        description="DRG 支付数据包编号；不写时按地区和出院日期选取。",
        examples=["drg-payment-demo"],
    ),
]
Given = Annotated[str, Query(max_length=30, description="收到的是清单时，代替清单中的医疗机构、等级和险种。")]

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "oneOf": [
                        {"$ref": "#/components/schemas/BilledCase"},
                        {"$ref": "#/components/schemas/SettlementList"},
                        {"$ref": "#/components/schemas/Envelope"},
                    ]
                },
                "examples": {
                    "case": {"summary": "一个病例", "value": EXAMPLE_BILLED_CASE},
                    "list": {"summary": "一份结算清单", "value": EXAMPLE_LIST},
                },
            }
        },
    }
}


class Asked(NamedTuple):
    """What a body asks about: the case, how it is billed; of a list the discharge date and the list."""

    case: Case
    billing: Billing
    on: date | None
    received: Received | None = None


def read_billed_case(content: bytes) -> BilledCase:
    """Raises ProblemError that names the field and what it may hold."""
    try:
        return _decode(content)
    except msgspec.ValidationError as error:
        raise field_problem(str(error), _EXPECTED) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProblemError("invalid-json", "不是有效的 UTF-8 JSON 对象") from error


async def given(hospital: Given = "", hospital_level: Given = "", insurance: Given = "") -> Billing:
    """The hospital and the insurance, instead of those in a settlement list."""
    return Billing(None, hospital, hospital_level, insurance)


async def asked(
    request: Request,
    service: ServiceDep,
    billing: Annotated[Billing, Depends(given)],
    region: Region = "",
) -> Asked:
    """The case in the body; of a list the costs and the discharge date as well."""
    content = await json_body(request)
    if is_list(content):
        received = read_list(content)
        case, cost, on = service.dip().case_of_list(received, region)
        return Asked(case, billing_of_list(received, cost, billing), on, received)
    billed = read_billed_case(content)
    return Asked(billed.case(), billed.billing(), None)


AskedDep = Annotated[Asked, Depends(asked)]


@router.post(
    "/dip/group",
    operation_id="dip_group",
    summary="DIP 分组",
    response_class=Response,
    responses=ok("DipResult", "病种编码、名称、层次，不入组的原因，编码的处理"),
    openapi_extra=BODY,
)
async def dip_group(
    found: AskedDep, service: ServiceDep, region: Region = "", catalogue: PackId = ""
) -> Response:
    """接收一个病例或一份结算清单，返回 DIP 病种。`code` 为空即未入组，`explanation` 说明原因。"""
    desk = service.dip()
    return answer(desk.group(found.case, found.billing.cost, on=found.on, region=region, catalogue=catalogue))


@router.post(
    "/dip/explain",
    operation_id="dip_explain",
    summary="DIP 分组的理由",
    response_class=Response,
    responses=ok("DipExplanation", "分组结果，逐层试过的病种和不符合的原因，纯文本说明"),
    openapi_extra=BODY,
)
async def dip_explain(
    found: AskedDep, service: ServiceDep, region: Region = "", catalogue: PackId = ""
) -> Response:
    """返回 DIP 病种和得出它的过程：每一层试过哪些病种，为什么没有入组。`text` 可直接用于申诉材料。"""
    desk = service.dip()
    return answer(
        desk.explain(found.case, found.billing.cost, on=found.on, region=region, catalogue=catalogue)
    )


@router.post(
    "/dip/score",
    operation_id="dip_score",
    summary="DIP 分值和预计金额",
    response_class=Response,
    responses=ok("DipScore", "分值、系数、费用偏差、金额和每一步的出处；缺少的参数"),
    openapi_extra=BODY,
)
async def dip_score(
    found: AskedDep, service: ServiceDep, region: Region = "", catalogue: PackId = "", payment: PackId = ""
) -> Response:
    """按地区的支付数据包计算分值和金额。参数不全时 `amount` 为空，`missing` 说明缺什么。"""
    desk = service.dip()
    return answer(
        desk.score(
            found.case, found.billing, on=found.on, region=region, catalogue=catalogue, payment=payment
        )
    )


@router.post(
    "/payment",
    operation_id="payment",
    summary="DRG 预计支付",
    response_class=Response,
    responses=ok("PaidGroup", "DRG、支付标准、病例类型、预计支付、盈亏和每一步的出处；缺少的参数"),
    openapi_extra=BODY,
)
async def drg_payment(
    found: AskedDep, service: ServiceDep, region: Region = "", scheme: Scheme = "", payment: DrgPlanId = ""
) -> Response:
    """按地区的支付数据包计算 DRG 预计支付。参数不全时 `expected` 为空，`missing` 说明缺什么。"""
    desk = service.payment()
    return answer(
        desk.pay(found.case, found.billing, on=found.on, region=region, payment=payment, scheme=scheme)
    )
