"""What a DRG scheme or a table of DRG weights must hold to be imported."""

from __future__ import annotations

import re
from collections import defaultdict

from coding.library import normalize_code
from grouper.formula import FormulaError, parse, set_names
from models.pack import PackError, PackStore
from models.pack_import import ColumnSpec, Draft, KindSpec, TableSpec, shown

NO_EXCLUSION = "999"
"""The exclusion table number that the national schemes write for "excluded by no principal diagnosis"."""
AMBIGUOUS = "ambiguous"
"""``kind`` of the xQY rows (歧义组): a case ends there without a DRG."""

_NUMBER = re.compile(r"\d{1,6}")
_SET_NAME = re.compile(r"(?:DI|OP)_[0-9A-Za-z_]+")
_CODE = re.compile(r"[0-9A-Z][0-9A-Zx.+*]{1,29}")
_DECIMAL = re.compile(r"\d{1,12}(\.\d{1,16})?")
_DRG = re.compile(r"[0-9A-Z][0-9A-Z-]{1,9}")

_ORDER = ColumnSpec("order", _NUMBER, "序号（整数）")
_CONDITION = ColumnSpec("condition", empty=True)

MDC = TableSpec(
    "mdc",
    (
        _ORDER,
        ColumnSpec("mdc", re.compile(r"[0-9A-Z]{1,4}"), "MDC 编码，如 A"),
        ColumnSpec("name"),
        _CONDITION,
    ),
    ("mdc",),
)
ADRG = TableSpec(
    "adrg",
    (
        _ORDER,
        ColumnSpec("mdc"),
        ColumnSpec("adrg", _DRG, "ADRG 编码，如 AA1"),
        ColumnSpec("part", re.compile(r"[0-9A-Z][0-9A-Z_-]{1,15}"), "ADRG 的分部，如 NA1_1"),
        ColumnSpec("name", empty=True),
        ColumnSpec(
            "kind",
            re.compile(f"surgical|operation|medical|{AMBIGUOUS}"),
            f"surgical、operation、medical 或 {AMBIGUOUS}",
        ),
        _CONDITION,
    ),
    ("part",),
)
DRG = TableSpec(
    "drg",
    (
        ColumnSpec("adrg"),
        _ORDER,
        ColumnSpec("drg", _DRG, "DRG 编码，如 AA19"),
        ColumnSpec("name"),
        _CONDITION,
    ),
    ("drg",),
)
SETS = TableSpec(
    "sets",
    (
        ColumnSpec("set", _SET_NAME, "集合名，以 DI_ 或 OP_ 开头"),
        ColumnSpec("code", _CODE, "医保版编码", normalize=normalize_code),
    ),
    ("set", "code"),
)
COMPLICATION = TableSpec(
    "complication",
    (
        ColumnSpec("code", _CODE, "医保版诊断编码", normalize=normalize_code),
        ColumnSpec("level", re.compile("MCC|CC"), "MCC 或 CC"),
        ColumnSpec("exclusion_table", empty=True),
    ),
    ("code",),
)
EXCLUSION = TableSpec(
    "exclusion",
    (
        ColumnSpec("exclusion_table"),
        ColumnSpec("principal_diagnosis", _CODE, "医保版诊断编码", normalize=normalize_code),
    ),
    ("exclusion_table", "principal_diagnosis"),
)


def _check_formulas(draft: Draft) -> None:
    sets = draft.values("sets", "set")
    used: set[str] = set()
    for name in ("mdc", "adrg", "drg"):
        if name not in draft.tables:
            continue
        for line, (condition,) in draft.tables[name].located("condition"):
            try:
                names = set_names(parse(condition))
            except FormulaError as error:
                draft.fault(name, line, "condition", str(error))
                continue
            used |= names
            for missing in sorted(names - sets):
                draft.fault(
                    name, line, "condition", f"“{shown(condition)}”用到的集合 {missing} 不在 sets 表中"
                )
    if "sets" in draft.tables and sets - used:
        unused = sorted(sets - used)
        draft.notes.append(f"{len(unused)} 个集合没有被任何规则用到：{'、'.join(unused[:10])}")


def _check_parents(draft: Draft) -> None:
    mdcs, adrgs = draft.values("mdc", "mdc"), draft.values("adrg", "adrg")
    with_drg = draft.values("drg", "adrg")
    if "adrg" in draft.tables and mdcs:
        for line, (mdc, adrg, name, kind) in draft.tables["adrg"].located("mdc", "adrg", "name", "kind"):
            if kind != AMBIGUOUS and not name:
                draft.fault("adrg", line, "name", "不能为空（只有歧义组可以没有名称）")
            if mdc not in mdcs:
                draft.fault("adrg", line, "mdc", f"{adrg} 所属的 MDC {mdc} 不在 mdc 表中")
            if kind != AMBIGUOUS and with_drg and adrg not in with_drg:
                draft.fault("adrg", line, "adrg", f"{adrg} 在 drg 表中没有任何 DRG")
    if "drg" in draft.tables and adrgs:
        for line, (adrg, drg) in draft.tables["drg"].located("adrg", "drg"):
            if adrg not in adrgs:
                draft.fault("drg", line, "adrg", f"{drg} 所属的 ADRG {adrg} 不在 adrg 表中")


