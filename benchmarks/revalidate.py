"""How much of a month is computed again after each kind of change, and what that costs against a full run.

CPU seconds of one process, without workers: ``python -m benchmarks.revalidate [LISTS] [--unverified]``. Each
start reads and compiles the packs of then and of now, which counts here, and matters less the more lists.
"""

from __future__ import annotations

import shutil
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
from models.pack import PackStore
from tests.hospital_pack import RULE, Edit, write_edited, write_rules

REGION = "99"


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
            ("a rule added (any list)", lambda: self._rules("c", rule=RULE)),
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
        folder = write_rules(self.folder / name, rule=rule, overrides=overrides)
        return {"rules_packs": [str(folder)]}

    def _table(self, pack_id: str, table: str, edit: Edit) -> dict[str, object]:
        packs = self.settings.home / "packs"
        write_edited(packs, PackStore().get(pack_id), table, edit)
        self.written = packs / pack_id
        return {}

    def _undo(self) -> None:
        written = getattr(self, "written", None)
        if written is not None and written.exists():
            shutil.rmtree(written)

    def close(self) -> None:
        self.database.dispose()


def _numbers(message: str) -> tuple[int, int, int]:
    """Lists computed again, of these altogether, and rules, as the message of the run says."""
    numbers = [int(text) for text in "".join(c if c.isdigit() else " " for c in message).split()]
    return numbers[0], numbers[1], numbers[3] if "涉及规则" in message else 0


if __name__ == "__main__":
    asked = [one for one in sys.argv[1:] if one.isdigit()]
    main(int(asked[0]) if asked else 5000, "--unverified" not in sys.argv)
