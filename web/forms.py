"""The settlement list as the page shows it: from JSON or a submitted form to fields with findings, and back."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, cast
from urllib.parse import parse_qsl

from api.repeats import decode_unrepeated
from api.spreadsheet import read_workbook
from models.report import SEVERITY_LABELS, Finding, Report, Severity
from models.settlement_list import BACKING_NODES, FIELDS, NODE_LABELS, Info, Interface
from models.wire import DecodeError, Received, decode_payload, encode
from web.domains import Domain, Domains
from web.layout import DOMAIN_OF, LOOKUPS, SECOND_LINE, SECTIONS, WIDE, Section

MAX_ROWS = 500
"""Rows of one node that a page can show; longer lists belong to the batch check."""
MAX_INPUTS = 60_000
MAX_NOTICES = 20
EXTRA = "_extra"
ENVELOPE = "_envelope"
INTERFACE = "_interface"
"""Hidden inputs: what the form has no field for, the message around the list, and the interface."""

_NAME = re.compile(r"(?:(\w{1,20})(?:\[(\d{1,5})\])?\.)?(\w{1,60})", re.ASCII)
_PLACE = re.compile(r"(\w{1,20})(?:\[(\d{1,5})\])?(?:\.(\w{1,60}))?", re.ASCII)
_POSITIONS: Mapping[str, int] = {
    name: number
    for number, name in enumerate(
        name for part in SECTIONS for block in part.blocks for name in (*block.fields, block.node) if name
    )
}
SHOWN_NODES = FIELDS.keys() - BACKING_NODES
"""The nodes of the form; charge lines and evidence of a pasted list are carried along unseen."""
_ORDER: Mapping[Severity, int] = {severity: rank for rank, severity in enumerate(SEVERITY_LABELS)}
NUMBER_KINDS = ("number", "amount", "count")


class FormError(ValueError):
    """What was sent cannot be shown as one list; the message (Chinese) says why and what to do."""


@dataclass(frozen=True, slots=True)
class Form:
    """One list under official names: ``payload`` is node → values, ``envelope`` the message around it.

    ``notices`` say in Chinese what could not be taken over.
    """

    interface: Interface = "4101"
    payload: Mapping[str, Any] = field(default_factory=dict)
    envelope: Mapping[str, Any] | None = None
    notices: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing at all has been filled in."""
        return not any(self.payload.values())

    @property
    def message(self) -> dict[str, Any]:
        """The list in the interface's envelope, as the check takes it."""
        return {"infno": self.interface, "input": self.payload}


