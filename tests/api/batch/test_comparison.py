"""What changed between two runs, lists corrected and judged again, payloads ready to be uploaded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy import select, update

from api.batch.comparison import RunComparison, compare_runs, write_workbook
from api.batch.correction import correct, open_list
from api.batch.executors import InProcess
from api.batch.payloads import CLEAN, EVERY, Exported, export_payloads, payload_of, preview_payloads
from api.batch.revalidate import begin_revalidation, run_revalidation
from api.batch.runs import FINDING, RESULT, BatchError, NoRunError, RunView, table
from api.services.check import Checker
from api.store.audit import entries
from api.store.database import StoreError
from api.store.tables import ListVersion
from models.pack import PROJECT_ROOT
from models.settlement_list import Interface
from models.wire import MAX_ROWS, DecodeError, decode
from qc_rules.acceptance import Acceptance
from tests.api.batch.conftest import Body, Command, Site, bodies
from tests.hospital_pack import write_rules

LISTS = 24
AT = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture
def base(site: Site, lists_file: Callable[..., Path]) -> RunView:
    """Lists of which some lack the patient's name and one has a formula for a doctor."""
    made: list[Body] = bodies(LISTS)
    for number, one in enumerate(made):
        stay: Any = one["setlinfo"]
        if number % 6 == 0:
            stay["psn_name"] = ""
    made[1]["setlinfo"]["dscg_caty"] = "=1+1"
    return site.run(lists_file(made))


def again(site: Site, base: RunView, **given: Any) -> RunView:
    run_id = begin_revalidation(site.database, site.settings, base, by="质控科", **given)
    return run_revalidation(site.database, site.settings, run_id, InProcess())


def less(change: float | None) -> float | None:
    return None if change is None else -change


def mirrored(found: RunComparison) -> tuple[Any, ...]:
    return (
        {(one.rule, one.vanished, one.appeared, one.lists) for one in found.rules},
        {
            (one.after, one.before, one.lists, less(one.weight_change), less(one.expected_change_yuan))
            for one in found.groups
        },
        found.totals_after,
        found.totals_before,
        found.changed,
    )


def plain(found: RunComparison) -> tuple[Any, ...]:
    return (
        {(one.rule, one.appeared, one.vanished, one.lists) for one in found.rules},
        {
            (one.before, one.after, one.lists, one.weight_change, one.expected_change_yuan)
            for one in found.groups
        },
        found.totals_before,
        found.totals_after,
        found.changed,
    )


def test_groups_that_moved_are_counted_in_both_directions(site: Site, base: RunView, tmp_path: Path) -> None:
    run = again(site, base, scheme="chs-drg-1.1")
    found = compare_runs(site.database, base.id, run.id)
    assert (found.lists, found.only_before, found.only_after, found.corrected) == (LISTS, 0, 0, 0)
    with site.database.read() as connection:
        chosen = select(RESULT.c.number, RESULT.c.drg)
        rows = [
            {row.number: row.drg for row in connection.execute(chosen.where(RESULT.c.run_id == one))}
            for one in (base.id, run.id)
        ]
    moved = sum(rows[0][number] != rows[1][number] for number in rows[0])
    assert moved == sum(one.lists for one in found.groups) > 0
    assert plain(compare_runs(site.database, run.id, base.id)) == mirrored(found)
    path = tmp_path / "changes.xlsx"
    write_workbook(found, path)
    book = CalamineWorkbook.from_path(path)
    assert book.sheet_names == ["汇总", "规则", "科室", "换组", "清单", "数据包"]
    assert len(book.get_sheet_by_name("换组").to_python()) == 1 + len(found.groups)
    assert any("drg-scheme" in row for row in book.get_sheet_by_name("数据包").to_python())


def test_what_one_side_does_not_know_is_not_taken_for_nothing(
    site: Site, base: RunView, tmp_path: Path
) -> None:
    run = again(site, base, scheme="chs-drg-1.1")
    found = compare_runs(site.database, base.id, run.id)
    was, now = found.totals_before, found.totals_after
    assert was.expected_yuan is not None
    assert was.expected_yuan > 0
    assert (now.weight, now.cmi, now.expected_yuan, now.priced) == (None, None, None, 0)
    assert {one.weight_change for one in found.groups} == {None}
    assert {one.expected_change_yuan for one in found.groups} == {None}
    assert {one.expected_change_yuan for one in found.departments} == {None}
    assert found.groups[0].text == "权重 —，预计支付 —"
    assert found.trial_after == "试算：方案 chs-drg-1.1"
    reason = f"现在（批次 {run.id}）没有适用于方案 chs-drg-1.1 的权重/支付数据包"
    assert f"权重、DRG 预计支付不能比较：{reason}" in found.notes
    path = tmp_path / "changes.xlsx"
    write_workbook(found, path)
    rows = CalamineWorkbook.from_path(path).get_sheet_by_name("汇总").to_python()
    (money,) = [row for row in rows if row[0] == "DRG 预计支付（元）"]
    assert money[1:] == [was.expected_yuan, "—"]
    assert any(reason in str(row[1]) for row in rows if row[0] == "说明")


