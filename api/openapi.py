"""The OpenAPI document: the list's and the answers' schemas, with examples computed by the service itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.answers import JSON
from api.example import EXAMPLE_CASE, EXAMPLE_LIST
from api.problems import MEDIA_TYPE, Problem, problem
from api.routes.group import GroupRequest
from api.routes.health import Health
from api.routes.packs import PackEntry, pack_entry
from api.services.check import Checker
from api.services.codes import CodeEntry, find_code
from api.services.rules import RuleEntry, rule_entries
from api.state import Service
from coding.search import Hit
from models.grouping import GroupResult
from models.report import Report
from models.settlement_list import FIELDS, NODE_LABELS, RECORDS, Minutes, SettlementList, Weights
from models.wire import decode_payload

DESCRIPTION = """医疗保障基金结算清单的质控、DRG 分组和编码查询。

- 请求和答复都是 UTF-8 编码的 JSON，请求头 `Content-Type: application/json`；不接受压缩的报文。
- 出错时答复 `application/problem+json`（RFC 9457），`title` 和 `detail` 是中文。
- 服务不保存收到的清单，访问日志不含患者信息。
"""
TAGS = [
    {"name": "质控", "description": "检查结算清单"},
    {"name": "分组", "description": "DRG 分组"},
    {"name": "编码", "description": "医保版编码的查找"},
    {"name": "规则", "description": "质控规则目录"},
    {"name": "数据包", "description": "编码库、方案、权重表等数据"},
    {"name": "运行", "description": "运行状态"},
]


class Envelope(msgspec.Struct):
    """The list in the message of interface 4101 or 4101A."""

    input: SettlementList
    infno: str = "4101"


PROBLEM_ANSWER = {
    "description": "出错：RFC 9457 problem+json，`title` 和 `detail` 是中文",
    "content": {
        MEDIA_TYPE: {
            "schema": {"$ref": "#/components/schemas/Problem"},
            "example": msgspec.to_builtins(problem("not-found", "疾病诊断编码库中没有编码“X99.999”")),
        }
    },
}
ANSWERS = (Report, GroupResult, Hit, CodeEntry, RuleEntry, PackEntry, Health, Problem)


def _custom_types(kind: type) -> dict[str, Any]:
    if kind is Minutes:
        return {"type": "string", "description": "天/时/分，如 1/13/24"}
    if kind is Weights:
        return {"type": "string", "description": "克；多个新生儿用半角逗号分隔"}
    raise NotImplementedError(kind)


def components() -> dict[str, Any]:
    """The schemas of what comes in and goes out, by name."""
    _, schemas = msgspec.json.schema_components(
        (Envelope, GroupRequest, *ANSWERS),
        schema_hook=_custom_types,
        ref_template="#/components/schemas/{name}",
    )
    for node, record in RECORDS.items():
        schema = schemas[record.__name__]
        schema["title"] = schema["description"] = f"{NODE_LABELS[node]}（{node}）"
        for wire, info in FIELDS[node].items():
            schema["properties"][wire] = _plain(schema["properties"][wire]) | {"description": info.label}
    for name in ("SettlementList", *(record.__name__ for record in RECORDS.values())):
        # Unknown fields are kept and reported, not refused.
        schemas[name].pop("additionalProperties", None)
    nodes = schemas["SettlementList"]["properties"]
    for node, label in NODE_LABELS.items():
        nodes[node] = {"description": label, **_plain(nodes[node])}
    schemas["SettlementList"]["description"] = "医疗保障基金结算清单"
    # Any node makes a list; without one the message is something else.
    schemas["SettlementList"]["anyOf"] = [{"required": [node]} for node in RECORDS]
    schemas["Envelope"]["description"] = "接口 4101 或 4101A 的报文"
    return dict(schemas)


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A property without the things that only the decoder needs."""
    return {key: value for key, value in schema.items() if key not in ("default", "title")}


def _examples(checker: Checker) -> dict[str, Any]:
    """What the service really answers, by operation."""
    received = decode_payload(EXAMPLE_LIST)
    pack = checker.store.pack_for("icd10")
    rules = rule_entries(checker.rules)[:2]
    entry = find_code(checker.library, "icd10", "I10.x00x002")
    found = {
        "check": checker.check(received),
        "group": checker.group(GroupRequest(**EXAMPLE_CASE).case()),
        "get_code": entry,
        "list_rules": rules,
        "get_rule": checker.rules.rule(rules[0].code) if rules else None,
        "list_packs": [pack_entry(pack, checker.store)],
    }
    return {name: msgspec.to_builtins(value) for name, value in found.items() if value is not None}


def document(app: FastAPI, service: Service) -> dict[str, Any]:
    """The OpenAPI document of ``app``; examples of answers are there once the packs are loaded."""
    made = get_openapi(
        title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes, tags=TAGS
    )
    made.setdefault("components", {}).setdefault("schemas", {}).update(components())
    examples = _examples(service.checker) if service.checker else {}
    for operations in made["paths"].values():
        for operation in operations.values():
            example = examples.get(operation["operationId"])
            if example is not None:
                operation["responses"]["200"]["content"][JSON]["example"] = example
    return made
