"""Which diagnoses stand beside a procedure in a hospital's own past lists, with support counts."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from api.services.month.ranking import INDICATION
from api.services.month.records import Lead
from qc_rules.facts import Facts

COLUMNS = ("procedure", "diagnosis", "lists")
"""``procedure`` empty: all lists (``diagnosis`` empty too) or all with the diagnosis; ``diagnosis`` empty:
all lists with the procedure."""
LEAST_PROCEDURE = 50
"""Past lists with a procedure from which on the table speaks about it."""
LEAST_PAIR = 3
LIFT = 2.0
"""A diagnosis is an indication when it is this many times as frequent with the procedure as in all lists."""
PROCEDURE_DIGITS = 5
"""The subcategory of ICD-9-CM-3: 36.06."""
MAX_TABLE_BYTES = 64 * 1024 * 1024


class TableError(ValueError):
    """A support table that cannot be used; the message (Chinese) says where and why."""


@dataclass
class Indications:
    """Counts of lists: all, by diagnosis category, by procedure subcategory, and by pair."""

    lists: int = 0
    diagnoses: Counter[str] = field(default_factory=Counter)
    procedures: Counter[str] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, facts: Facts) -> None:
        """Count one past list."""
        diagnoses, procedures = facts.categories, _procedures(facts)
        self.lists += 1
        self.diagnoses.update(diagnoses)
        self.procedures.update(procedures)
        self.pairs.update((procedure, diagnosis) for procedure in procedures for diagnosis in diagnoses)

    def text(self) -> str:
        """The table as CSV, in the order of the codes."""
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerow(("", "", self.lists))
        writer.writerows(("", one, number) for one, number in sorted(self.diagnoses.items()))
        writer.writerows((one, "", number) for one, number in sorted(self.procedures.items()))
        writer.writerows((*pair, number) for pair, number in sorted(self.pairs.items()))
        return out.getvalue()

    @classmethod
    def read(cls, path: Path) -> Indications:
        """Read a table written by ``text``. Raises TableError."""
        try:
            if path.stat().st_size > MAX_TABLE_BYTES:
                raise TableError(f"{path}：超过 {MAX_TABLE_BYTES} 字节，不是适应证支持表")
            rows = list(
                csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True)
            )
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise TableError(f"{path}：不能读取（{error}）") from error
        if not rows or tuple(rows[0]) != COLUMNS:
            raise TableError(f"{path}：第 1 行应为 {','.join(COLUMNS)}；请用 qingdan month-learn 生成")
        found = cls()
        for number, row in enumerate(rows[1:], 2):
            if len(row) != len(COLUMNS) or not (row[2].isascii() and row[2].isdigit() and len(row[2]) < 10):
                raise TableError(f"{path} 第 {number} 行：应为三列，第三列为清单份数")
            procedure, diagnosis, count = row[0], row[1], int(row[2])
            if procedure and diagnosis:
                found.pairs[procedure, diagnosis] = count
            elif procedure:
                found.procedures[procedure] = count
            elif diagnosis:
                found.diagnoses[diagnosis] = count
            else:
                found.lists = count
        return found

    def leads(self, facts: Facts) -> Iterator[Lead]:
        """Procedures of a list none of whose diagnoses is an indication in the past."""
        for procedure in sorted(_procedures(facts)):
            number = self.procedures[procedure]
            if number < LEAST_PROCEDURE:
                continue
            usual = self.usual(procedure)
            if usual and not facts.categories.intersection(usual):
                shown = "、".join(f"{code}（{count} 份）" for code, count in list(usual.items())[:5])
                yield Lead(
                    INDICATION,
                    "手术操作的适应证未列",
                    f"手术操作 {procedure} 在本院过去 {number} 份清单中常见的诊断类目是 {shown}，"
                    "本清单一个也没有；请核对适应证是否漏编、操作是否编错",
                )

    def usual(self, procedure: str) -> dict[str, int]:
        """The indications of a procedure with their support, the best supported first."""
        number = self.procedures[procedure]
        found = [
            (diagnosis, count)
            for diagnosis in self.diagnoses
            if (count := self.pairs[procedure, diagnosis]) >= LEAST_PAIR
            and count * self.lists >= LIFT * number * self.diagnoses[diagnosis]
        ]
        return dict(sorted(found, key=lambda item: (-item[1], item[0])))


def learn(lists: Iterable[Facts]) -> Indications:
    """The table of some past lists."""
    found = Indications()
    for facts in lists:
        found.add(facts)
    return found


def _procedures(facts: Facts) -> frozenset[str]:
    return frozenset(code.code[:PROCEDURE_DIGITS] for code in facts.procedure_codes if code)
