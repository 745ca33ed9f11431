"""The boxes that code what the doctor wrote: what they hold, and the candidates that the server lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from api.services.codes import Kind
from api.state import Service
from coding.suggestion.context import CONFIDENT, Context
from coding.suggestion.split import MAXIMUM_TEXT
from models.pack import PackError

if TYPE_CHECKING:
    from coding.suggestion.suggest import Mention

SURE = 0.6
"""From this probability the first candidate is right more often than not: 把握较大."""
SHOWN = 5
MAXIMUM_FIELDS = 60_000
MEMORY = "记下所选的文字、编码、科室和时间，供下次推荐和训练；不含患者身份，存在本院服务器"
NO_MEMORY = "本服务的数据目录不能写入，不能记住"


@dataclass(frozen=True, slots=True)
class Offer:
    """One candidate as the page shows it: ``trust`` is high, fair or low."""

    code: str
    name: str
    trust: str
    trust_text: str
    reasons: tuple[str, ...]
    flags: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One mention as the page shows it."""

    text: str
    status: str
    certainty_text: str
    candidates: tuple[Offer, ...]


@dataclass(frozen=True, slots=True)
class TextBox:
    """The box of one table; ``text`` is what stands in it, ``told`` what went wrong (Chinese)."""

    kind: Kind
    node: str
    what: str
    example: str
    keeps: bool = True
    text: str = ""
    mentions: tuple[Item, ...] = ()
    told: str = ""
    sure: float = SURE
    fair: float = CONFIDENT
    longest: int = MAXIMUM_TEXT

    @property
    def memory(self) -> str:
        return MEMORY if self.keeps else NO_MEMORY


BOXES = (
    TextBox("diagnosis", "diseinfo", "出院诊断", "如：1.冠心病 不稳定性心绞痛 2.高血压3级 3.2型糖尿病伴肾病"),
    TextBox("procedure", "oprninfo", "手术及操作", "如：腹腔镜下胆囊切除术+肠粘连松解术"),
)


def boxes(service: Service, body: str = "") -> dict[str, TextBox]:
    """The boxes by table, with the texts of a submitted form."""
    try:
        fields = parse_qs(body, errors="strict", max_num_fields=MAXIMUM_FIELDS)
    except ValueError:
        fields = {}
    keeps = service.remembers()
    return {
        box.node: replace(box, keeps=keeps, text=fields.get(f"_text_{box.kind}", [""])[0][:MAXIMUM_TEXT])
        for box in BOXES
    }


def filled(service: Service, made: Mapping[str, TextBox], payload: Mapping[str, Any]) -> dict[str, TextBox]:
    """The boxes with the candidates for their texts; ``payload`` is the list beside them."""
    context = context_of(payload)
    return {node: _filled(service, box, context) for node, box in made.items()}


def _filled(service: Service, box: TextBox, context: Context) -> TextBox:
    if not box.text.strip():
        return box
    from coding.suggestion.model import ModelError  # noqa: PLC0415 -- heavy: it loads SciPy

    try:
        mentions = service.suggestion().suggest(box.text, box.kind, context, SHOWN)
    except (ModelError, PackError) as error:
        return replace(box, told=str(error))
    told = "" if mentions else "文字中没有可编码的内容。"
    return replace(box, mentions=tuple(_item(mention) for mention in mentions), told=told)


def _item(mention: Mention) -> Item:
    offers = tuple(
        Offer(found.code, found.name, *trust(found.probability), found.reasons, found.flags, found.warnings)
        for found in mention.candidates
    )
    return Item(mention.text, mention.status, mention.certainty_text, offers)


def trust(probability: float) -> tuple[str, str]:
    """A probability in words: a key for the style and its Chinese."""
    if probability >= SURE:
        return "high", "把握较大"
    return ("fair", "一般") if probability >= CONFIDENT else ("low", "不确定")


def context_of(payload: Mapping[str, Any]) -> Context:
    """What a list says of the stay, without anything that says whose it is."""
    found = payload.get("setlinfo")
    stay: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    sex, age = str(stay.get("gend", "")).strip(), str(stay.get("age", "")).strip()
    return Context(
        sex if sex in ("1", "2") else "",
        int(age) if age.isascii() and age.isdigit() and len(age) <= 3 and int(age) <= 150 else None,
        str(stay.get("dscg_dept_name", ""))[:64],
        _codes(payload.get("diseinfo"), "diag_code"),
        _codes(payload.get("oprninfo"), "oprn_oprt_code"),
    )


def _codes(rows: object, wire: str) -> tuple[str, ...]:
    listed = rows if isinstance(rows, list) else []
    found = (str(row.get(wire, "")).strip() for row in listed if isinstance(row, Mapping))
    return tuple(code for code in found if code)[:100]
