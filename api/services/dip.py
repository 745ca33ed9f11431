"""DIP for all doors: group, explain and price one case or one list, and build a catalogue from history."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

from api.services.check import Checker, case_of
from grouper.dip.build import Built, HistoryCase, build_catalogue
from grouper.dip.catalogue import GROUP_COLUMNS, SCORE_COLUMNS, Catalogue, load_catalogue, row_of_group
from grouper.dip.comorbidity import ComorbidityIndex, load_comorbidity
from grouper.dip.engine import DipEngine, DipResult
from grouper.dip.explain import DipExplanation, explain
from grouper.dip.score import DipPlan, DipScore, load_plan, score_case
from grouper.workbook import WorkbookError, read_csv_rows
from grouper.worksheet import Billing, decimal, fen, yuan
from models.grouping import Case
from models.pack import Manifest, Pack, PackError, PackStore, write_pack
from models.pack_diff import Rows
from models.wire import Received

MAX_COST_YUAN = Decimal("100000000")
"""Costs above a hundred million yuan are a mistake."""
CASE_COLUMNS = ("case_id", "year", "dx", "procedures", "cost")
NUMBER_COLUMNS = ("age", "age_days", "birth_weight", "los")
RESULT_COLUMNS = ("dip", "dip_name", "layer", "explanation", "score", "amount", "missing")
MAX_CODES = 1000


class DipDesk:
    """Groups and prices by DIP with the packs that hold for a region and a discharge date.

    Shares the code books of a checker. The packs are read when first needed and kept.
    """

    def __init__(self, checker: Checker) -> None:
        self.checker = checker
        self._engines: dict[tuple[str, str], DipEngine] = {}
        self._plans: dict[tuple[str, ...], DipPlan] = {}

    def engine(self, on: date | None = None, region: str = "", catalogue: str = "") -> DipEngine:
        """The catalogue that holds, or the one asked for by id. Raises PackError."""
        pack = self._pack("dip-catalogue", on, region, catalogue)
        key = (pack.id, pack.manifest.version)
        if key not in self._engines:
            self._engines[key] = DipEngine(load_catalogue(pack), self.checker.library)
        return self._engines[key]

    def plan(
        self, catalogue: Catalogue, on: date | None = None, region: str = "", payment: str = ""
    ) -> DipPlan:
        """Scores and parameters for a catalogue; without a payment pack only what the catalogue gives.

        Raises PackError for a payment pack asked for that is not there or stands on another catalogue.
        """
        pack = self._payment(on, region, payment)
        own = catalogue.pack
        key = (
            own.id if own else "",
            own.version if own else "",
            *((pack.id, pack.manifest.version) if pack else ()),
        )
        if key not in self._plans:
            if pack is not None and own is not None:
                stands_on = pack.manifest.requires.get("dip-catalogue", own.id)
                if stands_on != own.id:
                    raise PackError(
                        f"支付数据包 {pack.id} 依据的目录是 {stands_on}，不能用于 {own.id} 的分组结果"
                    )
            self._plans[key] = load_plan(catalogue, pack, self._comorbidity(on, region))
        return self._plans[key]

    def _pack(self, kind: str, on: date | None, region: str, asked: str) -> Pack:
        store = self.checker.store
        pack = store.get(asked) if asked else store.pack_for(kind, region or self.checker.region, on)
        if pack.kind != kind:
            raise PackError(f"{pack.id} 的种类是 {pack.kind}，这里应为 {kind}")
        return pack

    def _payment(self, on: date | None, region: str, asked: str) -> Pack | None:
        if asked:
            return self._pack("dip-payment", on, region, asked)
        try:
            return self._pack("dip-payment", on, region, "")
        except PackError:
            return None  # what is missing without it is said with every amount

    def _comorbidity(self, on: date | None, region: str) -> ComorbidityIndex | None:
        try:
            return load_comorbidity(self._pack("comorbidity-index", on, region, ""))
        except PackError:
            return None

    def group(
        self,
        case: Case,
        cost: int | None = None,
        *,
        on: date | None = None,
        region: str = "",
        catalogue: str = "",
    ) -> DipResult:
        """The DIP group of a case; ``cost`` in fen. Raises PackError."""
        return self.engine(on, region, catalogue).group(case, cost)

    def explain(
        self,
        case: Case,
        cost: int | None = None,
        *,
        on: date | None = None,
        region: str = "",
        catalogue: str = "",
    ) -> DipExplanation:
        """The DIP group of a case and the way to it. Raises PackError."""
        return explain(self.engine(on, region, catalogue), case, cost)

    def score(
        self,
        case: Case,
        billing: Billing,
        *,
        on: date | None = None,
        region: str = "",
        catalogue: str = "",
        payment: str = "",
    ) -> DipScore:
        """What a case is worth. Raises PackError."""
        engine = self.engine(on, region, catalogue)
        plan = self.plan(engine.catalogue, on, region, payment)
        return score_case(engine.group(case, billing.cost), case, billing, plan)

    def case_of_list(self, received: Received, region: str = "") -> tuple[Case, int | None, date | None]:
        """The case, the total cost (fen) and the discharge date of a settlement list."""
        moment = received.list.stay.discharge_time
        on = moment.date() if moment else None
        case = case_of(self.checker.rules_for(on, region).facts(received))
        return case, list_cost(received), on


def list_cost(received: Received) -> int | None:
    """The total cost of a list in fen: 医疗费总额, else the sum of its charges; None without either."""
    total = received.list.stay.total_fee_yuan
    amounts = [charge.amount_yuan for charge in received.list.charges if charge.amount_yuan is not None]
    if total is None and not amounts:
        return None
    whole = (
        Decimal(str(total)) if total is not None else sum((Decimal(str(one)) for one in amounts), Decimal(0))
    )
    try:
        return read_cost(str(whole))
    except ValueError:
        return None


def read_cost(text: str) -> int:
    """An amount in yuan as fen. Raises ValueError with a Chinese message."""
    try:
        value = Decimal(text.replace(",", "").strip())
    except InvalidOperation:
        raise ValueError(f"费用“{text[:30]}”应为以元为单位的数字") from None
    if not value.is_finite() or not 0 <= value <= MAX_COST_YUAN:
        raise ValueError(f"费用“{text[:30]}”应在 0 到 {MAX_COST_YUAN} 元之间")
    return fen(str(value))


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A row of a file of cases: its line, what it holds, or why it cannot be read (Chinese)."""

    line: int
    values: Mapping[str, str]
    case: Case | None = None
    cost: int | None = None
    year: int | None = None
    error: str = ""