def open_list(content: bytes) -> Form:
    """Read one list from the bytes of a file or of pasted text. Raises FormError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = content.decode("gb18030")
        except UnicodeDecodeError as error:
            raise FormError("无法识别文件编码：请用 UTF-8 或 GB18030 编码的 JSON 文件") from error
    if not text.strip():
        raise FormError("内容为空：请粘贴或选择一份结算清单的 JSON")
    try:
        received = decode_unrepeated(text.encode("utf-8", "surrogatepass"))
        return _form(received, _envelope(text) if received.prefix else None)
    except (DecodeError, UnicodeError) as error:
        if _is_many(text):
            raise FormError("一次只能打开一份清单，这里有多份；成批检查请用 qingdan check 文件") from error
        raise FormError(f"无法读取清单：{error}") from error


def _is_many(text: str) -> bool:
    """Whether text that is no list holds several: one a line, or in an array."""
    try:
        first, end = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return False
    if isinstance(first, list):
        return len(first) > 1 and all(isinstance(one, dict) for one in first)
    return isinstance(first, dict) and text.lstrip()[end:].lstrip().startswith("{")


def open_workbook(content: bytes, limit: int) -> Form:
    """Read the first list of a filled-in template; ``limit`` is its unpacked size in bytes. Raises FormError."""
    try:
        rows = list(read_workbook(io.BytesIO(content), limit))
    except DecodeError as error:
        raise FormError(f"无法读取工作簿：{error}") from error
    faults = [f"“基本信息”等工作表第 {row} 行：{error}" for row, _, error in rows if error]
    found = [(row, received) for row, received, _ in rows if received is not None]
    if not found:
        raise FormError(
            f"工作簿中没有清单{'；' + '；'.join(faults[:3]) if faults else '：请先填写“基本信息”'}"
        )
    row, received = found[0]
    form = _form(received)
    if len(found) > 1:
        others = f"工作簿中有 {len(found)} 份清单，已打开第 {row} 行的一份；全部检查请用 qingdan check"
        form = replace(form, notices=(others, *form.notices))
    return replace(form, notices=(*form.notices, *faults[:MAX_NOTICES]))


def _form(received: Received, envelope: Mapping[str, Any] | None = None) -> Form:
    """A list as the page shows it. Raises FormError when it is too long for a page."""
    payload = encode(received, with_evidence=True)
    for node, rows in payload.items():
        if node in SHOWN_NODES and isinstance(rows, list) and len(rows) > MAX_ROWS:
            raise FormError(
                f"{NODE_LABELS[node]}有 {len(rows)} 行，页面最多显示 {MAX_ROWS} 行；请改用 qingdan check 检查文件"
            )
    lost = tuple(
        f"{defect.label}（{defect.path}）{defect.reason}，"
        f"{'未能载入' if '[' in defect.path else '不能显示，原样保留'}：{defect.shown}"
        for defect in received.defects
        if defect.kind == "node" and not defect.usable
    )
    return Form(received.interface, payload, envelope, lost)


def _envelope(text: str) -> dict[str, Any]:
    outer = json.loads(text)
    return {name: value for name, value in outer.items() if name != "input"}


def read_form(body: str) -> Form:
    """Read the submitted form (``application/x-www-form-urlencoded``). Raises FormError."""
    try:
        pairs = parse_qsl(body, keep_blank_values=False, max_num_fields=MAX_INPUTS, errors="strict")
    except ValueError as error:
        raise FormError("表单内容无法读取：请刷新页面后重试") from error
    interface: Interface = "4101"
    envelope: Mapping[str, Any] | None = None
    payload: dict[str, Any] = {}
    rows: dict[str, dict[int, dict[str, Any]]] = {}
    unread: dict[str, Any] = {}
    for name, value in pairs:
        found = _NAME.fullmatch(name)
        if not found:
            continue
        node, index, wire = found.groups()
        if node is None:
            if wire == INTERFACE and value in ("4101", "4101A"):
                interface = cast(Interface, value)
            elif wire == ENVELOPE:
                envelope = _object(value)
            elif wire == EXTRA:
                beside = _object(value)
                payload.update((key, kept) for key, kept in beside.items() if key not in SHOWN_NODES)
                unread = {key: kept for key, kept in beside.items() if _is_unread(key, kept)}
            continue
        fields = FIELDS.get(node)
        if (
            fields is None
            or node in BACKING_NODES
            or (wire != EXTRA and wire not in fields)
            or (index is None) != (node == "setlinfo")
        ):
            continue
        record = (
            payload.setdefault(node, {})
            if index is None
            else rows.setdefault(node, {}).setdefault(int(index), {})
        )
        if wire == EXTRA:
            record.update((key, kept) for key, kept in _object(value).items() if key not in fields)
        elif value.strip():
            record[wire] = value
    if not payload.get("setlinfo"):
        payload.pop("setlinfo", None)
    for node, numbered in rows.items():
        kept = [numbered[index] for index in sorted(numbered) if numbered[index]]
        if len(kept) > MAX_ROWS:
            raise FormError(f"{NODE_LABELS[node]}超过 {MAX_ROWS} 行：请改用 qingdan check 检查文件")
        if kept:
            payload[node] = kept
    # What the user has filled in stands in place of a node that could not be shown.
    return Form(interface, {**unread, **payload}, envelope)


def _is_unread(node: str, value: object) -> bool:
    """Whether a node of the list is of a shape that the page cannot show."""
    return node in SHOWN_NODES and bool(value) and not isinstance(value, dict if node == "setlinfo" else list)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def export(form: Form) -> bytes:
    """The list as indented JSON under official names, in the envelope it came in. Raises FormError."""
    if form.empty:
        raise FormError("还没有填写内容，没有可导出的清单")
    received = decode_payload(form.message)
    written: dict[str, Any] = encode(received, with_evidence=True)
    if form.envelope is not None:
        written = {**form.envelope, "infno": form.interface, "input": written}
    return json.dumps(written, ensure_ascii=False, indent=2).encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class FieldView:
    """One input: its ``path`` is its name and its id, ``domain`` what it is chosen from."""

    info: Info
    path: str
    value: str = ""
    domain: Domain | None = None
    findings: tuple[Finding, ...] = ()
    row: str = ""
    """What a screen reader says before the label, for a field of a row."""

    @property
    def wide(self) -> bool:
        return self.info.wire in WIDE

    @property
    def numeric(self) -> bool:
        return self.info.kind in NUMBER_KINDS

    @property
    def lookup(self) -> str:
        """``icd10:code`` or the like when the field is filled from a code table."""
        for pair in LOOKUPS.get(self.info.node, ()):
            if self.info.wire in (pair.code, pair.name):
                return f"{pair.system}:{'code' if self.info.wire == pair.code else 'name'}"
        return ""

    @property
    def partner(self) -> str:
        """The wire name of the other half of a code and name pair."""
        for pair in LOOKUPS.get(self.info.node, ()):
            if self.info.wire in (pair.code, pair.name):
                return pair.name if self.info.wire == pair.code else pair.code
        return ""

    @property
    def said(self) -> str:
        """The Chinese name of the value, where the input shows only the code."""
        return self.domain.name(self.value) if self.domain and not self.domain.menu else ""

    @property
    def severity(self) -> str:
        return worst(self.findings)


@dataclass(frozen=True, slots=True)
class RowView:
    """One row of a table: the fields of its table line and of its second line."""

    path: str
    number: int
    cells: tuple[FieldView, ...]
    more: tuple[FieldView, ...]
    extra: str = ""
    findings: tuple[Finding, ...] = ()
    """Findings of the row and of every cell."""


@dataclass(frozen=True, slots=True)
class BlockView:
    """A titled group of fields, or a table: ``blank`` is the row that the page copies."""

    title: str
    foot: str
    fields: tuple[FieldView, ...] = ()
    node: str = ""
    label: str = ""
    columns: tuple[Info, ...] = ()
    rows: tuple[RowView, ...] = ()
    blank: RowView | None = None
    findings: tuple[Finding, ...] = ()
    only_4101: bool = False
    """Nothing here belongs to interface 4101A, and nothing is filled in."""


@dataclass(frozen=True, slots=True)
class SectionView:
    section: Section
    blocks: tuple[BlockView, ...]
    findings: int = 0
    severity: str = ""


@dataclass(frozen=True)
class Page:
    """Everything that the template of the form needs."""

    form: Form
    domains: Domains
    report: Report | None = None

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Errors first, then from the top of the page to the bottom."""
        if self.report is None:
            return ()
        return tuple(
            sorted(self.report.findings, key=lambda finding: (_ORDER[finding.severity], _place(finding.path)))
        )

    @cached_property
    def by_path(self) -> dict[str, tuple[Finding, ...]]:
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(target(finding.path), []).append(finding)
        return {path: tuple(group) for path, group in found.items()}

    @property
    def extra(self) -> str:
        """What the list has beside the nodes that are shown, as JSON; empty for nothing."""
        payload = self.form.payload
        shown = {node: None for node in SHOWN_NODES if not _is_unread(node, payload.get(node))}
        return _extra(payload, shown)

    @property
    def stay_extra(self) -> str:
        return _extra(self.form.payload.get("setlinfo"), FIELDS["setlinfo"])

    @property
    def envelope(self) -> str:
        return "" if self.form.envelope is None else json.dumps(self.form.envelope, ensure_ascii=False)

    @property
    def unplaced(self) -> tuple[str, ...]:
        """Names of fields that the interfaces do not have."""
        stay = self.form.payload.get("setlinfo")
        names = [name for name in self.form.payload if name not in FIELDS]
        if isinstance(stay, Mapping):
            names += [f"setlinfo.{name}" for name in stay if name not in FIELDS["setlinfo"]]
        for node, fields in FIELDS.items():
            rows = self.form.payload.get(node)
            if isinstance(rows, list):
                names += [
                    f"{node}[{index}].{name}"
                    for index, row in enumerate(rows)
                    for name in (row if isinstance(row, Mapping) else ())
                    if name not in fields
                ]
        return tuple(names)

    @cached_property
    def sections(self) -> tuple[SectionView, ...]:
        return tuple(self._section(section) for section in SECTIONS)

    def _section(self, section: Section) -> SectionView:
        blocks = []
        for block in section.blocks:
            if block.node:
                blocks.append(self._table(block.node, block.title, block.foot))
            else:
                stay = self.form.payload.get("setlinfo")
                fields = tuple(self._field("setlinfo", "setlinfo", wire, stay) for wire in block.fields)
                only = all(view.info.only_4101 and not view.value for view in fields)
                blocks.append(BlockView(block.title, block.foot, fields, only_4101=only))
        found = [
            finding
            for block in blocks
            for group in (
                block.findings,
                *(view.findings for view in block.fields),
                *(row.findings for row in block.rows),
            )
            for finding in group
        ]
        return SectionView(section, tuple(blocks), len(found), worst(found))

    def _table(self, node: str, title: str, foot: str) -> BlockView:
        second = SECOND_LINE.get(node, ())
        columns = tuple(info for wire, info in FIELDS[node].items() if wire not in second)
        received = self.form.payload.get(node) or ()
        if _is_unread(node, received):
            received = ()
        rows = [self._row(node, index, row) for index, row in enumerate(received)]
        blank = self._row(node, len(rows), {})
        only = not received and all(info.only_4101 for info in columns)
        return BlockView(
            title,
            foot,
            node=node,
            label=NODE_LABELS[node],
            columns=columns,
            rows=(*rows, blank),
            blank=blank,
            findings=self.by_path.get(node, ()),
            only_4101=only,
        )

    def _row(self, node: str, index: int, values: Mapping[str, Any]) -> RowView:
        place = f"{node}[{index}]"
        spoken = f"{NODE_LABELS[node]}第 {index + 1} 行 "
        second = SECOND_LINE.get(node, ())
        cells = tuple(
            self._field(node, place, wire, values, spoken) for wire in FIELDS[node] if wire not in second
        )
        more = tuple(self._field(node, place, wire, values, spoken) for wire in second)
        own = self.by_path.get(place, ())
        found = (*own, *(finding for view in (*cells, *more) for finding in view.findings))
        return RowView(place, index + 1, cells, more, _extra(values, FIELDS[node]), found)

    def _field(self, node: str, place: str, wire: str, values: object, row: str = "") -> FieldView:
        path = f"{place}.{wire}"
        key = DOMAIN_OF.get(wire)
        return FieldView(
            FIELDS[node][wire],
            path,
            _text(values.get(wire)) if isinstance(values, Mapping) else "",
            self.domains.get(key, self.form.interface) if key else None,
            self.by_path.get(path, ()),
            row,
        )


def target(path: str) -> str:
    """The id of the element on the page for the place of a finding."""
    return path.removeprefix("input.")


def _place(path: str) -> tuple[int, int, int]:
    """Sorts places of findings as they stand on the page; what has no place goes last."""
    found = _PLACE.fullmatch(target(path))
    node, index, wire = found.groups(default="") if found else ("", "", "")
    if node == "setlinfo" or node not in SHOWN_NODES:
        return _POSITIONS.get(wire, len(_POSITIONS)), 0, 0
    first_line = [name for name in FIELDS[node] if name not in SECOND_LINE.get(node, ())]
    columns = ["", *first_line, *SECOND_LINE.get(node, ())]
    return _POSITIONS[node], int(index or 0), columns.index(wire) if wire in columns else len(columns)


def worst(findings: Iterable[Finding]) -> Severity | Literal[""]:
    """The gravest severity among findings; empty for none."""
    found = {finding.severity for finding in findings}
    return next((severity for severity in SEVERITY_LABELS if severity in found), "")


def _extra(values: object, fields: Container[str]) -> str:
    if not isinstance(values, Mapping):
        return ""
    kept = {name: value for name, value in values.items() if name not in fields}
    return json.dumps(kept, ensure_ascii=False) if kept else ""


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