def test_only_lists_with_a_value_on_both_sides_are_compared(site: Site, base: RunView) -> None:
    run = again(site, base)
    with site.database.begin() as connection:
        own = RESULT.c.run_id == run.id
        row = connection.execute(
            select(RESULT.c.number, RESULT.c.weight, RESULT.c.expected)
            .where(own, RESULT.c.expected.is_not(None), RESULT.c.weight.is_not(None))
            .limit(1)
        ).one()
        connection.execute(
            update(RESULT)
            .where(own, RESULT.c.number == row.number)
            .values(weight=None, expected=None, drg="XX99")
        )
    found = compare_runs(site.database, base.id, run.id)
    assert found.totals_before.expected_yuan == found.totals_after.expected_yuan
    assert found.totals_before.weight == found.totals_after.weight
    assert found.totals_before.priced == found.totals_after.priced > 0
    assert any("只比较两边都有的" in note for note in found.notes)
    (moved,) = found.groups
    assert (moved.lists, moved.weighed, moved.weight_change, moved.expected_change_yuan) == (1, 0, None, None)


def test_the_same_run_twice_has_no_change(site: Site, base: RunView) -> None:
    found = compare_runs(site.database, base.id, again(site, base).id)
    assert (found.changed, found.rules, found.groups, found.changed_lists, found.packs) == (0, (), (), (), ())
    assert found.totals_before == found.totals_after
    with pytest.raises(NoRunError):
        compare_runs(site.database, base.id, 99)


def test_a_list_is_opened_corrected_and_judged(site: Site, base: RunView) -> None:
    checker = Checker.open(site.settings.store(), "99")
    vault = site.job(base.read_options).vault
    opened = open_list(site.database, base.id, "#1")
    assert opened.version == opened.judged == 1
    assert any("姓名" in one.field for one in opened.findings)
    true = bodies(1)[0]["setlinfo"]
    assert true["certno"].encode() not in opened.payload
    body = msgspec.json.decode(opened.payload)
    body["setlinfo"]["psn_name"] = "王小明"
    twice = msgspec.json.encode(body).replace(b'"psn_name":', b'"psn_name":"a","psn_name":', 1)
    with pytest.raises(DecodeError, match=r"“setlinfo\.psn_name”（人员姓名）写了 2 次"):
        correct(site.database, vault, checker, opened.list_key, twice, base=1, who="编码员", at=AT)
    kept = correct(
        site.database,
        vault,
        checker,
        opened.list_key,
        msgspec.json.encode(body),
        base=1,
        who="编码员",
        at=AT,
        why="补姓名",
    )
    assert (kept.version, kept.new) == (2, True)
    assert not any("姓名" in one.field for one in kept.report.findings)
    with pytest.raises(StoreError, match="第 2 版"):
        correct(site.database, vault, checker, opened.list_key, b"{}", base=1, who="编码员", at=AT)
    with pytest.raises(BatchError, match="更正人"):
        correct(site.database, vault, checker, opened.list_key, b"{}", base=2, who=" ", at=AT)
    run = again(site, base)
    found = compare_runs(site.database, base.id, run.id)
    assert found.corrected == found.changed == 1
    assert found.changed_lists[0].corrected
    assert open_list(site.database, run.id, opened.list_id).judged == 2
    for name in ("#999", "#x", "nobody", ""):
        with pytest.raises(BatchError, match="没有清单"):
            open_list(site.database, run.id, name)
    with site.database.read() as connection:
        assert [one.action for one in entries(connection)].count("correct") == 1


