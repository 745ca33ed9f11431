"""The names a rule may use, and how each is read from the facts of a list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from operator import attrgetter
from typing import Any

from models.grouping import GroupResult
from models.settlement_list import FIELDS, Interface
from qc_rules.facts import DERIVED, Facts, Setting
from qc_rules.reference import CodeFacts, Reference
from qc_rules.schema import Rule
from qc_rules.source import Location

Getter = Callable[[Facts, Any, int], Any]
"""A value from the facts, the row of the scope and its index (setlinfo and -1 for the whole list)."""
Condition = Callable[[Facts, Any, int], bool | None]

NODE_OF_SCOPE: Mapping[str, str] = {
    "list": "setlinfo",
    "discharge_diagnoses": "diseinfo",
    "western_diagnoses": "diseinfo",
    "principal_diagnosis": "diseinfo",
    "other_diagnoses": "diseinfo",
    "main_procedure": "oprninfo",
}
"""The node whose rows a scope walks, where it is not the scope itself."""

CODE_FACTS = tuple(f.name for f in fields(CodeFacts) if f.name not in ("leads", "placed"))
GROUP_FACTS: tuple[str, ...] = GroupResult.__struct_fields__
ROWS_WITH_CODES: Mapping[str, str] = {"diseinfo": "diagnosis_codes", "oprninfo": "procedure_codes"}


class CompileError(Exception):
    """A rule cannot be compiled: where in the file, and why (Chinese)."""

    def __init__(self, location: Location, reason: str) -> None:
        super().__init__(reason)
        self.location = tuple(location)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Term:
    """A name resolved: how to read it; for a field, node and wire name; ``constant`` for a parameter.

    ``path``: where it stands among the attributes of the facts, for what is one of the whole list.
    """

    name: str
    get: Getter
    source: str
    node: str = ""
    wire: str = ""
    constant: Any = None
    path: str = ""


@dataclass
class Compilation:
    """One rule being compiled: what names mean, and which terms were read."""

    rule: Rule
    reference: Reference
    settings: Mapping[str, Setting]
    node: str = ""
    reads: list[Term] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)
    """Value domains without official copy that were used."""

    def __post_init__(self) -> None:
        self.node = self.node or NODE_OF_SCOPE.get(self.rule.scope, self.rule.scope)

    def constant(self, value: object, location: Location) -> Any:
        """A literal, or the value that ``param.NAME`` or ``setting.NAME`` stands for."""
        if isinstance(value, str) and value.startswith(("param.", "setting.")):
            return self.term(value, location).constant
        return tuple(value) if isinstance(value, list) else value

    def term(self, name: object, location: Location) -> Term:
        """The meaning of a name. Raises CompileError."""
        if not isinstance(name, str):
            raise CompileError(location, f"应为字段或事实的名称，写的是 {name!r}")
        term = self._resolve(name, location)
        self.reads.append(term)
        return term

    def _resolve(self, name: str, location: Location) -> Term:
        kind, _, rest = name.partition(".")
        if not rest:
            return self._field(self.node, name, location)
        if kind == "setlinfo":
            return self._field("setlinfo", rest, location)
        if kind == "fact":
            _known(rest, DERIVED, location, "事实")
            return Term(name, _from_facts(attrgetter(rest)), "fact", path=rest)
        if kind == "code":
            _known(rest, CODE_FACTS, location, "编码属性")
            if self.node not in ROWS_WITH_CODES:
                raise CompileError(location, f"{self.node} 的行没有编码库属性，只有 diseinfo、oprninfo 有")
            return Term(name, _from_code(ROWS_WITH_CODES[self.node], rest), "code", self.node)
        if kind == "group":
            _known(rest, GROUP_FACTS, location, "分组结果")
            return Term(name, _from_group(rest), "group")
        if kind == "param":
            _known(rest, self.rule.parameters, location, "参数")
            value = self.rule.parameters[rest].value
            return Term(name, lambda _facts, _row, _index: value, "constant", constant=value)
        if kind == "setting":
            _known(rest, self.settings, location, "设置")
            setting = self.settings[rest]
            return Term(name, lambda _facts, _row, _index: setting, "constant", constant=setting)
        raise CompileError(
            location, f"“{name}”不是字段、事实（fact.）、编码（code.）、参数（param.）或设置（setting.）"
        )

    def _field(self, node: str, wire: str, location: Location) -> Term:
        _known(wire, FIELDS[node], location, f" {node} 的字段")
        attribute = FIELDS[node][wire].attribute
        if node == "setlinfo":
            path = f"stay.{attribute}"
            return Term(f"setlinfo.{wire}", _from_facts(attrgetter(path)), "field", node, wire, path=path)
        return Term(wire, _from_row(attrgetter(attribute)), "field", node, wire)

    def inside(self, node: str) -> Compilation:
        """The same compilation with bare names meaning the rows of another node."""
        return replace(self, node=node)


def _known(name: str, known: Any, location: Location, what: str) -> None:
    if name not in known:
        near = get_close_matches(name, list(known), n=3)
        hint = f"，是否指 {'、'.join(near)}" if near else ""
        raise CompileError(location, f"没有{what} {name}{hint}")


def _from_facts(read: Callable[[Facts], Any]) -> Getter:
    return lambda facts, _row, _index: read(facts)


def _from_row(read: Callable[[Any], Any]) -> Getter:
    return lambda _facts, row, _index: read(row)


def _from_code(codes: str, name: str) -> Getter:
    read_codes, read = attrgetter(codes), attrgetter(name)

    def get(facts: Facts, _row: Any, index: int) -> Any:
        found = read_codes(facts)
        code = found[index] if 0 <= index < len(found) else None
        return None if code is None else read(code)

    return get


def _from_group(name: str) -> Getter:
    return lambda facts, _row, _index: None if facts.group is None else getattr(facts.group, name)


def dropped_in(term: Term, interface: Interface) -> bool:
    """Whether the interface does not have the field at all."""
    return interface == "4101A" and bool(term.wire) and FIELDS[term.node][term.wire].only_4101
