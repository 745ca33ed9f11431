"""Compiled schemes and reference cases that the grouper tests share."""

from __future__ import annotations

import csv
import random
from functools import cache
from pathlib import Path

from coding.library import CodeLibrary, load_library
from grouper.drg import DrgScheme, compile_scheme
from grouper.formula import Comparison, Count, Membership, OneOf, leaves
from grouper.prepare import PreparedCase
from grouper.scheme import COLUMNS, Scheme, Table
from models.grouping import Case
from models.pack import PackStore
from tests.shared import SHARED

SCHEMES = ("chs-drg-2.0", "chs-drg-1.1", "guangxi-2022")


@cache
def library() -> CodeLibrary:
    return load_library(PackStore())


@cache
def scheme(name: str) -> DrgScheme:
    return compile_scheme(PackStore().get(name), library())


@cache
def with_regional_rules(name: str) -> DrgScheme:
    """A shipped scheme with a first MDC, and a first DRG in each ADRG, that ask for regional variables."""
    pack = PackStore().get(name)
    rows: dict[Table, list[dict[str, str]]] = {
        table: [dict(zip(columns, row, strict=True)) for row in pack.records(table, *columns)]
        for table, columns in COLUMNS.items()
    }

    def add(table: Table, *values: str) -> None:
        rows[table].append(dict(zip(COLUMNS[table], values, strict=True)))

    add("mdc", "0", "0", "重症监护", "ICUSC >= 96 and CYKB in {ICU, 'A28'} and ZYZD in {DI_MDCE, DI_MDCF}")
    add("adrg", "0", "0", "0A1", "0A1_1", "多项操作", "surgical", "length(OP_ALL ∩ {ZYSS, QTSS}) >= 2")
    add("adrg", "1", "0", "0A1", "0A1_2", "短住院", "medical", "ZYTS < 5 and LYFS not in {1, 9} and NL >= 1")
    add("drg", "0A1", "1", "0A11", "多项操作", "QTZD in MCC and length(DI_MDCF ∩ QTZD) = 1")
    add("drg", "0A1", "2", "0A19", "其余", "{ZYZD, ZYSS} not in {DI_MDCF, OP_ALL} or CYKB = A28")
    for adrg in dict.fromkeys(row["adrg"] for row in rows["drg"]):
        add("drg", adrg, "0", f"{adrg}7", "五日内死亡或转院", "ZYTS <= 5 and (LYFS = 5 OR LYFS = 2)")
    return compile_scheme(rows)


def read_case(row: dict[str, str]) -> Case:
    """A row of the reference cases."""

    def number(column: str) -> int | None:
        return int(row[column]) if row.get(column) else None

    return Case(
        tuple(row["dx"].split("|")),
        tuple(row["procedures"].split("|")) if row["procedures"] else (),
        row["sex"],
        number("age"),
        number("age_days"),
        number("birth_weight"),
        number("los"),
        row.get("discharge_way", ""),
        number("icu_hours"),
        row.get("dept", ""),
    )


def cases_file(name: str) -> Path:
    return SHARED / "data" / "cases" / f"{name}.csv"


def reference_cases(name: str) -> list[tuple[str, Case, str]]:
    """(case id, case, expected group) of one scheme."""
    with cases_file(name).open(encoding="utf-8", newline="") as handle:
        return [(row["case_id"], read_case(row), row["group"]) for row in csv.DictReader(handle)]


class CaseMaker:
    """Random cases drawn towards one rule after the other, so that every entry is reached."""

    def __init__(self, scheme: Scheme, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - test data, nothing secret
        self.scheme = scheme
        sets = scheme.code_sets.sets
        self.codes = {name: sorted(codes) for name, codes in sets.items() if codes}
        self.diagnoses = sorted({code for name, codes in sets.items() if name[:2] == "DI" for code in codes})
        self.procedures = sorted({code for name, codes in sets.items() if name[:2] == "OP" for code in codes})
        self.complications = sorted(scheme.code_sets.complications)

    def case(self) -> PreparedCase:
        pick = self.random
        places: dict[str, list[str]] = {"ZYZD": [], "QTZD": [], "ZYSS": [], "QTSS": []}
        numbers: dict[str, float] = {}
        texts: dict[str, str] = {}
        adrg = pick.choice(self.scheme.adrgs if pick.random() < 0.9 else self.scheme.adrgs[:2])
        mdc = next(mdc for mdc in self.scheme.mdcs if mdc.code == adrg.mdc)
        drgs = self.scheme.drgs.get(adrg.code, ())
        rules = [adrg.condition, mdc.condition, *([pick.choice(drgs).condition] if drgs else [])]
        for text in rules:
            for leaf in leaves(self.scheme.formulas[text]):
                if isinstance(leaf, Membership | Count):
                    for _ in range(pick.choice((1, 1, 2))):
                        name = pick.choice(leaf.sets)
                        wanted = self.codes.get(name, self.complications)
                        places[pick.choice(leaf.variables)].append(pick.choice(wanted))
                elif isinstance(leaf, Comparison):
                    numbers[leaf.variable] = max(0.0, leaf.number + pick.choice((-1, 0, 0, 1)))
                elif isinstance(leaf, OneOf):
                    texts[leaf.variable] = pick.choice((*leaf.values, "1"))
        for variable, pool in (
            ("QTZD", self.diagnoses),
            ("QTZD", self.complications),
            ("QTSS", self.procedures),
        ):
            places[variable] += pick.choices(pool, k=pick.choice((0, 0, 1, 3)))
        # The first code is that of the ADRG, the narrowest rule; it wins more often than not.
        principal = pick.choice((places["ZYZD"] or self.diagnoses)[: pick.choice((1, 1, 1, None))])
        main = pick.choice(
            (places["ZYSS"] or ["", "", "", pick.choice(self.procedures)])[: pick.choice((1, 1, None))]
        )
        others = {*places["QTZD"], *places["ZYZD"]} - {principal}
        procedures = {*places["QTSS"], *places["ZYSS"]} - {main} if main else set()
        age = numbers.get("NL", pick.choice((0, 0, 3, 40, 80)))
        nan = float("nan")
        return PreparedCase(
            principal if pick.random() < 0.98 else pick.choice(("", "X")),
            tuple(pick.sample(sorted(others), len(others))),
            main,
            tuple(pick.sample(sorted(procedures), len(procedures))),
            pick.choice((age, age, age, nan)),
            numbers.get("XSRTL", pick.choice((5.0, 100.0, nan))) if age == 0 else age * 365,
            numbers.get("XSRTZ", pick.choice((0.0, 1800.0, 3300.0, nan))),
            pick.choice((numbers.get("ZYTS", 9.0), 4.0, nan)),
            pick.choice((numbers.get("ICUSC", 0.0), 97.0, nan)),
            pick.choice((texts.get("XB", "1"), "1", "2", "9", "")),
            pick.choice((texts.get("LYFS", "1"), "1", "2", "05", "")),
            pick.choice((texts.get("CYKB", "ICU"), "ICU", "0300", "")),
        )