def read_case_rows(path: Path, *, history: bool = False) -> Iterator[CaseRow]:
    """The cases in a CSV: dx and procedures (``|``, main first), cost (yuan), year, age … by header.

    ``history``: year and cost must be there. Raises PackError when the file or its header cannot be read.
    """
    try:
        rows = read_csv_rows(path)
    except WorkbookError as error:
        raise PackError(str(error)) from error
    header = [str(cell or "").strip() for cell in (rows[0] if rows else [])]
    needed = ("dx", "year", "cost") if history else ("dx",)
    missing = [name for name in needed if name not in header]
    if missing:
        raise PackError(f"{path.name}：缺少列 {'、'.join(missing)}；需要的列是 {'、'.join(CASE_COLUMNS)}")
    for line, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        values = dict(zip(header, (str(cell or "").strip() for cell in row), strict=False))
        if len(row) != len(header):
            yield CaseRow(line, values, error=f"有 {len(row)} 个值，表头有 {len(header)} 列")
            continue
        yield _case_row(line, values, history)


def _case_row(line: int, values: Mapping[str, str], history: bool) -> CaseRow:
    try:
        numbers = {name: _number(name, values.get(name, "")) for name in NUMBER_COLUMNS}
        icu = values.get("icu_hours", "")
        case = Case(
            diagnoses=_codes("dx", values["dx"]),
            procedures=_codes("procedures", values.get("procedures", "")),
            sex=values.get("sex", ""),
            age=numbers["age"],
            age_days=numbers["age_days"],
            birth_weight=numbers["birth_weight"],
            length_of_stay=numbers["los"],
            icu_hours=_number("icu_hours", icu.partition(".")[0]) if icu else None,
        )
        cost = read_cost(values["cost"]) if values.get("cost") else None
        year = _number("year", values.get("year", "")[:4])
        if history and cost is None:
            raise ValueError("没有费用（cost）")
        if history and (year is None or not 1990 <= year <= 2100):
            raise ValueError(f"年份（year）“{values.get('year', '')[:20]}”应为 1990 到 2100 之间的四位数字")
    except ValueError as error:
        return CaseRow(line, values, error=str(error))
    return CaseRow(line, values, case, cost, year)