def test_payloads_hold_the_true_identity_and_name_what_is_left_out(
    site: Site, base: RunView, tmp_path: Path
) -> None:
    vault = site.job(base.read_options).vault
    opened = open_list(site.database, base.id, "#2")
    body = msgspec.json.decode(opened.payload)
    body["setlinfo"]["psn_name"] = "改了的人"
    checker = Checker.open(site.settings.store(), "99")
    content = msgspec.json.encode(body)
    correct(site.database, vault, checker, opened.list_key, content, base=1, who="编码员", at=AT)
    for interface in ("4101", "4101A"):
        path = tmp_path / f"{interface}.ndjson"
        with path.open("wb") as stream:
            done = export_payloads(
                site.database, vault, base.id, interface, stream, who="编码员", at=AT, verdicts=EVERY
            )
        lines = path.read_bytes().splitlines()
        assert len(lines) == done.written == LISTS - 1
        assert [(one.number, "现在是第 2 版" in one.reason) for one in done.refused] == [(2, True)]
        first = decode(lines[0])
        assert first.interface == interface
        known = (
            None if interface == "4101A" else bodies(1)[0]["setlinfo"]["certno"]
        )  # 4101A has no such field
        assert first.list.stay.certificate_number == known
        assert msgspec.json.decode(lines[0])["infno"] == interface
    with (tmp_path / "clean").open("wb") as stream:
        done = export_payloads(site.database, vault, base.id, "4101", stream, who="编码员", at=AT)
    assert any("结论是“需修改”" in one.reason for one in done.refused)
    with site.database.read() as connection:
        assert [one.action for one in entries(connection)].count("export-payloads") == 3


def test_of_a_list_that_came_twice_the_newest_is_exported(
    site: Site, lists_file: Callable[..., Path], tmp_path: Path
) -> None:
    first, other = bodies(2)
    again = copy.deepcopy(first)
    again["setlinfo"]["psn_name"] = "后来的名字"
    run = site.run(lists_file([first, other, again, again]))
    vault = site.job(run.read_options).vault
    with (tmp_path / "out").open("wb") as stream:
        done = export_payloads(
            site.database, vault, run.id, "4101", stream, who="编码员", at=AT, verdicts=EVERY
        )
    names = [decode(one).list.stay.patient_name for one in (tmp_path / "out").read_bytes().splitlines()]
    assert names == [other["setlinfo"]["psn_name"], "后来的名字"]
    reasons = {one.number: one.reason for one in done.refused}
    assert "重复的只导出最新的一份" in reasons[1]
    assert "重复出现" in reasons[4]


