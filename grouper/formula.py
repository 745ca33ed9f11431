"""The official formula language of DRG schemes: parse it, list its sets, evaluate it as a tree."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Protocol

DIAGNOSES = ("ZYZD", "QTZD")
PROCEDURES = ("ZYSS", "QTSS")
CODE_VARIABLES = DIAGNOSES + PROCEDURES
NUMBER_VARIABLES = ("NL", "XSRTL", "XSRTZ", "ZYTS", "ICUSC")
TEXT_VARIABLES = ("XB", "LYFS", "CYKB")
"""Variables that hold a code of the list: sex, discharge way, department."""
COMPLICATION_SETS = ("MCC", "CC")

VARIABLE_NAMES = {
    "ZYZD": "主要诊断",
    "QTZD": "其他诊断",
    "ZYSS": "主要手术操作",
    "QTSS": "其他手术操作",
    "NL": "年龄（岁）",
    "XSRTL": "年龄（天）",
    "XSRTZ": "出生体重（克）",
    "XB": "性别",
    "ZYTS": "住院天数",
    "LYFS": "离院方式",
    "ICUSC": "ICU 时长（小时）",
    "CYKB": "出院科别",
}

MAX_LENGTH = 100_000
"""Characters of one formula; the longest official one has about 3,000."""
MAX_DEPTH = 60
"""Nested brackets of one formula; the deepest official one has 2."""


class FormulaError(ValueError):
    """A formula cannot be read: ``position`` (0-based character) and ``message`` (Chinese)."""

    def __init__(self, message: str, position: int, text: str) -> None:
        near = text[max(0, position - 12) : position + 12].strip()
        super().__init__(
            f"公式第 {position + 1} 个字符处：{message}" + (f"（附近是“{near}”）" if near else "")
        )
        self.message = message
        self.position = position


@dataclass(frozen=True, slots=True)
class Always:
    """A bare ``1`` or an empty cell."""


@dataclass(frozen=True, slots=True)
class Membership:
    """``{variables} in {sets}``: any code of the variables stands in any of the sets.

    ``negated``: none of them does. MCC and CC count other diagnoses after exclusion only.
    """

    variables: tuple[str, ...]
    sets: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Count:
    """``length(SET ∩ {variables}) >= number``: how many different codes stand in any of the sets."""

    variables: tuple[str, ...]
    sets: tuple[str, ...]
    comparison: str
    number: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """``variable comparison number``; an unknown value satisfies no comparison."""

    variable: str
    comparison: str
    number: float


@dataclass(frozen=True, slots=True)
class OneOf:
    """``variable = value`` or ``variable in {values}`` for sex, discharge way and department.

    An unknown value satisfies neither the plain nor the negated form.
    """

    variable: str
    values: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Node, ...]


Node = Always | Membership | Count | Comparison | OneOf | And | Or

ALWAYS = Always()

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "!=": lambda left, right: left < right or left > right,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
"""On floats; an unknown number is NaN, which satisfies none of them."""

_SYNONYMS = {"==": "=", "≤": "<=", "≦": "<=", "≥": ">=", "≧": ">=", "<>": "!=", "≠": "!="}
_MIRRORED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord("，"): ord(","),
    ord("、"): ord(","),
    ord("\u3000"): ord(" "),
    ord("\u00a0"): ord(" "),
    ord("\ufeff"): ord(" "),
    ord("\u200b"): ord(" "),
    ord("“"): ord('"'),
    ord("”"): ord('"'),
    ord("‘"): ord("'"),
    ord("’"): ord("'"),
}
_CARRIAGE_RETURN = re.compile("_x000[dDaA9]_")
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>\d+(?:\.\d+)?(?![\w.]))
      | (?P<name>\w[\w.\-]*)
      | (?P<quoted>"[^"]*"|'[^']*')
      | (?P<comparison><=|>=|==|!=|<>|[=<>≤≥≦≧≠])
      | (?P<mark>[(){},∩])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int

    @property
    def word(self) -> str:
        """The lower-case keyword this token may be; empty for anything but a name."""
        return self.text.lower() if self.kind == "name" else ""


def parse(text: str) -> Node:
    """The tree of a formula. Raises FormulaError with the position and a Chinese message.

    Full-width characters, line breaks, repeated blanks and the ``_x000D_`` of workbook cells are
    read as what they stand for; keywords and variables are read in any case.
    """
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"公式超过 {MAX_LENGTH} 个字符，请检查单元格内容", 0, "")
    return _Parser(text).formula()


def set_names(node: Node) -> frozenset[str]:
    """The names of all sets that a formula uses, without MCC and CC."""
    return frozenset(
        name
        for leaf in leaves(node)
        if isinstance(leaf, Membership | Count)
        for name in leaf.sets
        if name not in COMPLICATION_SETS
    )


def variables(node: Node) -> frozenset[str]:
    """The variables that a formula tests."""
    found: set[str] = set()
    for leaf in leaves(node):
        if isinstance(leaf, Membership | Count):
            found.update(leaf.variables)
        elif isinstance(leaf, Comparison | OneOf):
            found.add(leaf.variable)
    return frozenset(found)


def leaves(node: Node) -> Iterator[Node]:
    """The conditions of a formula from left to right, without ``and`` and ``or``."""
    if isinstance(node, And | Or):
        for part in node.parts:
            yield from leaves(part)
    else:
        yield node


class _Parser:
    """Recursive descent over the tokens of one formula; ``or`` binds weaker than ``and``."""

    def __init__(self, text: str) -> None:
        # Every replacement keeps the length, so positions are those of the text as received.
        self.text = _CARRIAGE_RETURN.sub("       ", text).translate(_FULL_WIDTH)
        self.tokens = list(self._tokens())
        self.at = 0
        self.depth = 0

    def _tokens(self) -> Iterator[_Token]:
        position, end = 0, len(self.text.rstrip())
        while position < end:
            match = _TOKEN.match(self.text, position)
            if match is None:
                start = position + len(self.text[position:]) - len(self.text[position:].lstrip())
                raise FormulaError(f"不认识的字符 {self.text[start]!r}", start, self.text)
            kind = str(match.lastgroup)
            yield _Token(kind, match.group(kind), match.start(kind))
            position = match.end()
        yield _Token("end", "", end)

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def fail(self, message: str, token: _Token | None = None) -> FormulaError:
        return FormulaError(message, (token or self.token).position, self.text)

    def take(self) -> _Token:
        token = self.token
        if token.kind != "end":
            self.at += 1
        return token

    def accept(self, mark: str) -> bool:
        if self.token.kind in ("mark", "comparison") and self.token.text == mark:
            self.at += 1
            return True
        return False

    def expect(self, mark: str) -> None:
        if not self.accept(mark):
            found = f"却是“{self.token.text}”" if self.token.text else "公式却已结束"
            raise self.fail(f"这里应为“{mark}”，{found}")

    def formula(self) -> Node:
        if self.token.kind == "end":
            return ALWAYS
        node = self.disjunction()
        if self.token.kind != "end":
            raise self.fail(f"“{self.token.text}”多余，前面的条件已经完整；条件之间应写 and 或 or")
        return node

    def disjunction(self) -> Node:
        parts = [self.conjunction()]
        while self.token.word == "or":
            self.take()
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def conjunction(self) -> Node:
        parts = [self.condition()]
        while self.token.word == "and":
            self.take()
            parts.append(self.condition())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def condition(self) -> Node:
        token = self.token
        if self.accept("("):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise self.fail(f"括号嵌套超过 {MAX_DEPTH} 层", token)
            node = self.disjunction()
            self.expect(")")
            self.depth -= 1
            return node
        if token.kind == "number":
            return self.number_first()
        if token.word == "length":
            return self.count()
        if self.accept("{"):
            return self.membership(self.braced_variables())
        if token.kind == "name":
            return self.variable_first()
        raise self.fail("这里应为一个条件" if token.text else "公式在条件写完之前结束")

    def number_first(self) -> Node:
        token = self.take()
        if self.token.kind != "comparison":
            if float(token.text) == 1:
                return ALWAYS
            raise self.fail(f"单独的数字只能写 1（恒成立），不能写 {token.text}", token)
        sign = self.comparison_sign()
        name = self.take()
        return self.compare(self.variable(name), name, _MIRRORED[sign], token)

    def variable(self, token: _Token) -> str:
        name = token.text.upper()
        if token.kind != "name" or name not in VARIABLE_NAMES:
            raise self.fail(f"不认识的变量“{token.text}”，可用变量：{'、'.join(VARIABLE_NAMES)}", token)
        return name

    def variable_first(self) -> Node:
        token = self.take()
        variable = self.variable(token)
        if variable in CODE_VARIABLES and self.token.kind != "comparison":
            return self.membership((variable,))
        if self.token.word in ("in", "not"):
            if variable in NUMBER_VARIABLES:
                raise self.fail(f"{variable}（{VARIABLE_NAMES[variable]}）是数值，只能比较大小")
            negated = self.in_or_not_in()
            return OneOf(variable, tuple(self.braced(self.value)), negated)
        sign = self.comparison_sign()
        return self.compare(variable, token, sign, self.take())

    def comparison_sign(self) -> str:
        token = self.take()
        if token.kind != "comparison":
            raise self.fail("这里应为比较符号（=、<、<=、>、>=）或 in", token)
        return _SYNONYMS.get(token.text, token.text)

    def compare(self, variable: str, at: _Token, sign: str, value: _Token) -> Node:
        if variable in CODE_VARIABLES:
            raise self.fail(
                f"{variable}（{VARIABLE_NAMES[variable]}）只能与集合比较，应写 {variable} in 集合", at
            )
        if variable in TEXT_VARIABLES:
            if sign not in ("=", "!="):
                raise self.fail(f"{variable}（{VARIABLE_NAMES[variable]}）是代码，只能写 = 或 in", at)
            return OneOf(variable, (self.value_of(value),), sign == "!=")
        if value.kind != "number":
            raise self.fail(
                f"{variable}（{VARIABLE_NAMES[variable]}）要与数字比较，不能写“{value.text}”", value
            )
        return Comparison(variable, sign, float(value.text))

    def value(self) -> str:
        return self.value_of(self.take())

    def value_of(self, token: _Token) -> str:
        if token.kind not in ("number", "name", "quoted"):
            raise self.fail("这里应为一个值", token)
        return token.text.strip("\"'").strip()

    def braced_variables(self) -> tuple[str, ...]:
        found = []
        while True:
            token = self.take()
            variable = self.variable(token)
            if variable not in CODE_VARIABLES:
                raise self.fail(f"大括号里只能写诊断或手术操作变量，不能写 {variable}", token)
            found.append(variable)
            if not self.accept(","):
                self.expect("}")
                return tuple(dict.fromkeys(found))

    def in_or_not_in(self) -> bool:
        token = self.take()
        negated = token.word == "not"
        if negated:
            token = self.take()
        if token.word != "in":
            raise self.fail("这里应为 in 或 not in", token)
        return negated

    def braced(self, item: Callable[[], str]) -> Iterator[str]:
        if not self.accept("{"):
            yield item()
            return
        yield item()
        while self.accept(","):
            yield item()
        self.expect("}")

    def set_name(self) -> str:
        token = self.take()
        name = token.text
        if token.kind != "name" or token.word in ("and", "or", "not", "in", "length"):
            raise self.fail("这里应为集合名称", token)
        if name.upper() in VARIABLE_NAMES:
            raise self.fail(f"{name} 是变量，这里应为集合名称", token)
        return name.upper() if name.upper() in COMPLICATION_SETS else name

    def membership(self, of: tuple[str, ...]) -> Membership:
        negated = self.in_or_not_in()
        return Membership(of, tuple(dict.fromkeys(self.braced(self.set_name))), negated)

    def count(self) -> Count:
        self.take()
        self.expect("(")
        sets: tuple[str, ...] = ()
        of: tuple[str, ...] = ()
        for side in range(2):
            if self.names_a_variable():
                of += self.braced_variables() if self.accept("{") else (self.variable(self.take()),)
            else:
                sets += tuple(self.braced(self.set_name))
            if side == 0:
                self.expect("∩")
        if not sets or not of:
            raise self.fail("length 的两边应是一个集合和一组变量，如 length(OP_A ∩ {ZYSS, QTSS})")
        self.expect(")")
        sign = self.comparison_sign()
        number = self.take()
        if number.kind != "number":
            raise self.fail("length(…) 要与数字比较", number)
        if set(sets) & set(COMPLICATION_SETS):
            raise self.fail("length 里不能写 MCC 或 CC")
        return Count(of, sets, sign, float(number.text))

    def names_a_variable(self) -> bool:
        at = self.at + (self.token.text == "{")
        return self.tokens[min(at, len(self.tokens) - 1)].text.upper() in CODE_VARIABLES


class Facts(Protocol):
    """What a formula looks at in a prepared case; an unknown number is NaN, unknown text is empty."""

    def number(self, variable: str) -> float:
        """The value of a variable of NUMBER_VARIABLES."""

    def text(self, variable: str) -> str:
        """The value of a variable of TEXT_VARIABLES."""

    def codes(self, variable: str) -> tuple[str, ...]:
        """The codes of a variable of CODE_VARIABLES, each once."""

    def complication_codes(self, level: str) -> tuple[str, ...]:
        """The other diagnoses that count as ``level`` (MCC or CC), after exclusion."""


Sets = Callable[[str], Set[str]]
"""The codes of a set, by its name."""


def matching(leaf: Membership | Count, facts: Facts, sets: Sets) -> tuple[str, ...]:
    """The different codes of the case that stand in the sets of a condition, in the case's order."""
    found: dict[str, None] = {}
    for name in leaf.sets:
        if name in COMPLICATION_SETS:
            if "QTZD" in leaf.variables:
                found.update(dict.fromkeys(facts.complication_codes(name)))
            continue
        members = sets(name)
        for variable in leaf.variables:
            found.update((code, None) for code in facts.codes(variable) if code in members)
    return tuple(found)


def text_matches(value: str, wanted: Set[str], negated: bool) -> bool:
    """Whether a code of the list equals one of ``wanted``, all written ``plain``."""
    return bool(value) and (plain(value) in wanted) is not negated


def plain(value: str) -> str:
    """A numeric code without leading zeros; other text in upper case."""
    return (value.lstrip("0") or "0") if value.isdecimal() else value.upper()


def evaluate(node: Node, facts: Facts, sets: Sets) -> bool:
    """Whether a formula holds, by walking its tree."""
    match node:
        case Always():
            return True
        case Membership(negated=negated):
            return bool(matching(node, facts, sets)) is not negated
        case Count(comparison=sign, number=number):
            return COMPARISONS[sign](len(matching(node, facts, sets)), number)
        case Comparison(variable=variable, comparison=sign, number=number):
            return COMPARISONS[sign](facts.number(variable), number)
        case OneOf(variable=variable, values=values, negated=negated):
            return text_matches(facts.text(variable), frozenset(map(plain, values)), negated)
        case And(parts=parts):
            return all(evaluate(part, facts, sets) for part in parts)
        case Or(parts=parts):
            return any(evaluate(part, facts, sets) for part in parts)
