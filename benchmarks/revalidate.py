"""How much of a month is computed again after each kind of change, and what that costs against a full run.

CPU seconds of one process, without workers: ``python -m benchmarks.revalidate [LISTS] [--unverified]``. Each
start reads and compiles the packs of then and of now, which counts here, and matters less the more lists.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from time import process_time

import msgspec

from api.batch.driver import open_job, pinned, run_batch
from api.batch.executors import InProcess
from api.batch.revalidate import begin_revalidation, differences, run_revalidation
from api.batch.runs import RunView, new_run, read_run
from api.batch.work import Options
from api.demo.case_mix import load_case_mix
from api.demo.generator import Generator
from api.demo.month import Month
from api.intake.source import open_source
from api.services.check import Checker
from api.settings import Settings
from api.store.database import Database
from models.pack import PackStore, write_pack

REGION = "99"
Rows = list[list[str]]
PACK = (
    'id = "hospital-own"\nkind = "rules"\nname = "本院规则"\npublisher = "示范医院"\n'
    'document = "本院规定"\nversion = "1"\n\n[tables]\n'
)
NEW_RULE = """code: HOS-001
name: 住院超过五天
title: 住院天数超过五天
severity: warn
basis: {document: 本院规定, confidence: convention}
why: 试一条本院的规则。
when: {compare: [fact.stay_days, ">", 5]}
at: act_ipt_days
message: "住院 {fact.stay_days} 天"
advice: 请核对。
deduction: 1
"""


def main(count: int, verify: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder), count, verify)
        bench.measure()
        bench.close()


class _Bench:
    def __init__(self, folder: Path, count: int, verify: bool) -> None:
        self.folder, self.verify = folder, verify
        self.settings = Settings(home=folder / "home", region=REGION)
        self.database = Database.open(self.settings)
        checker = Checker.open(PackStore(), REGION)
        rules = frozenset(one.rule.code for one in checker.rules.running)
        self.path = folder / "lists.ndjson"
        with self.path.open("wb") as stream:
            for made, _ in Month(Generator(load_case_mix(PackStore()), 3), count, rules):
                stream.write(msgspec.json.encode(made.body) + b"\n")

    def measure(self) -> None:
        """Every kind of change, each from the same base run."""
        self.full()  # compiles what is compiled once
        start = process_time()
        base = self.full()
        whole = process_time() - start
        print(f"{base.lists} lists, full run {whole:.1f} s CPU")
        print(f"{'change':34} {'again':>7} {'whole':>7} {'rules':>6} {'CPU s':>7} {'of full':>8}  verified")
        common = self._common_code()
        kinds: list[tuple[str, Callable[[], dict[str, object]]]] = [
            ("nothing", dict),
            ("a rare rule off", lambda: self._rules("a", overrides="PDX-001: {status: 'off', reason: x}\n")),
            (
                "severity of a frequent rule",
                lambda: self._rules("b", overrides="CMP-017: {severity: info, reason: x}\n"),
            ),
            ("a rule added (any list)", lambda: self._rules("c", rule=NEW_RULE)),
            ("scheme 1.1", lambda: {"scheme": "chs-drg-1.1"}),
            ("payment weights", lambda: self._table("drg-payment-demo", "weights", lambda rows: rows[:-1])),
            (
                "a row of a value domain",
                lambda: self._table("value-domains", "domains", lambda rows: rows[:-1]),
            ),
            (
                "a code turns grey",
                lambda: self._table(
                    "icd10-nhsa-2.0",
                    "codes",
                    lambda rows: [[row[0], row[1], "1"] if row[0] == common else row for row in rows],
                ),
            ),
        ]
        for name, make in kinds:
            given = make()
            start = process_time()
            run_id = begin_revalidation(self.database, self.settings, base, by="x", **given)  # type: ignore[arg-type]
            run = run_revalidation(self.database, self.settings, run_id, InProcess())
            spent = process_time() - start
            wrong = differences(self.database, self.settings, run_id, InProcess()) if self.verify else None
            proof = "not asked" if wrong is None else wrong[:5] or "yes"
            again, parts, rules = _numbers(run.message)
            print(
                f"{name:34} {again:7} {parts:7} {rules:6} {spent:7.2f} {spent / whole:8.1%}  {proof}",
                flush=True,
            )
            self._undo()

    def full(self) -> RunView:
        options = pinned(self.settings, Options(on=date(2026, 11, 1), region=REGION))
        source = open_source(self.path, self.settings)
        run_id = new_run(
            self.database,
            month="2026-10",
            source=str(self.path),
            options=options,
            by="x",
            total_bytes=source.size,
        )
        job = open_job(self.database, self.settings, options)
        run_batch(self.database, run_id, source, job, InProcess())
        return read_run(self.database, run_id)

    def _common_code(self) -> str:
        body = msgspec.json.decode(self.path.open("rb").readline())
        return str(body["diseinfo"][0]["diag_code"])

    def _rules(self, name: str, *, overrides: str = "", rule: str = "") -> dict[str, object]:
        folder = self.folder / name
        (folder / "hos").mkdir(parents=True)
        (folder / "pack.toml").write_text(PACK, encoding="utf-8")
        if overrides:
            (folder / "overrides.yaml").write_text(overrides, encoding="utf-8")
        if rule:
            (folder / "hos" / "HOS-001.yaml").write_text(rule, encoding="utf-8")
        return {"rules_packs": [str(folder)]}

    def _table(self, pack_id: str, table: str, edit: Callable[[Rows], Rows]) -> dict[str, object]:
        pack = PackStore().get(pack_id)
        tables = {}
        for name, entry in pack.manifest.tables.items():
            columns, rows = pack.table(name)
            tables[name] = (columns, entry.key, edit(rows) if name == table else rows)
        given = pack.manifest.model_dump(exclude={"tables"}, exclude_defaults=True)
        self.written = self.settings.home / "packs" / pack_id / "9999"
        self.written.parent.mkdir(parents=True)
        write_pack(self.written, {**given, "version": "9999"}, tables)
        return {}

    def _undo(self) -> None:
        written = getattr(self, "written", None)
        if written is not None and written.exists():
            for path in written.iterdir():
                path.unlink()
            written.rmdir()
            written.parent.rmdir()

    def close(self) -> None:
        self.database.dispose()


def _numbers(message: str) -> tuple[int, int, int]:
    """Lists computed again, of these altogether, and rules, as the message of the run says."""
    numbers = [int(text) for text in "".join(c if c.isdigit() else " " for c in message).split()]
    return numbers[0], numbers[1], numbers[3] if "涉及规则" in message else 0


if __name__ == "__main__":
    asked = [one for one in sys.argv[1:] if one.isdigit()]
    main(int(asked[0]) if asked else 5000, "--unverified" not in sys.argv)
