"""Reads the YAML files of a rule pack; an error names file, line and key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from models.pack import PackError
from models.system_errors import reason_of as system_reason

MAX_FILE_BYTES = 256 * 1024
Location = Sequence[str | int]
Model = TypeVar("Model", bound=BaseModel)


class RuleError(PackError):
    """A rule file cannot be used; every fault names file, line and key, in Chinese."""


class _Loader(yaml.CSafeLoader):
    """Safe YAML that refuses a key written twice instead of silently taking the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"“{key.value}”写了两次", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> tuple[dict[str, Any], str]:
    """The mapping in a YAML file and the file's text. Raises RuleError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise RuleError(f"{path}：文件超过 {MAX_FILE_BYTES} 字节，不是规则文件")
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise RuleError(f"{path}：不是 UTF-8 编码") from error
    except OSError as error:
        raise RuleError(f"{path}：无法读取（{system_reason(error)}）") from error
    try:
        if "&" in text and any(
            isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.CSafeLoader)
        ):
            raise RuleError(f"{path}：不使用 YAML 引用（& 和 *），请写全内容")
        content = yaml.load(text, _Loader)  # noqa: S506 -- a subclass of CSafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"第 {mark.line + 1} 行：" if mark else ""
        raise RuleError(f"{path}：{place}不是有效的 YAML（{getattr(error, 'problem', error)}）") from error
    except (RecursionError, ValueError) as error:
        raise RuleError(f"{path}：不是有效的 YAML（{error}）") from error
    if not isinstance(content, dict):
        raise RuleError(f"{path}：应为一组“键: 值”")
    return content, text


def parse(model: type[Model], content: object, path: Path, text: str, under: Location = ()) -> Model:
    """``content`` as a ``model``; ``under`` is where it stands in the file. Raises RuleError."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise RuleError(
            *(fault(path, text, [*under, *found["loc"]], reason_of(found)) for found in error.errors())
        ) from error


_REASONS: Mapping[str, str] = {
    "missing": "缺少这一项",
    "extra_forbidden": "没有这个键，请检查拼写",
    "string_type": "应为文本，代码和数字请加引号",
    "string_too_short": "不能为空",
    "string_too_long": "不能超过 {max_length} 个字符",
    "string_pattern_mismatch": "“{input}”的写法不符合要求（{pattern}）",
    "int_type": "应为整数",
    "int_parsing": "应为整数",
    "float_type": "应为数字",
    "bool_type": "应为 true 或 false",
    "date_type": "应为日期，如 2026-01-01",
    "date_parsing": "应为日期，如 2026-01-01",
    "date_from_datetime_parsing": "应为日期，如 2026-01-01",
    "date_from_datetime_inexact": "应为日期，不带时刻",
    "greater_than_equal": "不能小于 {ge}",
    "less_than_equal": "不能大于 {le}",
    "too_short": "至少要有 {min_length} 项",
    "model_type": "应为一组“键: 值”",
    "dict_type": "应为一组“键: 值”",
    "mapping_type": "应为一组“键: 值”",
    "tuple_type": "应为一列",
}


def reason_of(found: Any) -> str:
    """What pydantic found wrong, in Chinese."""
    known = _REASONS.get(found["type"])
    if known:
        return known.format_map({**found.get("ctx", {}), "input": str(found["input"])[:60]})
    if found["type"] == "literal_error":
        hint = "（off 要加引号）" if found["input"] is False else ""
        expected = found["ctx"]["expected"].replace(" or ", "、").replace(", ", "、")
        return f"“{found['input']}”不在可选值中：{expected}{hint}"
    if found["type"] == "value_error":
        return str(found["ctx"]["error"])
    return f"不符合要求（{found['msg']}）"


def fault(path: Path, text: str, location: Location, reason: str) -> str:
    """One fault as a person reads it: ``file 第 n 行 key：reason``."""
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    return f"{path} 第 {line_of(text, location)} 行{' ' if key else ''}{key}：{reason}"


def line_of(text: str, location: Location) -> int:
    """The line of a key, or of the nearest one above it that the file has."""
    node = yaml.compose(text, yaml.CSafeLoader)
    line = 0
    for part in location:
        child = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, child = key.start_mark.line, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            child = node.value[part]
            line = child.start_mark.line
        if child is None:
            break
        node = child
    return line + 1
