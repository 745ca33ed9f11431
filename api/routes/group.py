"""``POST /api/v1/group``: the DRG of one case or one settlement list, with the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.answers import API_PREFIX, JSON, Region, Scheme, answer, json_body, ok
from api.example import EXAMPLE_CASE, EXAMPLE_LIST
from api.problems import FieldFault, ProblemError
from api.routes.check import read_list
from api.state import CheckerDep
from models.grouping import Case
from models.settlement_list import RECORDS

router = APIRouter(prefix=API_PREFIX, tags=["分组"])

MAX_CODES = 1000
Code = Annotated[str, msgspec.Meta(max_length=64)]
Codes = Annotated[tuple[Code, ...], msgspec.Meta(max_length=MAX_CODES)]
Years = Annotated[int, msgspec.Meta(ge=0, le=150)]
Days = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
Grams = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
Hours = Annotated[float, msgspec.Meta(ge=0, le=2_400_000)]


class GroupRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A case to group: ``diagnoses`` principal first, ``procedures`` main first."""

    diagnoses: Annotated[Codes, msgspec.Meta(description="诊断编码，主要诊断在前")]
    procedures: Annotated[Codes, msgspec.Meta(description="手术操作编码，主要手术在前")] = ()
    sex: Annotated[str, msgspec.Meta(max_length=6, description="1 男，2 女")] = ""
    age: Annotated[Years | None, msgspec.Meta(description="年龄（周岁），不足一岁为 0")] = None
    age_days: Annotated[Days | None, msgspec.Meta(description="不足一岁者的天数")] = None
    birth_weight: Annotated[Grams | None, msgspec.Meta(description="新生儿出生体重（克）")] = None
    length_of_stay: Annotated[Days | None, msgspec.Meta(description="实际住院天数")] = None
    discharge_way: Annotated[str, msgspec.Meta(max_length=6, description="离院方式代码")] = ""
    icu_hours: Annotated[Hours | None, msgspec.Meta(description="重症监护小时数")] = None
    department: Annotated[str, msgspec.Meta(max_length=30, description="出院科别代码")] = ""

    def case(self) -> Case:
        return Case(**msgspec.structs.asdict(self))


_decode_case = msgspec.json.Decoder(GroupRequest).decode
_decode_any = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_case(content: bytes) -> GroupRequest:
    """Raises ProblemError that names the field and what it may hold."""
    try:
        return _decode_case(content)
    except msgspec.ValidationError as error:
        raise field_problem(str(error), EXPECTED) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProblemError("invalid-json", "不是有效的 UTF-8 JSON 对象") from error


EXPECTED = {
    "diagnoses": f"编码文本的数组，最多 {MAX_CODES} 个",
    "procedures": f"编码文本的数组，最多 {MAX_CODES} 个",
    "sex": "文本：1 男，2 女",
    "age": " 0 到 150 的整数（周岁）",
    "age_days": "整数（天）",
    "birth_weight": "整数（克）",
    "length_of_stay": "整数（天）",
    "discharge_way": "离院方式代码的文本",
    "icu_hours": "数字（小时）",
    "department": "科别代码的文本",
}


def field_problem(text: str, expected: Mapping[str, str]) -> ProblemError:
    """What msgspec says of a body, in Chinese; ``expected`` is what each field may hold."""
    missing = re.search(r"missing required field `(\w+)`", text)
    unknown = re.search(r"unknown field `(.{0,60})", text, re.DOTALL)
    place = re.search(r"at `\$\.?([^`]*)`", text)
    if missing:
        fault = FieldFault(missing[1], "必须给出")
    elif unknown:
        fault = FieldFault(unknown[1].partition("`")[0], f"没有这个字段；可用的是 {'、'.join(expected)}")
    elif place:
        field = re.split(r"[.\[]", place[1])[0]
        fault = FieldFault(place[1], f"应为{expected.get(field, '正确的类型')}")
    else:
        fault = FieldFault("报文", "应为一个 JSON 对象，含 diagnoses 等字段，或为一份结算清单")
    return ProblemError("invalid-request", f"{fault.place}：{fault.reason}", [fault])


def is_list(content: bytes) -> bool:
    """Whether the body is a settlement list rather than a case."""
    try:
        names = _decode_any(content)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
    return "input" in names or not names.keys().isdisjoint(RECORDS)


@router.post(
    "/group",
    operation_id="group",
    summary="DRG 分组",
    response_class=Response,
    responses=ok("GroupResult", "DRG 编码、名称、分组原因，各诊断的 MCC/CC，编码的转换"),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                JSON: {
                    "schema": {
                        "oneOf": [
                            {"$ref": "#/components/schemas/GroupRequest"},
                            {"$ref": "#/components/schemas/SettlementList"},
                            {"$ref": "#/components/schemas/Envelope"},
                        ]
                    },
                    "examples": {
                        "case": {"summary": "一个病例", "value": EXAMPLE_CASE},
                        "list": {"summary": "一份结算清单", "value": EXAMPLE_LIST},
                    },
                }
            },
        }
    },
)
async def group(request: Request, checker: CheckerDep, region: Region = "", scheme: Scheme = "") -> Response:
    """接收一个病例的诊断、手术操作和基本情况，或一份结算清单，返回 DRG 分组结果和原因。

    不能入组时 `code` 为 `0000`，`explanation` 说明原因。
    """
    content = await json_body(request)
    if is_list(content):
        return answer(checker.group_list(read_list(content), region=region, scheme=scheme))
    return answer(checker.group(read_case(content).case(), region=region, scheme=scheme))
