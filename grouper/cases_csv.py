"""Group a CSV file of cases: the same rows and columns, with the group filled in."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Protocol

import msgspec

from grouper.compiled import Decision
from grouper.drg import DrgScheme
from grouper.prepare import PreparedCase, ages
from grouper.scheme import NOT_GROUPED
from grouper.texts import MAX_REMEMBERED, Codes, Patient, TextGrouper
from models.grouping import Case
from models.system_errors import reason_of

GROUP_COLUMN = "group"
EXPLANATION_COLUMNS = ("name", "reason")
NUMBER_COLUMNS = ("age", "age_days", "birth_weight", "los", "icu_hours")
TEXT_COLUMNS = ("sex", "discharge_way", "dept")
SEXES = {"男": "1", "女": "2"}
"""The code of a sex that is written in words."""
ENCODINGS = ("utf-8-sig", "gb18030")
"""Tried strictly, one after the other; spreadsheets in Chinese save the second."""
MAX_PATIENTS = 100_000
"""Different patients, codes apart, that are remembered."""


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
    *,
    explained: bool = False,
) -> CaseFileReport:
    """Write the rows of ``in_path`` to ``out_path`` with the column ``group`` filled in.

    Columns: ``dx`` (``|``, principal first), and as far as known ``procedures`` (``|``, main first),
    ``sex``, ``age`` (years), ``age_days``, ``birth_weight`` (g), ``los`` (days), ``discharge_way``,
    ``icu_hours``, ``dept``; others pass through. ``group`` is added at the end when it is missing. A
    row that cannot be read is kept with an empty group and reported. The output appears whole or not
    at all, UTF-8, and may be the input's path. ``explained`` adds the columns ``name`` and ``reason``
    (Chinese) at the end. Raises CaseFileError.
    """
    text = _read(in_path)
    # Without these, no value needs quotes when it is written again.
    plain = '"' not in text and "\r" not in text
    lines = _lines(text)
    reader = csv.reader(lines)
    header = _header(reader, in_path)
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    written_header = header if GROUP_COLUMN in header else [*header, GROUP_COLUMN]
    place, width = written_header.index(GROUP_COLUMN), len(header)
    taken = [name for name in EXPLANATION_COLUMNS if name in header] if explained else []
    if taken:
        raise CaseFileError(f"{in_path}：已有列 {'、'.join(taken)}，不能再添上说明；请先改名")
    writer.writerow([*written_header, *(EXPLANATION_COLUMNS if explained else ())])
    explain = _explainer(scheme, header, diagnosis_edition, procedure_edition) if explained else None
    decide = _row_decider(scheme, header, diagnosis_edition, procedure_edition)
    counts = {"grouped": 0, "ambiguous": 0, "not_grouped": 0}
    faults: list[RowFault] = []
    rows = 0
    for row, fault in _rows(reader, lines, width):
        rows += 1
        group, told = "", ["", ""]
        try:
            if fault:
                raise ValueError(fault)
            decision = decide(row)
        except ValueError as error:
            faults.append(RowFault(reader.line_num, str(error)))
            told = ["", str(error)]
        else:
            told = explain(row) if explain else told
            group = NOT_GROUPED if decision is None else decision.code
            counts["not_grouped" if decision is None else "grouped" if decision.drg else "ambiguous"] += 1
        row[place : place + (place < width)] = [group]
        if explain:
            writer.writerow([*row, *told])
        elif plain and group:
            out.write(",".join(row) + "\n")
        else:
            writer.writerow(row)
    _write(out_path, out.getvalue())
    return CaseFileReport(rows, **counts, faults=tuple(faults))


def _explainer(
    scheme: DrgScheme, header: list[str], diagnosis_edition: str, procedure_edition: str
) -> Callable[[list[str]], list[str]]:
    """What gives the name of a row's group and why it is that one (Chinese)."""
    at = _positions(header)
    to_case = _row_reader(scheme, header, diagnosis_edition, procedure_edition)

    def explain(row: list[str]) -> list[str]:
        cells = [*row, ""]
        codes = Case(
            tuple(cells[at["dx"]].split("|")),
            tuple(cells[at["procedures"]].split("|")),
            diagnosis_edition=diagnosis_edition,
            procedure_edition=procedure_edition,
        )
        found = scheme.group_prepared(msgspec.structs.replace(scheme.prepare(codes), case=to_case(row)))
        return [found.name, found.explanation]

    return explain


