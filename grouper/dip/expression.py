"""Procedure expressions of DIP catalogues: ``|`` any of, ``+`` all of, brackets."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property

from coding.library import normalize_code

MAX_LENGTH = 30_000
"""Characters of one cell; Excel itself holds no more than 32,767."""
MAX_DEPTH = 20

Tree = str | tuple[str, tuple["Tree", ...]]
"""A code, or ``("|" or "+", parts)``."""

_SIGNS = str.maketrans(
    {
        "｜": "|",
        "／": "|",
        "/": "|",
        "、": "|",
        ";": "|",
        "；": "|",
        "＋": "+",
        "&": "+",
        "（": "(",
        "）": ")",
    }
    | {"，": "|", ",": "|", "\n": "|", "\r": " ", "∣": "|", "│": "|"}
)
_TOKEN = re.compile(r"\s*(?:(?P<code>[0-9A-Za-z][0-9A-Za-z.]{1,29})|(?P<sign>[|+()]))")
_SPREADSHEET_RETURN = re.compile("_x000[dD]_")
_REPEATED_OR = re.compile(r"\|(?:\s*\|)+")
_ONLY_BLANKS = re.compile(r"(?<=[0-9A-Za-z.])\s+(?=[0-9A-Za-z])")


class ExpressionError(ValueError):
    """A procedure expression cannot be read; the message is Chinese."""


@dataclass(frozen=True)
class Expression:
    """Which procedures are asked for: ``codes`` are all that it names, ``text`` how it is written."""

    text: str
    tree: Tree

    @cached_property
    def codes(self) -> frozenset[str]:
        return frozenset(_codes(self.tree))

    @cached_property
    def alternatives(self) -> frozenset[str]:
        """The codes of a plain list (``a|b|c``); empty for an expression with ``+``."""
        if isinstance(self.tree, str):
            return frozenset((self.tree,))
        sign, parts = self.tree
        plain = [part for part in parts if isinstance(part, str)]
        return frozenset(plain) if sign == "|" and len(plain) == len(parts) else frozenset()

    def matched(self, procedures: Set[str]) -> frozenset[str]:
        """The procedures that satisfy the expression; empty when they do not."""
        return self.alternatives & procedures if self.alternatives else _matched(self.tree, procedures)


def parse(text: str) -> Expression | None:
    """The expression in a cell, None for an empty one. Raises ExpressionError.

    ``/``, ``、``, commas, semicolons, blanks and line breaks separate like ``|``; full-width signs are read as
    half-width ones. ``+`` binds stronger than ``|``.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"超过 {MAX_LENGTH} 个字符")
    plain = _SPREADSHEET_RETURN.sub(" ", text).translate(_SIGNS)
    plain = _REPEATED_OR.sub("|", _ONLY_BLANKS.sub("|", plain))
    tokens = _tokens(plain.strip(" \t|"))
    if not tokens:
        return None
    tree, rest = _any(tokens, 0, 0)
    if rest != len(tokens):
        raise ExpressionError(f"“{tokens[rest]}”多余，编码之间应写 | 或 +")
    return Expression(_written(tree), tree)


def of_codes(codes: list[str]) -> Expression | None:
    """A plain list of alternatives."""
    return parse("|".join(codes))


def _tokens(text: str) -> list[str]:
    found, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"不认识的内容“{text[position : position + 12].strip()}”")
        found.append(normalize_code(match["code"]) if match["code"] else match["sign"])
        position = match.end()
    return found


def _any(tokens: list[str], at: int, depth: int) -> tuple[Tree, int]:
    if depth > MAX_DEPTH:
        raise ExpressionError(f"括号嵌套超过 {MAX_DEPTH} 层")
    parts: list[Tree] = []
    while True:
        part, at = _all(tokens, at, depth)
        parts.append(part)
        if at == len(tokens) or tokens[at] != "|":
            return _joined("|", parts), at
        at += 1


def _all(tokens: list[str], at: int, depth: int) -> tuple[Tree, int]:
    parts: list[Tree] = []
    while True:
        part, at = _one(tokens, at, depth)
        parts.append(part)
        if at == len(tokens) or tokens[at] != "+":
            return _joined("+", parts), at
        at += 1


def _one(tokens: list[str], at: int, depth: int) -> tuple[Tree, int]:
    if at == len(tokens):
        raise ExpressionError("表达式没有写完")
    if tokens[at] != "(":
        if tokens[at] in "|+)":
            raise ExpressionError(f"“{tokens[at]}”前面缺少编码")
        return tokens[at], at + 1
    tree, at = _any(tokens, at + 1, depth + 1)
    if at == len(tokens) or tokens[at] != ")":
        raise ExpressionError("缺少右括号")
    return tree, at + 1


def _joined(sign: str, parts: list[Tree]) -> Tree:
    distinct = tuple(dict.fromkeys(parts))
    return distinct[0] if len(distinct) == 1 else (sign, distinct)


def _codes(tree: Tree) -> list[str]:
    return [tree] if isinstance(tree, str) else [code for part in tree[1] for code in _codes(part)]


def _matched(tree: Tree, procedures: Set[str]) -> frozenset[str]:
    if isinstance(tree, str):
        return frozenset((tree,)) if tree in procedures else frozenset()
    sign, parts = tree
    found = [_matched(part, procedures) for part in parts]
    if sign == "+" and not all(found):
        return frozenset()
    return frozenset().union(*found)


def _written(tree: Tree, inside: str = "") -> str:
    if isinstance(tree, str):
        return tree
    sign, parts = tree
    text = sign.join(_written(part, sign) for part in parts)
    return f"({text})" if inside == "+" and sign == "|" else text