def _codes(column: str, text: str) -> tuple[str, ...]:
    codes = tuple(text.split("|")) if text else ()
    if len(codes) > MAX_CODES:
        raise ValueError(f"{column} 有 {len(codes)} 个编码，超过 {MAX_CODES} 个")
    return codes


def _number(name: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError(f"{name} 的值“{text[:20]}”应为非负整数")
    return int(text)


@dataclass(frozen=True, slots=True)
class CaseFileResult:
    """How many cases of a file were grouped, priced, or could not be read (line and reason)."""

    cases: int
    grouped: int
    priced: int
    errors: tuple[tuple[int, str], ...]


def group_file(
    desk: DipDesk, source: Path, target: Path, billing: Billing, *, catalogue: str = "", payment: str = ""
) -> CaseFileResult:
    """Group and price every case of a CSV; all columns are kept, the results stand behind them.

    ``billing`` gives hospital level and insurance where a row has no hospital_level, insurance, hospital
    of its own. A row that cannot be read stays, with the reason. Raises PackError.
    """
    engine = desk.engine(catalogue=catalogue)
    plan = desk.plan(engine.catalogue, payment=payment)
    rows = list(read_case_rows(source))
    header = list(dict.fromkeys(name for row in rows for name in row.values if name not in RESULT_COLUMNS))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*header, *RESULT_COLUMNS))
    grouped = priced = 0
    errors = []
    for row in rows:
        kept = [row.values.get(name, "") for name in header]
        if row.case is None:
            errors.append((row.line, row.error))
            writer.writerow((*kept, "", "", "", f"不能读取：{row.error}", "", "", ""))
            continue
        result = engine.group(row.case, row.cost)
        own = replace(
            billing,
            cost=row.cost,
            hospital=row.values.get("hospital") or billing.hospital,
            hospital_level=row.values.get("hospital_level") or billing.hospital_level,
            insurance=row.values.get("insurance") or billing.insurance,
        )
        score = score_case(result, row.case, own, plan)
        grouped += result.code != ""
        priced += score.amount is not None
        found = (result.code, result.name, result.layer, result.explanation)
        amounts = ("" if value is None else str(value) for value in (score.score, score.amount))
        writer.writerow((*kept, *found, *amounts, "；".join(score.missing)))
    target.write_text(out.getvalue(), encoding="utf-8")
    return CaseFileResult(len(rows), grouped, priced, tuple(errors))


def history_of_rows(rows: Iterable[CaseRow]) -> tuple[list[HistoryCase], list[tuple[int, str]]]:
    """The cases of a history, and the lines that cannot be read."""
    found, errors = [], []
    for row in rows:
        if row.case is None or row.cost is None or row.year is None:
            errors.append((row.line, row.error))
        else:
            found.append(HistoryCase(row.case, row.year, row.cost))
    return found, errors


