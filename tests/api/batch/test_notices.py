"""What is said of a run beside its results: nothing read, new versions, another month, who took something out."""

from __future__ import annotations

import os
import re
import signal
import stat
from pathlib import Path

import httpx
import pytest

from api.batch.comparison import compare_runs
from api.batch.executors import InProcess
from api.batch.jobs import QUEUE_FILE, UPLOADS, Queue, Upload
from api.batch.notices import notices_of
from api.batch.revalidate import begin_revalidation, run_revalidation
from api.batch.runs import LONGEST_NOTE, MORE_NOTES, MOST_NOTES, BatchError, keep_note, read_run
from api.batch.totals import totals_of
from api.services.month.report.stored import report_of
from api.store import audit
from api.store.lists import corrections, history, import_origin, open_masked, save_version
from api.store.vault import Vault
from models.pack import PROJECT_ROOT
from tests.api.batch.conftest import BROKEN, MONTH, REGION, Command, Site, bodies, write_lists
from tests.api.batch.test_driver import MakeFile
from tests.api.batch.test_faults import PATIENCE, consistent, start, unhurried, until
from tests.api.batch.test_jobs import client, ended, hand_in  # noqa: F401 -- the fixture is found by its name


def test_a_run_that_read_no_list_has_failed_and_says_why(
    site: Site, command: Command, lists_file: MakeFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lists_file([BROKEN, *[b"\0" * 900] * 4])
    run_id = site.new(path, part_size=2)
    with pytest.raises(BatchError, match=r"没有读到任何清单：lists\.ndjson 第 1 行.*等 5 处"):
        site.work(run_id, path)
    run = read_run(site.database, run_id)
    assert (run.state, run.lists, run.rejected) == ("failed", 0, 5)
    assert "没有读到任何清单" in run.message
    assert len(run.message) < 1000
    with pytest.raises(BatchError, match="没有读到任何清单"):
        site.work(run_id, path, InProcess())
    for form in ("ndjson", "parquet", "4101"):
        out = tmp_path / f"out.{form}"
        assert command("batch", "export", run_id, "--format", form, "--out", out) == 2
        assert "不能导出：没有读到任何清单" in capsys.readouterr().err
        assert not out.exists()


@pytest.mark.parametrize(
    ("name", "body"), [("a.ndjson", b"\0" * 5000), ("a.ndjson", b"PK junk\n" * 3), ("a.csv", b"a,b\n1,2\n")]
)
def test_an_upload_of_junk_fails_too(client: httpx.Client, name: str, body: bytes) -> None:  # noqa: F811
    answer = hand_in(client, body, name=name)
    if answer.status_code == 200:
        found = ended(client, answer.json()["id"])
        assert (found["run"]["state"], found["run"]["lists"]) == ("failed", 0)
        assert "没有读到任何清单" in found["run"]["message"]
    else:
        assert answer.status_code == 422
        assert client.get("/api/v1/batches").json() == []


def test_lists_that_came_again_otherwise_and_lists_of_another_month_are_counted(
    site: Site, command: Command, lists_file: MakeFile, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = bodies(6)
    first = site.run(lists_file(lists))
    assert totals_of(site.database, first.id).notices.texts == ()
    for one in lists[:2]:
        one["setlinfo"]["medfee_sumamt"] = 1.0
    again = site.run(lists_file(lists, "again.ndjson"))
    found = totals_of(site.database, again.id).notices
    assert (found.renewed, found.outside_month) == (2, 0)
    assert found.texts == ("2 份与库里已有的就诊相同而内容不同，存为新版本（原版本保留）",)
    assert command("batch", "show", again.id) == 0
    shown = capsys.readouterr().out
    assert found.texts[0] in shown
    assert "\n程序 qingdan " in shown
    assert "数据包 qingdan" not in shown
    assert re.search(r"\n[A-Z]{3}-\d{3}  (错误|警告|提示)  ", shown)
    # The same once more is no new version.
    assert totals_of(site.database, site.run(lists_file(lists)).id).notices.renewed == 0
    other = site.run(lists_file(lists, "other.ndjson"), month="2026-11")
    found = totals_of(site.database, other.id).notices
    assert found.outside_month == 6
    assert "6 份的出院日期不在 2026-11（最早 2026-10-" in found.texts[0]
    with site.database.read() as connection:
        assert notices_of(connection, read_run(site.database, other.id)) == found


def test_a_correction_by_a_person_is_told_from_an_import(site: Site, lists_file: MakeFile) -> None:
    lists = bodies(1)
    first = site.run(lists_file(lists))
    lists[0]["setlinfo"]["medfee_sumamt"] = 1.0
    again = site.run(lists_file(lists, "again.ndjson"))
    vault = Vault.open(site.settings, site.database)
    with site.database.begin() as connection:
        stay = lists[0]["setlinfo"]
        key = f"{stay.get('fixmedins_code', '')}/{stay['mdtrt_id']}"
        _, shown = open_masked(connection, key)
        changed = shown.replace(b'"medfee_sumamt":1.0', b'"medfee_sumamt":2.0')
        assert changed != shown
        save_version(connection, vault, key, changed, base=2, who="编码员", at=again.created_at)
        assert [one.origin for one in history(connection, key)][1] == import_origin(again.id)
        assert corrections(connection, [key]) == {(key, 3)}
    once_more = begin_revalidation(site.database, site.settings, again, by="质控员")
    after = run_revalidation(site.database, site.settings, once_more, InProcess())
    assert compare_runs(site.database, first.id, again.id).corrected == 0
    assert compare_runs(site.database, again.id, after.id).corrected == 1
    assert compare_runs(site.database, after.id, first.id).corrected == 1


def test_ctrl_c_while_the_workers_start_cancels(site: Site, lists_file: MakeFile) -> None:
    run_id = site.new(lists_file(bodies(40)), part_size=5)

    def loading() -> bool:
        """Whether the server that forks the workers is there, or a worker."""
        found = 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                found += (
                    os.getpgid(int(folder.name)) == process.pid
                    and b"forkserver" in (folder / "cmdline").read_bytes()
                )
            except OSError:
                continue
        return found >= 1

    with unhurried(site.database):
        process = start(site.settings, "resume", str(run_id), "--workers", "2", start_new_session=True)
        until(loading, process)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said
    assert "内存不足" not in said
    assert "Traceback" not in said
    stopped = read_run(site.database, run_id)
    assert stopped.state == "cancelled"
    consistent(site.database, stopped)


def test_what_is_uploaded_and_queued_is_the_owners_alone(site: Site) -> None:
    before = os.umask(0)
    try:
        (site.settings.home / UPLOADS).mkdir(mode=0o755)
        (site.settings.home / QUEUE_FILE).touch(mode=0o644)
        upload = Upload(site.settings, "a.ndjson")
        upload.write(b"{}")
        upload.close()
        Queue(site.settings).put(1)
    finally:
        os.umask(before)
    modes = {
        one: stat.S_IMODE(one.stat().st_mode)
        for one in (
            upload.folder.parent,
            upload.folder,
            upload.path,
            *site.settings.home.glob(f"{QUEUE_FILE}*"),
        )
    }
    assert set(modes.values()) == {0o700, 0o600}
    assert all(mode == (0o700 if one.is_dir() else 0o600) for one, mode in modes.items())


def test_what_is_taken_out_is_in_the_audit_log_and_shown_in_chinese(
    site: Site, command: Command, lists_file: MakeFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = site.run(lists_file(bodies(2)))
    given = ["--by", "质控员"]
    for form in ("ndjson", "parquet"):
        out = ["--out", tmp_path / f"a.{form}"]
        assert command("batch", "export", run.id, "--format", form, *out, *given) == 0
    assert command("batch", "open", run.id, "#1", "--out", tmp_path / "1.json", *given) == 0
    with site.database.read() as connection:
        found = [(one.who, one.action) for one in audit.entries(connection, who="质控员")]
    assert found == [("质控员", "open-list"), *[("质控员", "export-results")] * 2]
    capsys.readouterr()
    assert command("db", "audit") == 0
    shown = capsys.readouterr().out
    assert "打开清单（打码）" in shown
    assert "export-results" not in shown


def test_every_action_of_the_audit_log_has_a_label() -> None:
    call = re.compile(r"(?:audit\.record|_note)\(\s*\w+,\s*[\w.]+(?:\(by\))?,\s*\"([a-z-]+)\"")
    written = {
        action
        for path in (PROJECT_ROOT / "api").rglob("*.py")
        for action in call.findall(path.read_text(encoding="utf-8"))
    }
    assert {"reveal", "open-list", "export-results", "batch", "backup"} <= written
    assert written <= set(audit.ACTION_LABELS)


def test_whole_files_that_were_not_read_are_named_apart_from_rows(
    site: Site, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    month, mapping = tmp_path / "month", tmp_path / "own.toml"
    month.mkdir()
    write_lists(month / "a.ndjson", [*bodies(3), BROKEN])
    (month / "b.csv").write_text("x,y\n1,2\n")
    (month / "c.csv").write_text("BAH,JBDM,ZYCS\n1,I10.x00,1\n")
    (month / "d.xlsx").write_bytes(b"PK\x03\x04 cut off")
    mapping.write_text('title = "本院"\n[[diseinfo]]\ndiag_code = "主码"\n')
    asked = ["batch", "run", month, "--month", MONTH, "--region", REGION, "--workers", "0"]
    assert command(*asked, "--mapping", mapping) == 1
    said = capsys.readouterr().out
    assert "清单 4 份，未读取 2 个文件、1 行" in said
    unread = re.search("2 个文件无法读取：(.*)", said)
    assert unread
    assert re.fullmatch(r"month/b\.csv（没有列对照.*）、month/d\.xlsx（.*）", unread[1])
    read_otherwise = "month/c.csv：列对照“本院”对不上这个文件的列"
    assert read_otherwise in said

    run = read_run(site.database, 1)
    assert (run.rejected, run.rejected_files) == (3, 2)
    assert command("batch", "show", "1") == 0
    shown = capsys.readouterr().out
    for text in ("未读取 2 个文件、1 行", unread[0], read_otherwise):
        assert text in shown
    assert command("batch", "list") == 0
    assert "2 个文件、1 行" in capsys.readouterr().out
    content = report_of(site.database, site.settings, "1", with_study=False)
    assert content.origin.rejected_text == "2 个文件、1 行"
    again = begin_revalidation(site.database, site.settings, run, by="甲")
    run = run_revalidation(site.database, site.settings, again, InProcess())
    assert (run.rejected, run.rejected_files) == (3, 2)


def test_notes_of_a_run_are_kept_once_and_not_without_end(site: Site, lists_file: MakeFile) -> None:
    run_id = site.new(lists_file(bodies(1)))
    for number in [0, 0, *range(2 * MOST_NOTES)]:
        keep_note(site.database, run_id, f"文件 {number}\n<b> " + "长" * 1000)
    lines = read_run(site.database, run_id).notes.splitlines()
    assert len(lines) == MOST_NOTES + 1
    assert len(set(lines)) == len(lines)
    assert lines[0].startswith("文件 0 <b> 长")
    assert lines[-1] == MORE_NOTES
    assert max(map(len, lines)) == LONGEST_NOTE


def test_what_looks_across_lists_is_shown_apart(
    site: Site, command: Command, lists_file: MakeFile, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = bodies(2)
    for name in ("psn_no", "certno", "hi_no", "brdy", "gend", "adm_time", "dscg_time", "age"):
        other["setlinfo"][name] = one["setlinfo"].get(name)
    other["setlinfo"]["medcasno"] = ""
    run = site.run(lists_file([one, other]))
    found = totals_of(site.database, run.id)
    assert "CMP-005" in {line.rule for line in found.rules}
    assert "LOG-030" in {line.rule for line in found.across}
    assert not {line.rule for line in found.rules} & {line.rule for line in found.across}
    assert command("batch", "show", run.id) == 0
    own, _, across = capsys.readouterr().out.partition("跨清单线索")
    assert "CMP-005" in own
    assert "LOG-030" not in own
    assert "LOG-030  警告" in across or "LOG-030  错误" in across
