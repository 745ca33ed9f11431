"""Group a CSV file of cases: the same rows and columns, with the group filled in."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from coding.library import System
from grouper.drg import DrgScheme
from grouper.prepare import PreparedCase, ages, prepare_code
from grouper.scheme import NOT_GROUPED

GROUP_COLUMN = "group"
NUMBER_COLUMNS = ("age", "age_days", "birth_weight", "los", "icu_hours")
TEXT_COLUMNS = ("sex", "discharge_way", "dept")
ENCODINGS = ("utf-8-sig", "gb18030")
"""Tried strictly, one after the other; spreadsheets in Chinese save the second."""
MAX_REMEMBERED = 500_000
"""Different texts of one column that are remembered, so that a hostile file cannot fill the memory."""


class CaseFileError(Exception):
    """The file cannot be grouped at all; the message (Chinese) says why."""


class RowFault(msgspec.Struct, frozen=True):
    """A row that was kept without a group: its line in the file, and why (Chinese)."""

    line: int
    reason: str


class CaseFileReport(msgspec.Struct, frozen=True):
    """How many rows were read, how many got a DRG, a 歧义组 or ``0000``, and the faulty ones."""

    rows: int
    grouped: int
    ambiguous: int
    not_grouped: int
    faults: tuple[RowFault, ...] = ()


def group_cases_csv(
    scheme: DrgScheme,
    in_path: Path,
    out_path: Path,
    diagnosis_edition: str = "",
    procedure_edition: str = "",
) -> CaseFileReport:
    """Write the rows of ``in_path`` to ``out_path`` with the column ``group`` filled in.

    Columns: ``dx`` (``|``, principal first), and as far as known ``procedures`` (``|``, main first),
    ``sex``, ``age`` (years), ``age_days``, ``birth_weight`` (g), ``los`` (days), ``discharge_way``,
    ``icu_hours``, ``dept``; others pass through. ``group`` is added at the end when it is missing. A
    row that cannot be read is kept with an empty group and reported. The output appears whole or not
    at all, UTF-8, and may be the input's path. Raises CaseFileError.
    """
    text = _read(in_path)
    lines = _Lines(text)
    reader = csv.reader(lines)
    header = _header(reader, in_path)
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    written_header = header if GROUP_COLUMN in header else [*header, GROUP_COLUMN]
    place, width = written_header.index(GROUP_COLUMN), len(header)
    writer.writerow(written_header)
    to_case = _row_reader(scheme, header, diagnosis_edition, procedure_edition)
    counts = {"grouped": 0, "ambiguous": 0, "not_grouped": 0}
    faults: list[RowFault] = []
    rows = 0
    for row, fault in _rows(reader, lines, width):
        rows += 1
        group = ""
        try:
            if fault:
                raise ValueError(fault)
            decision = scheme.compiled.decide(to_case(row))
        except ValueError as error:
            faults.append(RowFault(reader.line_num, str(error)))
        else:
            group = NOT_GROUPED if decision is None else decision.code
            counts["not_grouped" if decision is None else "grouped" if decision.drg else "ambiguous"] += 1
        row[place : place + (place < width)] = [group]
        writer.writerow(row)
    _write(out_path, out.getvalue())
    return CaseFileReport(rows, **counts, faults=tuple(faults))


def _header(reader: Iterator[list[str]], path: Path) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise CaseFileError(f"{path}：第一行不是有效的 CSV（{error}）") from error
    if not any(header):
        raise CaseFileError(f"{path}：文件是空的；第一行应为列名，如 case_id,sex,age,dx,procedures")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise CaseFileError(f"{path}：列名重复：{'、'.join(repeated)}")
    if "dx" not in header:
        known = "、".join(header)[:200]
        raise CaseFileError(f"{path}：缺少列 dx（诊断编码，以 | 分隔，主要诊断在前）；现有列：{known}")
    return header


def _rows(reader: Iterator[list[str]], lines: _Lines, width: int) -> Iterator[tuple[list[str], str]]:
    """Each row with at least ``width`` values, and in Chinese what is wrong with its form."""
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield [lines.last.rstrip("\r\n")] + [""] * (width - 1), f"不是有效的 CSV 行（{error}）"
            continue
        if row is None:
            return
        if len(row) == width:
            yield row, ""
        elif row:
            yield row + [""] * (width - len(row)), f"有 {len(row)} 个值，表头有 {width} 列"


def case_rows(
    scheme: DrgScheme, path: Path, diagnosis_edition: str = "", procedure_edition: str = ""
) -> Iterator[tuple[int, PreparedCase | RowFault]]:
    """(line, the prepared case or why there is none) for each row of a file as ``group_cases_csv`` reads it.

    Raises CaseFileError.
    """
    _, rows = rows_with_cases(scheme, path, diagnosis_edition, procedure_edition)
    for line, _, case in rows:
        yield line, case


def rows_with_cases(
    scheme: DrgScheme, path: Path, diagnosis_edition: str = "", procedure_edition: str = ""
) -> tuple[list[str], Iterator[tuple[int, list[str], PreparedCase | RowFault]]]:
    """The names of the columns, and for each row its line, its values and its case or fault.

    Raises CaseFileError.
    """
    lines = _Lines(_read(path))
    reader = csv.reader(lines)
    header = _header(reader, path)
    to_case = _row_reader(scheme, header, diagnosis_edition, procedure_edition)

    def rows() -> Iterator[tuple[int, list[str], PreparedCase | RowFault]]:
        for row, fault in _rows(reader, lines, len(header)):
            line = reader.line_num
            try:
                yield line, row, RowFault(line, fault) if fault else to_case(row)
            except ValueError as error:
                yield line, row, RowFault(line, str(error))

    return header, rows()


class _Lines:
    """The lines of a text; remembers the last one, for rows that the CSV reader refuses."""

    def __init__(self, text: str) -> None:
        self.source = io.StringIO(text, newline="")
        self.last = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.last = next(self.source)
        return self.last


class _Codes(dict[str, str]):
    """What each text of a code column is grouped by, worked out when first met."""

    def __init__(self, scheme: DrgScheme, system: System, edition: str) -> None:
        super().__init__()
        self.scheme, self.system, self.edition = scheme, system, edition

    def __missing__(self, text: str) -> str:
        used: str = prepare_code(text, self.system, self.edition, self.scheme.library)[0]
        if len(self) < MAX_REMEMBERED:
            self[text] = used
        return used


class _Quantities(dict[str, float]):
    """The number in each text of a column, NaN for an empty one. Raises ValueError (Chinese)."""

    def __init__(self, column: str) -> None:
        super().__init__({"": math.nan})
        self.column = column

    def __missing__(self, text: str) -> float:
        if not text.strip():
            return math.nan
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < math.inf:
            raise ValueError(f"{self.column} 应为不小于 0 的数字，实为“{text[:40]}”")
        if len(self) < MAX_REMEMBERED:
            self[text] = value
        return value


def _row_reader(
    scheme: DrgScheme, header: list[str], diagnosis_edition: str, procedure_edition: str
) -> Callable[[list[str]], PreparedCase]:
    """What turns a row into the same prepared case as ``prepare`` makes of it."""
    width = len(header)
    # A column that the file lacks reads the empty value put behind every row.
    positions = {name: header.index(name) if name in header else width for name in _USED_COLUMNS}
    dx, procedures = positions["dx"], positions["procedures"]
    age_at, days_at, weight_at, los_at, icu_at = (positions[name] for name in NUMBER_COLUMNS)
    sex_at, way_at, department_at = (positions[name] for name in TEXT_COLUMNS)
    diagnosis_codes = _Codes(scheme, "icd10", diagnosis_edition)
    procedure_codes = _Codes(scheme, "icd9cm3", procedure_edition)
    years, days, weights, stays, icu_hours = (_Quantities(name) for name in NUMBER_COLUMNS)
    known_ages: dict[tuple[str, str], tuple[float, float]] = {}

    def to_case(row: list[str]) -> PreparedCase:
        cells = [*row, ""]
        codes = [diagnosis_codes[code] for code in cells[dx].split("|")]
        if "" in codes or len(set(codes)) != len(codes):
            codes = _each_once(codes)
        operations = [procedure_codes[code] for code in cells[procedures].split("|")]
        if len(operations) > 1 and ("" in operations or len(set(operations)) != len(operations)):
            operations = _each_once(operations)
        age_texts = cells[age_at], cells[days_at]
        if (both_ages := known_ages.get(age_texts)) is None:
            both_ages = ages(years[age_texts[0]], days[age_texts[1]])
            if len(known_ages) < MAX_REMEMBERED:
                known_ages[age_texts] = both_ages
        return PreparedCase(
            codes[0],
            tuple(codes[1:]),
            operations[0],
            tuple(operations[1:]),
            *both_ages,
            weights[cells[weight_at]],
            stays[cells[los_at]],
            icu_hours[cells[icu_at]],
            cells[sex_at].strip(),
            cells[way_at].strip(),
            cells[department_at].strip(),
        )

    return to_case


_USED_COLUMNS = ("dx", "procedures", *NUMBER_COLUMNS, *TEXT_COLUMNS)


def _each_once(codes: list[str]) -> list[str]:
    """``codes`` without repetitions; behind the first place without empty ones."""
    first, *rest = codes
    seen = dict.fromkeys(rest)
    seen.pop(first, None)
    seen.pop("", None)
    return [first, *seen]


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CaseFileError(f"{path}：无法读取（{error.strerror}）") from error
    for encoding in ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CaseFileError(f"{path}：既不是 UTF-8 也不是 GB18030 编码；请另存为 CSV UTF-8")


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(text.encode("utf-8", "replace"))
        temporary.replace(path)
    except OSError as error:
        raise CaseFileError(f"{path}：无法写入（{error.strerror}）") from error
    finally:
        temporary.unlink(missing_ok=True)