def _check_order(draft: Draft) -> None:
    """Order decides the group, so two rows of one level must not share a place."""
    for name, parents in (("mdc", ()), ("adrg", ()), ("drg", ("adrg",))):
        if name not in draft.tables:
            continue
        places: dict[tuple[str, ...], int] = {}
        for line, place in draft.tables[name].located(*parents, "order"):
            first = places.setdefault(place, line)
            if first != line:
                draft.fault(name, line, "order", f"序号 {place[-1]} 与第 {first} 行相同，先后不明")


def _check_exclusions(draft: Draft) -> None:
    if "complication" not in draft.tables or "exclusion" not in draft.tables:
        return
    known = draft.values("exclusion", "exclusion_table")
    without = 0
    for line, (code, table) in draft.tables["complication"].located("code", "exclusion_table"):
        if table in ("", NO_EXCLUSION) and table not in known:
            without += 1
        elif table not in known:
            draft.fault(
                "complication", line, "exclusion_table", f"{code} 的排除表 {table} 不在 exclusion 表中"
            )
    if without:
        draft.notes.append(f"{without} 个并发症或合并症的排除表为空或 {NO_EXCLUSION}：不被任何主要诊断排除")


def _check_codes(draft: Draft, store: PackStore) -> None:
    """A code that the library lacks is kept: the published rule stays as it is, the note says so."""
    libraries: dict[str, set[str]] = {}
    for kind in ("icd10", "icd9cm3"):
        try:
            libraries[kind] = {
                code for (code,) in store.get(draft.requires.get(kind, "")).records("codes", "code")
            }
        except PackError:
            return  # the missing pack itself is reported where ``requires`` is checked
    unknown: dict[tuple[str, str], list[str]] = defaultdict(list)
    if "sets" in draft.tables:
        for _, (name, code) in draft.tables["sets"].located("set", "code"):
            kind = "icd10" if name.startswith("DI_") else "icd9cm3"
            if code not in libraries[kind]:
                unknown[kind, code].append(name)
    for table, column in (("complication", "code"), ("exclusion", "principal_diagnosis")):
        if table in draft.tables:
            for _, (code,) in draft.tables[table].located(column):
                if code not in libraries["icd10"] and table not in unknown["icd10", code]:
                    unknown["icd10", code].append(f"{table} 表")
    for (kind, code), places in sorted(unknown.items()):
        if places:
            draft.notes.append(
                f"编码 {code} 不在 {draft.requires[kind]} 中，原样保留；出现在 {'、'.join(places[:10])}"
            )


def _check_scheme(draft: Draft, store: PackStore) -> None:
    _check_order(draft)
    _check_parents(draft)
    _check_formulas(draft)
    _check_exclusions(draft)
    _check_codes(draft, store)


SCHEME = KindSpec(
    "drg-scheme",
    "DRG 分组方案",
    (MDC, ADRG, DRG, SETS, COMPLICATION, EXCLUSION),
    _check_scheme,
    requires=("icd10", "icd9cm3"),
)


def check_payment(draft: Draft, store: PackStore) -> None:
    """DRGs of a local plan that the scheme lacks are kept and counted in a note."""
    if "weights" not in draft.tables:
        return
    for line, (drg, *amounts) in draft.tables["weights"].located("drg", "weight", "average_fee", "standard"):
        if not any(amounts):
            draft.fault("weights", line, "weight", f"{drg} 的权重、均次费用、支付标准都为空")
    try:
        scheme = store.get(draft.requires.get("drg-scheme", ""))
        known = {drg for (drg,) in scheme.records("drg", "drg")}
    except PackError:
        return  # the missing pack itself is reported where ``requires`` is checked
    listed = draft.values("weights", "drg")
    beyond, without = sorted(listed - known), sorted(known - listed)
    for drgs, text in (
        (beyond, f"不在 {scheme.id} 中（本地细分组），原样保留"),
        (without, f"在 {scheme.id} 中但这张表没有权重"),
    ):
        if drgs:
            draft.notes.append(f"{len(drgs)} 个 DRG {text}：{'、'.join(drgs[:10])}")


WEIGHTS = TableSpec(
    "weights",
    (
        ColumnSpec("drg", _DRG, "DRG 编码"),
        ColumnSpec("weight", _DECIMAL, "非负小数", empty=True),
        ColumnSpec("average_fee", _DECIMAL, "以元为单位的非负小数", empty=True),
        ColumnSpec("standard", _DECIMAL, "以元为单位的非负小数", empty=True),
    ),
    ("drg",),
)
PAYMENT = KindSpec(
    "drg-payment",
    "DRG 权重与支付标准",
    (WEIGHTS,),
    check_payment,
    requires=("drg-scheme",),
)
