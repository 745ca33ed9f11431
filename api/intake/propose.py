"""Proposes a column mapping for a hospital's own table, from the names of its columns."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz

from api.intake.mapping import (
    NUMBER,
    NUMBER_2,
    ColumnMapping,
    FieldSource,
    RowSource,
    plain_name,
    shipped_mappings,
)
from api.intake.table import Header
from models.settlement_list import FIELDS, NODE_LABELS

LIKELY = 82.0
"""Similarity (0–100) of two names from which one is proposed for the other."""
PRINCIPAL = "1"
"""Value of diag_type for the principal diagnosis of Western medicine."""
NAMED_BY = {"diseinfo": ("diag_code", "diag_name"), "oprninfo": ("oprn_oprt_code", "oprn_oprt_name")}
"""Fields of which a row of a node needs one."""
Names = tuple[str, ...]
_DIGITS = re.compile(r"\d{1,4}(?=\D*$)")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mapping as TOML text. ``certain``: columns known by name, ``guessed``: by likeness, ``left``: not used.

    ``missing``: what (Chinese) no list can do without and the table has no known column for.
    """

    text: str
    missing: tuple[str, ...]
    certain: tuple[str, ...]
    guessed: tuple[str, ...]
    left: tuple[str, ...]


def propose(header: Header, title: str) -> Proposal:
    """A mapping for the columns of a table: the shipped one that knows most of them, the rest by likeness."""
    best = max(shipped_mappings(), key=lambda one: len(_known(header, one)))
    known = _known(header, best)
    used = {plain_name(column) for column in _columns(header, known)}
    left = [name for name in header.names if name.strip() and plain_name(name) not in used]
    guessed = _guesses(best, known, left)
    # A block that names no diagnosis or operation is not written, and its columns are not used.
    kept = {names for source in _sources(best, {**guessed, **known}) for names in _lists(source)}
    known = {names: name for names, name in known.items() if names in kept}
    guessed = {names: name for names, name in guessed.items() if names in kept}
    used = {plain_name(column) for column in _columns(header, known)}
    left = [name for name in header.names if name.strip() and plain_name(name) not in used]
    patterns = {plain_name(_pattern(name)) for name in guessed.values()} | {
        plain_name(n) for n in guessed.values()
    }
    rest = [
        name
        for name in left
        if plain_name(name) not in patterns and plain_name(_pattern(name)) not in patterns
    ]
    missing = tuple(_missing(best, {**guessed, **known}))
    lines = list(_toml(best, known, guessed, rest, title, missing))
    taken = tuple(name for name in left if name not in rest)
    certain = tuple(name for name in header.names if plain_name(name) in used)
    return Proposal("\n".join(lines) + "\n", missing, certain, taken, tuple(rest))


def _sources(mapping: ColumnMapping, chosen: Mapping[Names, str] | None = None) -> Iterator[FieldSource]:
    """Every field; with ``chosen`` only those of the blocks that can be written with these columns."""
    yield from mapping.stay.values()
    for row in mapping.rows:
        if chosen is None or _is_named(row, chosen):
            yield from row.fields.values()


def _lists(source: FieldSource) -> Iterator[Names]:
    parts = (source.days, source.hours, source.minutes, source.months, source.hour)
    yield from (names for names in (source.columns, *source.join, *parts) if names)


def _known(header: Header, mapping: ColumnMapping) -> dict[Names, str]:
    """The name that the table uses of each list of alternatives that it has."""
    found: dict[Names, str] = {}
    for source in _sources(mapping):
        for names in _lists(source):
            name = next(
                (one for one in names if header.place((one,)) is not None or header.numbers((one,))), None
            )
            if name is not None:
                found[names] = name
    return found


def _columns(header: Header, known: Mapping[Names, str]) -> Iterator[str]:
    for name in known.values():
        numbers: Sequence[int] = sorted(header.numbers((name,))) or [0]
        for number in numbers:
            place = header.place((name,), number)
            if place is not None:
                yield header.names[place]


def _pattern(name: str) -> str:
    """A numbered column name with its number as placeholder: 其他诊断编码3 → 其他诊断编码{n}."""
    digits = _DIGITS.search(name)
    if digits is None:
        return name
    mark = NUMBER_2 if digits[0].startswith("0") else NUMBER
    return f"{name[: digits.start()]}{mark}{name[digits.end() :]}"


def _guesses(mapping: ColumnMapping, known: Mapping[Names, str], left: Sequence[str]) -> dict[Names, str]:
    """For alternatives that the table does not have: the most similar of the columns that are left."""
    open_lists = {names for source in _sources(mapping) for names in _lists(source) if names not in known}
    numbered = {pattern for name in left if (pattern := _pattern(name)) != name}
    plain = set(left)
    scored = []
    for names in sorted(open_lists):
        wanted = any(NUMBER in name or NUMBER_2 in name for name in names)
        for column in sorted(numbered if wanted else plain):
            score = max(fuzz.ratio(_bare(name), _bare(column)) for name in names)
            if score >= LIKELY:
                scored.append((-score, names, column))
    found: dict[Names, str] = {}
    taken: set[str] = set()
    for _, names, column in sorted(scored):
        if names not in found and column not in taken:
            found[names] = column
            taken.add(column)
    return found


def _bare(name: str) -> str:
    return plain_name(name.replace(NUMBER_2, "").replace(NUMBER, ""))


