"""``GET /api/v1/codes``: search the code books; ``/codes/{system}/{code}``: one code."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from api.answers import API_PREFIX, answer, ok
from api.problems import ProblemError
from api.services.codes import find_code
from api.state import CheckerDep, ServiceDep
from coding.library import MAX_CODE_LENGTH, System
from coding.search import MAXIMUM_LENGTH

router = APIRouter(prefix=f"{API_PREFIX}/codes", tags=["编码"])

SYSTEM_NAMES = {"icd10": "疾病诊断编码库", "icd9cm3": "手术操作编码库"}


# A plain function: the first search builds an index, which must not hold up the other requests.
@router.get(
    "",
    operation_id="search_codes",
    summary="查找编码",
    response_class=Response,
    responses=ok("Hit", "找到的编码，最贴切的在前；灰码在最后", many=True),
)
def search_codes(
    service: ServiceDep,
    q: Annotated[
        str,
        Query(
            min_length=1,
            max_length=MAXIMUM_LENGTH,
            description="编码开头、名称（词序不限）、别名或拼音首字母",
            examples=["gxy"],
        ),
    ],
    system: Annotated[
        System, Query(description="icd10 诊断，icd9cm3 手术操作", examples=["icd10"])
    ] = "icd10",
    limit: Annotated[int, Query(ge=1, le=100, description="最多返回的条数")] = 10,
) -> Response:
    """按编码、名称、别名或拼音首字母查找医保版编码。少于两个字符时没有结果。"""
    return answer(service.search().search(q, system, limit))


@router.get(
    "/{system}/{code}",
    operation_id="get_code",
    summary="一个编码",
    response_class=Response,
    responses=ok("CodeEntry", "名称、是否灰码、别名和上级"),
)
async def get_code(
    checker: CheckerDep,
    system: Annotated[System, Path(description="icd10 诊断，icd9cm3 手术操作", examples=["icd10"])],
    code: Annotated[
        str, Path(max_length=MAX_CODE_LENGTH, description="医保版编码", examples=["I10.x00x002"])
    ],
) -> Response:
    """医保版编码的名称、灰码标志、类别、别名和上级编码。"""
    found = find_code(checker.library, system, code)
    if found is None:
        raise ProblemError("not-found", f"{SYSTEM_NAMES[system]}中没有编码“{code}”")
    return answer(found)
