"""Reads a settlement list from the JSON that a hospital sends, and writes the official form.

A clean list is decoded in one step. Anything else is read field by field, so that a wrong value
becomes a defect of its field and the rest of the list is still checked.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, cast

import msgspec

from models.settlement_list import (
    BACKING_NODES,
    FIELDS,
    MAX_COUNT,
    MAX_YUAN,
    NODE_ATTRIBUTES,
    NODE_LABELS,
    NODES_ONLY_4101,
    RECORDS,
    Info,
    Interface,
    Minutes,
    SettlementList,
    Weights,
)

MAX_ROWS = 10_000
"""Rows of one node beyond this are reported and left out: no stay has that many."""
MAX_BACKING_ROWS = 50_000
"""The same for charge lines and evidence: a year in intensive care has some 30,000 lines."""
SHOWN = 60
"""Characters of a wrong value that a defect repeats."""

SPELLINGS: Mapping[str, Mapping[str, str]] = {
    "setlinfo": {
        "nwbbirwt": "nwb_bir_wt",
        "nwbadmwt": "nwb_adm_wt",
        "nwb_admtype": "nwb_adm_type",
        "nwbadmtype": "nwb_adm_type",
        "otptcmdise": "otp_tcm_dise",
        "tcmdisecode": "tcm_dise_code",
        "otpwmdise": "otp_wm_dise",
        "wmdisecode": "wm_dise_code",
        # names that the query interface 4103 gives the same items
        "psn_cert_type": "patn_cert_type",
        "emp_poscode": "poscode",
        "insu_admdvs": "insuplc",
        "opsp_mdtrt_time": "opsp_mdtrt_date",
        "adm_way_code": "adm_way",
        "refl_caty": "refldept_dept",
        "otp_wm_diag": "otp_wm_dise",
        "otp_wm_diag_dise_code": "wm_dise_code",
        "otp_tcm_diag": "otp_tcm_dise",
        "otp_tcm_diag_dise_code": "tcm_dise_code",
        "acp_optins_name": "acp_medins_name",
        "dscg31days_rinp_flag": "days_rinp_flag_31",
        "rinp_pup": "days_rinp_pup_31",
        "setl_begndate": "setl_begn_date",
        "setl_enddate": "setl_end_date",
        "psn_selfpay_amt": "psn_selfpay",
        "psn_ownpay_fee": "psn_ownpay",
        "acct_payamt": "acct_pay",
        "hsorg_name": "hsorg",
        "hsorg_opter_name": "hsorg_opter",
    },
    "iteminfo": {
        "med_chrgitm_type": "med_chrgitm",
        "item_sumamt": "amt",
        "item_claa_amt": "claa_sumfee",
        "item_clab_amt": "clab_amt",
        "item_ownpay_amt": "fulamt_ownpay_amt",
        "item_oth_amt": "oth_amt",
    },
    "oprninfo": {"main_oprn_flag": "oprn_oprt_type"},
    "feedetail": {"drord_no": "rx_drord_no"},
}
"""Official wire name by the variant spelling met in the field, for each node."""


class DecodeError(ValueError):
    """What was sent is not a settlement list at all; the message (Chinese) says why."""


class Defect(msgspec.Struct, frozen=True):
    """A value that cannot be what its field holds.

    ``kind``: that of the field (text, number, count, amount, date, datetime, duration, weights), or
    ``node`` for a node or row of the wrong shape. ``path`` is the place in the list as received,
    ``official`` the same under official names, ``value`` what stood there, ``reason`` is Chinese.
    ``usable`` says that a value was read all the same (``2026/10/1``), ``left_out`` how many rows were not.
    """

    path: str
    official: str
    label: str
    kind: str
    value: Any
    reason: str
    usable: bool = False
    left_out: int = 0

    @property
    def lost(self) -> bool:
        """Whether something that was sent is not among what was read."""
        return not self.usable or self.left_out > 0

    @property
    def shown(self) -> str:
        """The value as a message repeats it, cut to a readable length."""
        text = self.value if isinstance(self.value, str) else repr(self.value)
        return text if len(text) <= SHOWN else text[:SHOWN] + "…"


class UnknownField(msgspec.Struct, frozen=True):
    """A field that the interfaces do not have. ``value`` is kept and written back."""

    path: str
    node: str
    row: int
    name: str
    value: Any


class Received(msgspec.Struct, frozen=True):
    """A list as it came in.

    ``prefix`` is ``input.`` for a list in the interface's envelope; ``spelled`` gives the received
    path of each field that came under a variant name, by its official path.
    """

    list: SettlementList
    interface: Interface
    prefix: str = ""
    defects: tuple[Defect, ...] = ()
    unknown: tuple[UnknownField, ...] = ()
    spelled: Mapping[str, str] = {}

    @property
    def unread_values(self) -> int:
        """How many values, rows and nodes could not be read."""
        return sum([defect.lost for defect in self.defects])

    def path(self, official: str) -> str:
        """The place of ``official`` (``diseinfo[2].diag_code``) in the list as received."""
        return self.prefix + self.spelled.get(official, official)


_NOTHING = SettlementList()


class _Envelope(msgspec.Struct):
    input: SettlementList


def _custom(kind: type, value: object) -> Minutes | Weights:
    if kind is Minutes and isinstance(value, str):
        return Minutes.parse(value)
    if kind is Weights:
        return Weights.parse(value if isinstance(value, str) else str(value))
    raise ValueError("类型不符")


_decode_bare = msgspec.json.Decoder(SettlementList, dec_hook=_custom, strict=False).decode
_decode_envelope = msgspec.json.Decoder(_Envelope, dec_hook=_custom, strict=False).decode
_decode_any = msgspec.json.Decoder().decode


def decode(content: bytes) -> Received:
    """Read one list from UTF-8 JSON, bare or in ``{"infno": …, "input": {…}}``. Raises DecodeError."""
    # An empty string means "no value". A quote right after a colon can only close an empty value,
    # so this cannot touch the inside of a string.
    compact = content.replace(b':""', b":null").replace(b': ""', b":null")
    enveloped = b'"input"' in compact
    try:
        found = _decode_envelope(compact).input if enveloped else _decode_bare(compact)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return decode_payload(_parse(content))
    if found == _NOTHING:
        return decode_payload(_parse(content))
    prefix, infno = ("input.", _infno(content)) if enveloped else ("", "")
    return Received(found, _interface_of(found, infno), prefix)


def decode_payload(payload: object) -> Received:
    """Read one list from parsed JSON, field by field. Raises DecodeError."""
    if not isinstance(payload, dict):
        raise DecodeError("应为一个 JSON 对象（含 setlinfo、diseinfo 等节点），收到的是其他类型")
    prefix, infno, body = "", "", payload
    if isinstance(payload.get("input"), dict):
        prefix, infno, body = "input.", str(payload.get("infno") or ""), payload["input"]
    if not any(node in RECORDS for node in body):
        raise DecodeError(
            "没有找到结算清单的任何节点（setlinfo、diseinfo、oprninfo、iteminfo 等），请检查报文结构"
        )
    reader = _Reader(prefix)
    nodes = {NODE_ATTRIBUTES[node]: reader.node(node, body[node]) for node in RECORDS if node in body}
    for name, value in body.items():
        if name not in RECORDS:
            reader.unknown.append(UnknownField(f"{prefix}{name}", "", -1, str(name), value))
    found = SettlementList(**cast(Any, {name: value for name, value in nodes.items() if value is not None}))
    return Received(
        found,
        _interface_of(found, infno),
        prefix,
        tuple(reader.defects),
        tuple(reader.unknown),
        reader.spelled,
    )


def _parse(content: bytes) -> object:
    text = content.removeprefix(b"\xef\xbb\xbf")
    if not text.strip():
        raise DecodeError("报文是空的")
    if text.startswith(_UTF_16_MARKS) or text[1:2] == b"\0":
        raise DecodeError("不是 UTF-8 编码（看起来是 UTF-16）；请另存为 UTF-8 后再送")
    try:
        return _decode_any(text)
    except msgspec.ValidationError:
        # A number too large for msgspec (1e999); the standard library reads it, the field's check refuses it.
        try:
            parsed: object = json.loads(text)
            # The standard library lets half a character (\ud800) pass, which no answer could repeat.
            json.dumps(parsed, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise DecodeError("不是有效的 JSON：含有无法表示的数字或字符") from error
        return parsed
    except RecursionError as error:
        raise DecodeError("JSON 嵌套过深") from error
    except UnicodeDecodeError as error:
        raise DecodeError(f"不是 UTF-8 编码（第 {error.start + 1} 字节）") from error
    except msgspec.DecodeError as error:
        raise DecodeError(f"不是有效的 JSON：{json_fault(error)}") from error


_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_JSON_FAULTS = (
    ("truncated", "内容不完整，缺少后面的部分"),
    ("trailing characters", "后面还有多余的内容"),
    ("object keys must be strings", "对象的键应为加半角双引号的文本"),
    ("trailing comma", "最后一项后面多了逗号"),
    ("expected ':'", "键后面应为半角冒号"),
    ("expected ',' or ']'", "应为半角逗号或 ]"),
    ("expected ',' or '}'", "应为半角逗号或 }"),
    ("escape", "文本中有无效的转义（\\ 后面的字符）"),
    ("surrogate", "文本中有无效的转义（\\u 后面的字符）"),
    ("control character", "文本中有未转义的控制字符（如换行）"),
    ("number", "数字的写法无效"),
    ("invalid character", "有不该出现的字符（引号、逗号、冒号要用半角）"),
    ("utf-8", "不是 UTF-8 编码"),
    ("Expected", "类型不符"),
)
"""What msgspec says, and the same in Chinese; the first that fits."""


def json_fault(error: Exception) -> str:
    """Why msgspec could not read JSON, in Chinese, with the place once."""
    if isinstance(error, RecursionError):
        return "嵌套过深"
    if isinstance(error, UnicodeDecodeError):
        return f"第 {error.start + 1} 字节不是 UTF-8 编码"
    said = str(error)
    reason = next((chinese for english, chinese in _JSON_FAULTS if english in said), "写法有误")
    where = re.search(r"byte (\d+)", said)
    return f"第 {int(where[1]) + 1} 字节附近，{reason}" if where else reason


def _infno(content: bytes) -> str:
    found = re.search(rb'"infno"\s*:\s*"([^"]{0,10})"', content)
    return found[1].decode("utf-8", "replace") if found else ""


def _interface_of(found: SettlementList, infno: str) -> Interface:
    if infno in ("4101", "4101A"):
        return cast(Interface, infno)
    stay = found.stay
    says_4101 = found.charges or found.fund_payments or stay.patient_name or stay.institution_code
    return "4101A" if not says_4101 and (stay.person_number or stay.status_type) else "4101"


class _Reader:
    """Reads the nodes of one list, and notes what it had to repair or could not read."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.defects: list[Defect] = []
        self.unknown: list[UnknownField] = []
        self.spelled: dict[str, str] = {}

    def node(self, node: str, value: object) -> object:
        if value is None or value == "":
            return None
        single = node == "setlinfo"
        place = self.prefix + node
        label = NODE_LABELS[node]
        if single:
            if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
                self._misshapen(place, label, value, "应为一个对象，收到只有一行的数组", usable=True)
                value = value[0]
            if not isinstance(value, dict):
                self._misshapen(place, label, value, "应为一个对象")
                return None
            return self._record(node, -1, value)
        if isinstance(value, dict):
            self._misshapen(place, label, value, "应为数组，收到单个对象，按一行处理", usable=True)
            value = [value]
        if not isinstance(value, list):
            self._misshapen(place, label, value, "应为数组")
            return None
        most = MAX_BACKING_ROWS if node in BACKING_NODES else MAX_ROWS
        if len(value) > most:
            reason = f"共 {len(value)} 行，超过上限 {most} 行，其后的行未检查；请核对是否导出错误"
            self._misshapen(place, label, "", reason, usable=True, left_out=len(value) - most)
            value = value[:most]
        rows = []
        for index, row in enumerate(value):
            if isinstance(row, dict):
                rows.append(self._record(node, index, row))
            else:
                self._misshapen(f"{place}[{index}]", label, row, "每一行应为一个对象")
                # An empty record keeps the later rows at their own place.
                rows.append(RECORDS[node]())
        return tuple(rows)

    def _misshapen(
        self, path: str, label: str, value: object, reason: str, *, usable: bool = False, left_out: int = 0
    ) -> None:
        official = path.removeprefix(self.prefix)
        self.defects.append(Defect(path, official, label, "node", value, reason, usable, left_out))

    def _record(self, node: str, index: int, row: Mapping[object, object]) -> msgspec.Struct:
        fields, spellings = FIELDS[node], SPELLINGS.get(node, {})
        where = node if index < 0 else f"{node}[{index}]"
        values: dict[str, object] = {}
        for name, value in row.items():
            wire = name if name in fields else spellings.get(str(name), "")
            info = fields.get(cast(str, wire))
            if info is None:
                path = f"{self.prefix}{where}.{name}"
                self.unknown.append(UnknownField(path, node, index, str(name), value))
                continue
            if wire != name:
                if info.attribute in values or row.get(wire) not in (None, ""):
                    continue  # the official spelling is there too and wins
                self.spelled[f"{where}.{wire}"] = f"{where}.{name}"
            if value is None or value == "":
                continue
            read, reason = _READERS[info.kind](value)
            if reason:
                path, official = f"{self.prefix}{where}.{name}", f"{where}.{wire}"
                usable = read is not None
                self.defects.append(Defect(path, official, info.label, info.kind, value, reason, usable))
            if read is not None:
                values[info.attribute] = read
        return RECORDS[node](**values)