def _toml(  # noqa: PLR0917 -- the parts of the text
    base: ColumnMapping,
    known: Mapping[Names, str],
    guessed: Mapping[Names, str],
    rest: Sequence[str],
    title: str,
    missing: Sequence[str],
) -> Iterator[str]:
    yield "# 列对照：左边是接口 4101 的字段名，右边是表格的列名。标“推测”的是按名称相近写的，使用前请逐行核对。"
    yield from (f"# 缺少：{one}" for one in missing)
    yield f"title = {_quoted(title)}"
    if base.empty:
        yield f"empty = [{', '.join(_quoted(text) for text in sorted(base.empty))}]"
    chosen = {**guessed, **known}
    stay = list(_fields("setlinfo", base.stay, chosen, guessed))
    if stay:
        yield "\n[setlinfo]"
        yield from stay
    for row in base.rows:
        fields = list(_fields(row.node, row.fields, chosen, guessed))
        if _is_named(row, chosen):
            yield f"\n[[{row.node}]]  # {NODE_LABELS[row.node]}"
            if row.first != 1:
                yield f"first = {row.first}"
            yield from fields
    if rest:
        yield "\n# 没有用到的列："
        yield from (f"#   {name}" for name in _grouped(rest))


def _grouped(names: Sequence[str]) -> Iterator[str]:
    """Column names on one line each, those that differ in their number only on one line for all."""
    patterns = [_pattern(" ".join(name.split())) for name in names]
    for pattern, count in Counter(patterns).items():
        if count == 1:
            yield " ".join(names[patterns.index(pattern)].split())
        else:
            yield f"{pattern}（{count} 列）"


def _is_named(row: RowSource, chosen: Mapping[Names, str]) -> bool:
    """Whether a block has what its rows are about: a diagnosis with only 入院病情 is none."""
    wanted = [row.fields[wire] for wire in NAMED_BY.get(row.node, ()) if wire in row.fields]
    return any(names in chosen for source in wanted or row.fields.values() for names in _lists(source))


def _missing(base: ColumnMapping, chosen: Mapping[Names, str]) -> Iterator[str]:
    """What the checks and the grouping cannot do without."""
    principal = any(
        names in chosen
        for row in base.rows
        if row.node == "diseinfo" and "diag_type" in row.fields and row.fields["diag_type"].value == PRINCIPAL
        for names in _lists(row.fields["diag_code"])
    )
    stay = {wire for wire, source in base.stay.items() if any(names in chosen for names in _lists(source))}
    if not principal:
        yield "没有找到主要诊断编码的列，清单不能分组；请在 [[diseinfo]] 中补上 diag_code"
    if "mdtrt_id" not in stay and "medcasno" not in stay:
        yield "没有找到就诊ID和病案号的列，清单分不清是谁的哪一次住院；请补上 mdtrt_id 和 medcasno"
    elif "mdtrt_id" not in stay:
        yield "没有找到就诊ID的列；同一病案号可以多次住院，请补上 mdtrt_id，如病案号与住院次数用 join 连起来"
    elif "medcasno" not in stay:
        yield "没有找到病案号的列；请补上 medcasno"
    if "dscg_time" not in stay:
        yield "没有找到出院时间的列，按出院日期选取的规则和数据包都用不上；请补上 dscg_time"


def _fields(
    node: str, fields: Mapping[str, FieldSource], chosen: Mapping[Names, str], guessed: Mapping[Names, str]
) -> Iterator[str]:
    for wire, source in fields.items():
        text = _source(source, chosen)
        if text:
            note = "  # 推测：" if any(names in guessed for names in _lists(source)) else "  # "
            yield f"{wire} = {text}{note}{FIELDS[node][wire].label}"


def _source(source: FieldSource, chosen: Mapping[Names, str]) -> str:
    """The field as TOML with the columns of this table; empty when it has none of them."""
    parts: list[str] = []
    wanted = [("column", source.columns), ("days", source.days), ("hours", source.hours)]
    wanted += [("minutes", source.minutes), ("months", source.months), ("hour", source.hour)]
    for key, names in wanted:
        # The time of day of a table with one column for both is in that column.
        if names in chosen and not (key == "hour" and chosen[names] == chosen.get(source.columns)):
            parts.append(f"{key} = {_quoted(chosen[names])}")
    joined = [_quoted(chosen[names]) for names in source.join if names in chosen]
    if joined:
        parts.append(f"join = [{', '.join(joined)}], separator = {_quoted(source.separator)}")
    if source.value:
        # Fixed values go with the column that they were written for.
        if source.if_filled and source.if_filled not in chosen:
            return ""
        parts.append(f"value = {_quoted(source.value)}")
    if not parts:
        return ""
    for key, names in (("if_filled", source.if_filled), ("unless_filled", source.unless_filled)):
        if names in chosen:
            parts.append(f"{key} = {_quoted(chosen[names])}")
    if source.split:
        parts.append(f"split = {_quoted(source.split)}")
    if source.values:
        pairs = ", ".join(f"{_quoted(name)} = {_quoted(to)}" for name, to in source.values.items())
        parts.append(f"values = {{ {pairs} }}")
    if len(parts) == 1 and parts[0].startswith("column = "):
        return parts[0].removeprefix("column = ")
    return f"{{ {', '.join(parts)} }}"


def _quoted(text: str) -> str:
    """A TOML basic string; JSON escapes are its escapes, but for the character that TOML forbids bare."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