class _Reader(Protocol):
    """What ``csv.reader`` gives."""

    @property
    def line_num(self) -> int: ...
    def __next__(self) -> list[str]: ...


def _lines(text: str) -> list[str]:
    """The lines with their ends; only what CSV takes for the end of a line ends one."""
    return io.StringIO(text, newline="").readlines()


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


def _rows(reader: _Reader, lines: list[str], width: int) -> Iterator[tuple[list[str], str]]:
    """Each row with at least ``width`` values, and in Chinese what is wrong with its form."""
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield (
                [lines[reader.line_num - 1].rstrip("\r\n")] + [""] * (width - 1),
                f"不是有效的 CSV 行（{error}）",
            )
            continue
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
    lines = _lines(_read(path))
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


def _patient_reader(scheme: DrgScheme, header: list[str]) -> Callable[[list[str]], Patient]:
    """What reads all of a row but its codes."""
    at = _positions(header)
    read = itemgetter(*(at[name] for name in (*NUMBER_COLUMNS, *TEXT_COLUMNS)))
    years, days, weights, stays, icu_hours = (_Quantities(name) for name in NUMBER_COLUMNS)
    known: dict[tuple[str, ...], Patient] = {}

    def patient(cells: list[str]) -> Patient:
        texts = read(cells)
        found = known.get(texts)
        if found is None:
            age, age_days, weight, stay, icu, sex, way, department = texts
            case = PreparedCase(
                "", (), "", (), *ages(years[age], days[age_days]), weights[weight], stays[stay],
                icu_hours[icu], SEXES.get(sex.strip(), sex.strip()), way.strip(), department.strip(),
            )  # fmt: skip
            found = Patient(case, scheme.compiled.left_by_patient(case))
            if len(known) < MAX_PATIENTS:
                known[texts] = found
        return found

    return patient


def _positions(header: list[str]) -> dict[str, int]:
    """Where each column that grouping reads stands; behind every row where the file lacks it."""
    return {name: header.index(name) if name in header else len(header) for name in _USED_COLUMNS}


def _row_reader(
    scheme: DrgScheme, header: list[str], diagnosis_edition: str, procedure_edition: str
) -> Callable[[list[str]], PreparedCase]:
    """What turns a row into the same prepared case as ``prepare`` makes of it."""
    at = _positions(header)
    dx, procedures = at["dx"], at["procedures"]
    diagnosis_codes = Codes(scheme, "icd10", diagnosis_edition)
    procedure_codes = Codes(scheme, "icd9cm3", procedure_edition)
    patient = _patient_reader(scheme, header)

    def to_case(row: list[str]) -> PreparedCase:
        cells = [*row, ""]
        codes = _each_once([diagnosis_codes[code] for code in cells[dx].split("|")])
        operations = _each_once([procedure_codes[code] for code in cells[procedures].split("|")])
        return msgspec.structs.replace(
            patient(cells).case,
            principal=codes[0],
            others=tuple(codes[1:]),
            main=operations[0],
            other_procedures=tuple(operations[1:]),
        )

    return to_case


def _row_decider(
    scheme: DrgScheme, header: list[str], diagnosis_edition: str, procedure_edition: str
) -> Callable[[list[str]], Decision | None]:
    """What groups a row."""
    if scheme.compiled.counts_codes:
        to_case = _row_reader(scheme, header, diagnosis_edition, procedure_edition)
        return lambda row: scheme.compiled.decide(to_case(row))
    at = _positions(header)
    dx, procedures = at["dx"], at["procedures"]
    patient = _patient_reader(scheme, header)
    texts = TextGrouper(scheme, diagnosis_edition, procedure_edition)

    def decide(row: list[str]) -> Decision | None:
        cells = [*row, ""]
        return texts.decide(cells[dx].split("|"), cells[procedures].split("|"), patient(cells))

    return decide


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
        raise CaseFileError(f"{path}：无法读取（{reason_of(error)}）") from error
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
        raise CaseFileError(f"{path}：无法写入（{reason_of(error)}）") from error
    finally:
        temporary.unlink(missing_ok=True)