_Read = tuple[object, str]
"""What was read (None: nothing usable) and what was wrong with it (Chinese; empty: nothing)."""

_WRONG_TYPE = "应为文本或数字，收到的是其他类型"


def _read_text(value: object) -> _Read:
    if isinstance(value, str):
        return value, ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, _WRONG_TYPE
    return f"{value:g}" if isinstance(value, float) else str(value), ""


def _read_number(value: object) -> _Read:
    number: float
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None, _WRONG_TYPE
    if isinstance(value, str):
        text = value.strip()
        if not re.fullmatch(r"[+-]?\d{1,20}(\.\d{0,10})?", text, re.ASCII):
            return None, "应为数字，只用阿拉伯数字和小数点"
        number = float(text)
    else:
        try:
            number = float(value)
        except OverflowError:
            return None, "数值超出范围"
    if not math.isfinite(number) or abs(number) > MAX_YUAN:
        return None, "数值超出范围"
    return number, ""


def _read_count(value: object) -> _Read:
    number, reason = _read_number(value)
    if number is None:
        return None, reason
    whole = cast(float, number)
    if whole != int(whole):
        return None, "应为整数"
    if abs(whole) > MAX_COUNT:
        return None, "数值超出范围"
    return int(whole), ""


_DATE_TIME = re.compile(
    r"\s*(\d{4})([-/.年]?)(\d{1,2})([-/.月]?)(\d{1,2})日?"
    r"(?:[T\s]*(\d{1,2}):?(\d{2})(?::?(\d{2})(?:\.\d{1,9})?)?)?(Z|[+-]\d{2}:?\d{2})?\s*",
    re.ASCII,
)