def test_from_the_command_line(
    command: Command, base: RunView, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*given: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = command("batch", *given)
        said = capsys.readouterr()
        return status, said.out, said.err

    opened = tmp_path / "one.json"
    status, out, err = call("open", base.id, "#1", "--out", opened)
    assert (status, "第 1 版" in err, "姓名" in out) == (0, True, True)
    body = msgspec.json.decode(opened.read_bytes())
    body["setlinfo"]["psn_name"] = "王小明"
    opened.write_bytes(msgspec.json.encode(body))
    status, _, err = call("save", base.id, "#1", opened, "--base", 1, "--by", "编码员", "--why", "补姓名")
    assert "存为第 2 版" in err
    assert status in (0, 1)
    opened.write_bytes(b"{nonsense")
    assert call("save", base.id, "#1", opened, "--base", 2, "--by", "编码员")[0] == 2
    status, out, err = call(
        "revalidate", "2026-10", "--scheme", "chs-drg-1.1", "--workers", 0, "--verify", "--by", "质控科"
    )
    assert (status, err.strip().splitlines()[0][:5]) == (0, "批次 2：")
    assert "结果逐项相同" in out
    assert "重新计算" in out
    report = tmp_path / "changes.xlsx"
    assert call("compare", base.id, 2, "--out", report)[0] == 0
    assert report.stat().st_size > 5000
    status, out, _ = call("compare", 2, base.id, "--format", "json")
    assert msgspec.json.decode(out, type=RunComparison).corrected == 1
    assert call("compare", 1, 2, "--out", tmp_path / "changes.pdf")[0] == 2
    assert call("compare", 1, 77)[0] == 2
    payloads = tmp_path / "upload.ndjson"
    status, out, err = call(
        "export", 2, "--out", payloads, "--format", "4101", "--with-errors", "--by", "编码员"
    )
    assert (status, "24 份报文" in out) == (0, True)
    assert payloads.stat().st_mode & 0o077 == 0
    assert call("revalidate", "1999-01")[0] == 2
    assert call("revalidate", base.id, "--rules-pack", tmp_path / "none")[0] == 2
    assert call("revalidate", "x", "--resume", base.id, "--workers", 0)[0] == 2


def test_looking_before_an_export_reads_only_doubtful_lists_and_agrees_with_it(
    site: Site, tmp_path: Path, lists_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = bodies(6)
    lists[1]["setlinfo"]["age"] = "三十"  # cannot be read
    lists[2]["setlinfo"]["brdy"] = "1990/5/3"  # can, though it is written otherwise
    lists[3]["setlinfo"]["medcasno"] = ""
    run = site.run(lists_file(lists))
    vault = site.job(run.read_options).vault
    read: list[bytes] = []

    def payload(content: bytes, interface: Interface) -> bytes | str:
        read.append(content)
        return payload_of(content, interface)

    monkeypatch.setattr("api.batch.payloads.payload_of", payload)
    for verdicts in (CLEAN, EVERY):
        for interface in ("4101", "4101A"):
            read.clear()
            seen = preview_payloads(site.database, vault, run.id, interface, verdicts=verdicts)
            looked = len(read)
            with (tmp_path / "out").open("wb") as stream:
                done = export_payloads(
                    site.database, vault, run.id, interface, stream, who="x", at=AT, verdicts=verdicts
                )
            assert seen == done
            assert looked <= 2 < len(read) - looked
    assert any("不能读取" in one.reason for one in seen.refused)


def test_an_accepted_value_that_cannot_be_read_is_not_counted_as_ready(
    site: Site, lists_file: Callable[..., Path]
) -> None:
    lists = bodies(2)
    lists[1]["setlinfo"]["age"] = "三十"
    first = site.run(lists_file(lists))
    with site.database.read() as connection:
        rules = set(connection.execute(select(FINDING.c.rule).where(FINDING.c.number == 2)).scalars())
    accepted = tuple(
        Acceptance(f"A{number:04}", rule, "张", "核对过", AT, list_id=lists[1]["setlinfo"]["mdtrt_id"])
        for number, rule in enumerate(sorted(rules))
    )
    run = site.run(lists_file(lists), accepted=accepted)
    vault = site.job(first.read_options).vault
    seen = preview_payloads(site.database, vault, run.id, "4101")
    assert (seen.written, [one.number for one in seen.refused]) == (1, [2])
    assert "不能读取" in seen.refused[0].reason


def test_a_list_that_cannot_be_read_is_not_counted_though_its_rules_are_off(
    site: Site, tmp_path: Path, lists_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = PROJECT_ROOT / "qc_rules" / "rules"
    silent = sorted(path.stem for family in ("fmt", "str") for path in (folder / family).glob("*.yaml"))
    off = "".join(f"{rule}: {{status: 'off', reason: 本院不查}}\n" for rule in silent)
    rules = write_rules(tmp_path / "rules", overrides=off)
    lists = bodies(6)
    lists[1]["setlinfo"]["brdy"] = "1990/5/3"  # can be read, though it is written otherwise
    lists[1]["setlinfo"]["act_ipt_days"] = "八天"
    lists[2]["diseinfo"].append("不是一行")
    run = site.run(lists_file(lists), rules_packs=(str(rules),))
    with site.database.read() as connection:
        found = connection.execute(select(FINDING.c.rule)).scalars().all()
        stored = connection.execute(select(table(ListVersion))).all()
    assert found
    assert not set(found) & set(silent)
    vault = site.job(run.read_options).vault

    def judged() -> Exported:
        with (tmp_path / "out").open("wb") as stream:
            done = export_payloads(
                site.database, vault, run.id, "4101", stream, who="x", at=AT, verdicts=EVERY
            )
        assert preview_payloads(site.database, vault, run.id, "4101", verdicts=EVERY) == done
        return done

    first = judged()
    assert [one.number for one in first.refused] == [2, 3]
    assert "“实际住院天数”的值不能读取" in first.refused[0].reason
    # What an earlier edition stored was not counted.
    uncounted = {(row.list_key, row.version): (row.interface, None) for row in stored}
    monkeypatch.setattr("api.batch.payloads.forms", lambda *_: uncounted)
    assert judged() == first


def test_a_list_with_more_rows_than_are_read_is_not_uploaded_without_the_rest() -> None:
    one: Any = bodies(1)[0]
    one["icuinfo"] = [{"foo": 1}] + [{}] * (MAX_ROWS + 1)  # read field by field because of the unknown one
    refusal = payload_of(msgspec.json.encode(one), "4101")
    assert isinstance(refusal, str)
    assert f"共 {MAX_ROWS + 2} 行" in refusal
    assert "不能上传" in refusal
