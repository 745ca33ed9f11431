"""``POST /api/v1/suggest`` and what belongs to it: advice on a list, accepted codings, category browsing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from api.answers import API_PREFIX, JSON, answer, json_body, ok
from api.problems import ProblemError
from api.routes.group import field_problem
from api.services.codes import Kind
from api.state import Service, ServiceDep
from coding.library import System
from coding.suggestion.context import Context
from coding.suggestion.split import MAXIMUM_TEXT

if TYPE_CHECKING:
    from api.services.suggestion import SuggestionService

router = APIRouter(prefix=API_PREFIX, tags=["编码"])

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAXIMUM_TEXT)]
ShortText = Annotated[str, msgspec.Meta(max_length=64)]
Codes = Annotated[tuple[ShortText, ...], msgspec.Meta(max_length=100)]
IDENTITY_NUMBER = re.compile(r"(?<!\d)\d{7,}")
"""Numbers as long as a telephone's, a record's or an identity card's stand in no diagnosis."""
Request_ = TypeVar("Request_", bound=msgspec.Struct)
Found = TypeVar("Found")


class StayContext(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of the stay; all of it may be left out. ``sex``: "1" or "2"; ``age`` in years."""

    sex: Literal["", "1", "2"] = ""
    age: Annotated[int, msgspec.Meta(ge=0, le=150)] | None = None
    department: ShortText = ""
    diagnoses: Codes = ()
    procedures: Codes = ()

    def context(self) -> Context:
        return Context(self.sex, self.age, self.department, self.diagnoses, self.procedures)


class SuggestRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text to suggest codes for."""

    text: Text
    kind: Kind = "diagnosis"
    context: StayContext = StayContext()
    limit: Annotated[int, msgspec.Meta(ge=1, le=20)] = 5


class AdviceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A list of diagnoses to advise on; ``text`` is what the doctor wrote, where it is known."""

    context: StayContext
    text: Annotated[str, msgspec.Meta(max_length=MAXIMUM_TEXT)] = ""


class AcceptRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a coder chose for a text. No patient identity."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    codes: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=64)], ...],
        msgspec.Meta(min_length=1, max_length=20),
    ]
    kind: Kind = "diagnosis"
    department: ShortText = ""
    by: ShortText = ""


EXPECTED = {
    "text": f"文本，1 到 {MAXIMUM_TEXT} 字（采纳时最多 500 字）",
    "kind": "文本：diagnosis 诊断，procedure 手术操作",
    "context": "对象：sex（1 男，2 女）、age（0 到 150 的整数）、department（文本）、diagnoses 和 procedures（编码文本的数组）",
    "limit": " 1 到 20 的整数",
    "codes": "编码文本的数组，1 到 20 个",
    "department": "文本，最多 64 字",
    "by": "文本，最多 64 字",
}
"""What each field of a request may hold."""


def _decoded(content: bytes, shape: type[Request_]) -> Request_:
    """Raises ProblemError that names the field and what it may hold."""
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.ValidationError as error:
        said = str(error)
        fields = {one: EXPECTED[one] for one in shape.__struct_fields__}
        if "unknown field" in said and "`$.context`" in said:
            fields = dict.fromkeys(StayContext.__struct_fields__, "")
        if " field `" not in said and "`$" not in said:
            raise ProblemError("invalid-request", f"报文应为 JSON 对象，可含 {'、'.join(fields)}") from error
        raise field_problem(said, fields) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProblemError("invalid-json", "不是有效的 UTF-8 JSON 对象") from error


async def _at_the_desk(service: Service, work: Callable[[SuggestionService], Found]) -> Found:
    """What ``work`` makes of the suggestion service, in a thread. Raises ProblemError."""

    def done() -> Found:
        desk = service.suggestion()
        # No sooner than the desk itself, which loads the same.
        from coding.suggestion.model import ModelError  # noqa: PLC0415 -- heavy

        try:
            return work(desk)
        except ModelError as error:
            raise ProblemError("not-ready", str(error)) from error

    return await run_in_threadpool(done)


def _body(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    examples = {"plain": {"summary": "虚构的例子", "value": example}}
    content = {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}, "examples": examples}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/suggest",
    operation_id="suggest",
    summary="从医师所写的文字推荐编码",
    response_class=Response,
    responses=ok("SuggestAnswer", "文中的每个诊断或手术、位置和候选编码"),
    openapi_extra=_body("SuggestRequest", {"text": "2型糖尿病肾病；高血压3级", "kind": "diagnosis"}),
)
async def suggest(request: Request, service: ServiceDep) -> Response:
    """把出院诊断或手术名称拆成各项，每项给出候选编码、把握（概率）、理由和提示；没有把握时直说。"""
    asked = _decoded(await json_body(request), SuggestRequest)
    context = asked.context.context()
    found = await _at_the_desk(
        service, lambda desk: desk.answer(asked.text, asked.kind, context, asked.limit)
    )
    return answer(found)


@router.post(
    "/suggest/advice",
    operation_id="advise_on_diagnoses",
    summary="主要诊断、合并编码、更具体的编码",
    response_class=Response,
    responses=ok("Advice", "可作主要诊断的次序及依据，合并编码，更具体的编码，缺少的剑号、星号编码"),
    openapi_extra=_body(
        "AdviceRequest", {"context": {"diagnoses": ["I10.x00x002", "K80.200x003"], "procedures": ["51.2300"]}}
    ),
)
async def advice(request: Request, service: ServiceDep) -> Response:
    """就已列出的诊断编码给出主要诊断的选择次序及所依的要求，并提示合并编码等。"""
    asked = _decoded(await json_body(request), AdviceRequest)
    context = asked.context.context()
    return answer(await _at_the_desk(service, lambda desk: desk.advise(context, asked.text)))


@router.post(
    "/suggest/accepted",
    operation_id="accept_coding",
    summary="记下编码员采纳的编码",
    response_class=Response,
    responses=ok("AcceptRequest", "已记下的编码"),
    openapi_extra=_body("AcceptRequest", {"text": "高血压病3级", "codes": ["I10.x05"], "kind": "diagnosis"}),
)
async def accept(request: Request, service: ServiceDep) -> Response:
    """记下编码员为一段文字采纳或改正的编码，下一次推荐即用。不要提交患者身份信息。"""
    asked = _decoded(await json_body(request), AcceptRequest)
    if IDENTITY_NUMBER.search(asked.text):
        raise ProblemError(
            "invalid-request",
            "原文中有证件、电话或病案号样的长数字；请只提交诊断或手术的文字，不带患者身份信息",
        )

    def work(desk: SuggestionService) -> None:
        try:
            desk.accept(asked.kind, asked.text, asked.codes, asked.department, asked.by)
        except ValueError as error:
            raise ProblemError("invalid-request", str(error)) from error

    await _at_the_desk(service, work)
    return answer(asked)


# A plain function: the first call builds an index, which must not hold up the other requests.
@router.get(
    "/browse",
    operation_id="browse_codes",
    summary="按章节、类目浏览编码",
    response_class=Response,
    responses=ok("Node", "下一级的各行", many=True),
)
def browse(
    service: ServiceDep,
    system: Annotated[System, Query(description="icd10 诊断，icd9cm3 手术操作")] = "icd10",
    parent: Annotated[
        str, Query(max_length=16, description="上一级的 key；不写则列各章", examples=["I10"])
    ] = "",
) -> Response:
    """从章到类目、亚目、细目、编码逐级浏览。"""
    return answer(service.search().browse(system, parent))
