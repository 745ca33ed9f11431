"""``POST /api/v1/group/what-if`` and ``/compare``: other choices of one record, and one case under two schemes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.answers import API_PREFIX, Region, Scheme, answer, ok
from api.routes.dip import BODY, AskedDep
from api.state import ServiceDep

router = APIRouter(prefix=API_PREFIX, tags=["分组"])

Schemes = Annotated[
    str,
    Query(
        pattern=r"^[a-z0-9._-]{1,64},[a-z0-9._-]{1,64}$",
        description="两个 DRG 分组方案的数据包编号，半角逗号分隔。",
        examples=["chs-drg-1.1,chs-drg-2.0"],
    ),
]
Payments = Annotated[
    str,
    Query(
        pattern=r"^([a-z0-9._-]{0,64},[a-z0-9._-]{0,64})?$",
        description="与两个方案对应的 DRG 支付数据包编号，半角逗号分隔；不写时用地区的。",
        examples=["linyi-2022,liaocheng-2025"],
    ),
]


WhatIfPayment = Annotated[
    str,
    Query(
        pattern=r"^[a-z0-9._-]{0,64}$",
        description="也给出权重、金额和差额：true 用地区的 DRG 支付数据包，或写数据包编号；不写不给出。",
        examples=["true"],
    ),
]


@router.post(
    "/group/what-if",
    operation_id="group_what_if",
    summary="换一种主要诊断或主要手术会怎样",
    response_class=Response,
    responses=ok(
        "JudgedWhatIf",
        "每个诊断作主要诊断、每个手术作主要手术、不计每个 MCC/CC 时的分组和差额，支撑入组的编码",
    ),
    openapi_extra=BODY,
)
async def group_what_if(
    found: AskedDep,
    service: ServiceDep,
    region: Region = "",
    scheme: Scheme = "",
    payment: WhatIfPayment = "",
) -> Response:
    """按病历中的先后列出每一种选择的分组，不按金额排序，也不作推荐；权重、金额和差额要写 `payment` 才给出。

    主要诊断和主要手术由病历决定：`rule` 是这种选择须满足的填写规则，`obstacles` 是分组表中的障碍；
    收到的是清单时，`broken`、`mended` 是会新触发、不再触发的质控规则。`carriers` 是去掉就会改变分组
    的编码，病历中须有依据。
    """
    return answer(
        await run_in_threadpool(
            service.comparison().what_if,
            found.case,
            found.billing,
            on=found.on,
            region=region,
            scheme=scheme,
            payment=payment,
            received=found.received,
        )
    )


@router.post(
    "/group/compare",
    operation_id="group_compare",
    summary="同一病例在两个方案下的分组",
    response_class=Response,
    responses=ok("SchemeComparison", "两个方案下的分组结果、权重和权重差（后者减前者）"),
    openapi_extra=BODY,
)
async def group_compare(
    found: AskedDep, service: ServiceDep, schemes: Schemes, region: Region = "", payments: Payments = ""
) -> Response:
    """同一病例在两个方案（或一个方案的两个版本）下的分组。没有相应的支付数据包时没有权重。"""
    first, _, second = schemes.partition(",")
    one, _, other = payments.partition(",")
    return answer(
        service.comparison().compare(
            first, second, found.case, on=found.on, region=region, payments=(one, other)
        )
    )