def _read_moment(value: object, with_time: bool) -> _Read:
    form = "yyyy-MM-dd HH:mm:ss" if with_time else "yyyy-MM-dd"
    if not isinstance(value, str | int) or isinstance(value, bool):
        return None, f"应为 {form} 格式的文本"
    text = str(value)
    found = _DATE_TIME.fullmatch(text)
    if not found:
        return None, f"不能识别为日期，应为 {form}"
    year, first, month, second, day, hour, minute, seconds, zone = found.groups()
    if not (first and second) and (len(month), len(day)) != (2, 2):
        return None, f"不能识别为日期，应为 {form}"
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(seconds or 0)
        )
    except ValueError:
        return None, "日历上没有这一天或这一时刻"
    official = first == second == "-" and len(month) == len(day) == 2 and not zone
    if not with_time:
        return moment.date(), "" if official else f"格式应为 {form}"
    if hour is None:
        return moment, f"缺少时间，至少精确到分，应为 {form}"
    return moment, "" if official and re.search(r"\d\d:\d\d", text) else f"格式应为 {form}"


def _read_date(value: object) -> _Read:
    return _read_moment(value, with_time=False)


def _read_datetime(value: object) -> _Read:
    return _read_moment(value, with_time=True)


def _read_duration(value: object) -> _Read:
    if not isinstance(value, str):
        return None, "应为 天/时/分，例如 1/13/24"
    try:
        return Minutes.parse(value), ""
    except ValueError as error:
        return None, str(error)