def history_of_lists(
    desk: DipDesk, lists: Iterable[tuple[int, Received | None, str]]
) -> tuple[list[HistoryCase], list[tuple[int, str]]]:
    """The cases of settlement lists (line, list or None, error), and the lines that cannot be used."""
    found, errors = [], []
    for line, received, error in lists:
        if received is None:
            errors.append((line, error))
            continue
        case, cost, on = desk.case_of_list(received)
        if on is None:
            errors.append((line, "没有出院时间，不知道属于哪一年"))
        elif cost is None:
            errors.append((line, "没有医疗费总额，也没有收费项目金额"))
        else:
            found.append(HistoryCase(case, on.year, cost))
    return found, errors


def build(desk: DipDesk, history: list[HistoryCase], threshold: int, base: str = "") -> Built:
    """A catalogue from history over the groups of ``base`` (a catalogue pack, ``dip-national`` by default)."""
    pack = desk.checker.store.get(base or "dip-national")
    if pack.kind != "dip-catalogue":
        raise PackError(f"{pack.id} 的种类是 {pack.kind}，这里应为 dip-catalogue")
    try:
        return build_catalogue(history, desk.checker.library, load_catalogue(pack), threshold)
    except ValueError as error:
        raise PackError(f"不能生成目录：{error}") from error


def catalogue_tables(catalogue: Catalogue) -> dict[str, Rows]:
    """The tables of a ``dip-catalogue`` pack. The same catalogue gives the same rows."""
    tables: dict[str, Rows] = {
        "groups": (GROUP_COLUMNS, ("code",), [row_of_group(group) for group in catalogue.groups]),
        "scores": (
            SCORE_COLUMNS,
            ("code",),
            [
                (
                    code,
                    "" if score.score is None else str(decimal(score.score)),
                    "" if score.mean_cost is None else str(yuan(score.mean_cost)),
                    "" if score.cases is None else str(score.cases),
                )
                for code, score in sorted(catalogue.scores.items())
            ],
        ),
    }
    for name in ("excluded_diagnoses", "excluded_procedures", "resistance_diagnoses"):
        codes = sorted(getattr(catalogue, name))
        if codes:
            tables[name] = (("code",), ("code",), [(code,) for code in codes])
    return tables


def catalogue_fields(
    built: Built, fields: Mapping[str, object], requires: Mapping[str, str]
) -> dict[str, object]:
    """The manifest of a built catalogue: what was given, and how it was made. Raises PackError."""
    report = built.report
    note = (
        f"由 {report.cases} 例历史病例生成（{'、'.join(map(str, report.years))} 年）："
        f"核心病种 {report.core_groups} 个，综合病种 {report.comprehensive_groups} 个；"
        f"全部病例均次费用 {yuan(report.mean_cost)} 元"
    )
    given = {key: value for key, value in fields.items() if value not in (None, "")}
    manifest = {"kind": "dip-catalogue", **given, "note": given.get("note", note), "requires": dict(requires)}
    try:
        checked = Manifest.model_validate({**manifest, "tables": {}})
    except ValueError as error:
        raise PackError(f"数据包的编号、版本、地区或日期不符合要求：{error}") from error
    return checked.model_dump(exclude={"tables"}, exclude_defaults=True)


def write_catalogue(
    store: PackStore, built: Built, fields: Mapping[str, object], out: Path | None, *, base: str = ""
) -> Pack:
    """Write a built catalogue as the pack folder ``out``, or install and use it here. Raises PackError."""
    requires = store.get(base or "dip-national").manifest.requires
    manifest = catalogue_fields(built, fields, requires)
    tables = catalogue_tables(built.catalogue)
    if out is not None:
        if out.exists():
            raise PackError(f"{out}：已经存在，请换一个新文件夹")
        out.parent.mkdir(parents=True, exist_ok=True)
        return write_pack(out, manifest, tables)
    pack_id, version = str(manifest["id"]), str(manifest["version"])
    store.install(pack_id, version, lambda folder: write_pack(folder, manifest, tables))
    return store.activate(pack_id, version)