def _read_weights(value: object) -> _Read:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None, "应为阿拉伯数字（克）"
    try:
        return Weights.parse(value if isinstance(value, str) else f"{value:.10g}"), ""
    except (ValueError, OverflowError):
        return None, "应为阿拉伯数字（克），多个新生儿用半角逗号分隔"


_READERS: Mapping[str, Callable[[object], _Read]] = {
    "text": _read_text,
    "number": _read_number,
    "amount": _read_number,
    "count": _read_count,
    "date": _read_date,
    "datetime": _read_datetime,
    "duration": _read_duration,
    "weights": _read_weights,
}


_DIAGNOSIS_KIND_4101A = {"1": "1", "2": "1", "3": "2", "4": "3"}
"""诊断类别 of 4101 → 4101A: both kinds of western diagnosis are 1 there."""


def encode(
    received: Received, interface: Interface | None = None, *, with_evidence: bool = False
) -> dict[str, Any]:
    """The list as plain JSON values under official names, without envelope.

    Unknown fields, and values, rows and nodes that could not be read, are written back as received.
    Converting 4101 to 4101A leaves out what that interface does not have; the reverse cannot add what was never sent.
    Charge lines and evidence are no part of either interface: ``with_evidence`` writes them as well.
    """
    target = interface or received.interface
    shorten = target == "4101A" and received.interface == "4101"
    written: dict[str, Any] = {}
    for node, attribute in NODE_ATTRIBUTES.items():
        if (shorten and node in NODES_ONLY_4101) or (node in BACKING_NODES and not with_evidence):
            continue
        value = getattr(received.list, attribute)
        if node == "setlinfo":
            written[node] = _written(value, FIELDS[node], shorten)
        elif value:
            written[node] = [_written(row, FIELDS[node], shorten) for row in value]
    if shorten:
        for row in written.get("diseinfo", []):
            kind = row.get("diag_type")
            row["diag_type"] = _DIAGNOSIS_KIND_4101A.get(kind, kind)
    for unknown in received.unknown:
        if not unknown.node:
            written[unknown.name] = unknown.value
        elif unknown.row < 0:
            written.setdefault(unknown.node, {})[unknown.name] = unknown.value
        elif unknown.node in written:
            written[unknown.node][unknown.row][unknown.name] = unknown.value
    for defect in received.defects:
        place = _PLACE.fullmatch(defect.official)
        if place is None or defect.usable:
            continue
        node, row, wire = place.groups()
        if (shorten and node in NODES_ONLY_4101) or (node in BACKING_NODES and not with_evidence):
            continue
        if wire is None:
            if row is None:
                written[node] = defect.value
            else:
                written[node][int(row)] = defect.value
        elif not (shorten and FIELDS[node][wire].only_4101):
            record = written[node] if row is None else written[node][int(row)]
            record[wire] = defect.value
    return written


_PLACE = re.compile(r"(\w+)(?:\[(\d+)\])?(?:\.(\w+))?")


def _written(record: msgspec.Struct, fields: Mapping[str, Info], shorten: bool) -> dict[str, Any]:
    values = {}
    for wire, info in fields.items():
        value = getattr(record, info.attribute)
        if value is None or (shorten and info.only_4101):
            continue
        if isinstance(value, Minutes | Weights):
            value = value.wire()
        elif isinstance(value, datetime):
            value = value.strftime("%Y-%m-%d %H:%M:%S")
        elif isinstance(value, date):
            value = value.isoformat()
        elif isinstance(value, float):
            value = int(value) if value.is_integer() else value
        values[wire] = value
    return values
