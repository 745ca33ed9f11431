"""The command line: output for people and programs, exit status, errors in one Chinese line."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from python_calamine import CalamineWorkbook

from api.cli import application, run
from api.cli.check import LONG_FILE, Unread
from api.cli.serve import listen
from api.cli.terminal import plain
from api.cli.usage import in_chinese
from api.services.check import Checker
from api.version import program_version
from models.pack import PROJECT_ROOT, PackError
from qc_rules.ruleset import RuleSet

pytestmark = pytest.mark.usefixtures("loaded_once")

COMMAND = [sys.executable, "-c", "from api.cli import main; main()"]


def cli(*arguments: str | Path, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, check=False, stdin=stdin, env=_environment()
    )


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PROJECT_ROOT), "PYTHONWARNINGS": "error"}


@pytest.fixture
def month(tmp_path: Path, example: dict[str, Any]) -> Path:
    """Line 1 clean, 2 empty, 3 broken, 4 without 就诊ID, 5 clean in the envelope."""
    path = tmp_path / "month.ndjson"
    clean = msgspec.json.encode(example)
    faulty = msgspec.json.encode(
        {**example, "setlinfo": {k: v for k, v in example["setlinfo"].items() if k != "mdtrt_id"}}
    )
    enveloped = msgspec.json.encode({"infno": "4101", "input": example})
    path.write_bytes(b"\n".join((clean, b"", b"{broken", faulty, enveloped)) + b"\n")
    return path


def test_a_clean_list_gives_status_0(list_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(list_file)]) == 0
    shown = capsys.readouterr()
    assert "可上传" in shown.out
    assert "GE29" in shown.out
    assert shown.err == ""


def test_people_see_each_list_and_a_summary(month: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(month)]) == 1
    shown = capsys.readouterr().out
    for text in (
        "第 3 行：未读取",
        "需修改",
        "CMP-001",
        "就诊ID",
        "共 3 份：可上传 2，需复核 0，需修改 1，未读取 1 行",
    ):
        assert text in shown


def test_ndjson_has_one_line_a_list_in_input_order(
    month: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run(["check", str(month), "--format", "ndjson"]) == 1
    lines = [msgspec.json.decode(line) for line in capsysbinary.readouterr().out.splitlines()]
    assert [line["line"] for line in lines] == [1, 3, 4, 5]
    assert [line.get("verdict") for line in lines] == ["可上传", None, "需修改", "可上传"]
    assert set(lines[1]) == set(Unread.__struct_fields__)
    assert lines[2]["findings"][0]["path"] == "setlinfo.mdtrt_id"
    assert {line["file"] for line in lines} == {str(month)}


def test_json_is_one_report_for_one_list_and_an_array_for_many(
    list_file: Path, month: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    run(["check", str(list_file), "--format", "json"])
    assert msgspec.json.decode(capsysbinary.readouterr().out)["verdict"] == "可上传"
    run(["check", str(month), "--format", "json"])
    assert len(msgspec.json.decode(capsysbinary.readouterr().out)) == 4
    run(["check", str(list_file), str(list_file), "--format", "json"])
    assert len(msgspec.json.decode(capsysbinary.readouterr().out)) == 2


def test_a_workbook_of_reports(month: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.xlsx"
    assert run(["check", str(month), "--format", "xlsx", "--out", str(out)]) == 1
    book = CalamineWorkbook.from_path(out)
    assert [row[3] for row in book.get_sheet_by_name("汇总").to_python()[1:]] == [
        "可上传",
        "需修改",
        "可上传",
    ]
    assert book.get_sheet_by_name("未读取").to_python()[1][1] == 3
    assert "CMP-001" in {row[3] for row in book.get_sheet_by_name("问题").to_python()[1:]}


def test_the_template_is_checked_like_the_json(tmp_path: Path, list_file: Path) -> None:
    out = tmp_path / "template.xlsx"
    assert run(["template", str(out)]) == 0
    reports = []
    for path in (out, list_file):
        target = tmp_path / "report.ndjson"
        assert run(["check", str(path), "--format", "ndjson", "--out", str(target)]) == 0
        report = msgspec.json.decode(target.read_bytes())
        reports.append({k: v for k, v in report.items() if k not in ("file", "line")})
    assert reports[0] == reports[1]


def test_the_same_input_gives_the_same_bytes(month: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "a.ndjson", tmp_path / "b.ndjson"]
    for out in outs:
        run(["check", str(month), "--format", "ndjson", "--out", str(out)])
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_a_file_that_cannot_be_read_gives_status_2_and_the_others_are_checked(
    list_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", str(tmp_path / "none.json"), str(list_file), str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert "可上传" in shown.out
    assert len(shown.err.splitlines()) == 2
    assert "没有这个文件" in shown.err


@pytest.mark.parametrize(
    ("arguments", "mention"),
    [
        (["chek"], "chek"),
        (["check"], "FILE"),
        (["check", "--nothing"], "--nothing"),
        (["check", "--format", "csv", "x"], "table、json、ndjson、xlsx"),
        (["check", "--format"], "--format"),
        (["check", "--format", "xlsx", "x.json"], "--out"),
        (["check", "x.json", "--region", "四川"], "--region"),
        (["serve", "--port", "x"], "--port"),
        (["serve", "--port", "70000"], "65535"),
        (["serve", "--host", "no.such.host.invalid"], "no.such.host.invalid"),
        (["template", "x.csv"], ".xlsx"),
        (["template", "a.xlsx", "b.xlsx"], "b.xlsx"),
        (["template", "none/x.xlsx"], "没有这个文件夹"),
        (["rules", "nothing"], "nothing"),
    ],
)
def test_a_wrong_command_line_is_one_chinese_line(
    arguments: list[str], mention: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 1
    assert mention in shown.err
    assert any("\u4e00" <= character <= "\u9fff" for character in shown.err)


def test_an_unknown_scheme_is_one_line(list_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(list_file), "--scheme", "no-such"]) == 2
    assert "no-such" in capsys.readouterr().err


def test_a_wrong_setting_names_its_variable(
    list_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QINGDAN_LINE_LIMIT", "many")
    assert run(["check", str(list_file)]) == 2
    assert "QINGDAN_LINE_LIMIT" in capsys.readouterr().err


def test_a_failed_run_leaves_the_old_result_alone(
    list_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.ndjson"
    out.write_text("old")
    assert run(["check", str(list_file), "--scheme", "no-such", "--format", "ndjson", "--out", str(out)]) == 2
    assert out.read_text() == "old"
    assert run(["check", str(list_file), "--out", str(list_file)]) == 2
    assert "输入文件" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.json", "report.ndjson"]


CASES = """case_id,sex,age,dx,procedures,group
1,1,35,K35.800x001|I10.x00x002,47.0100,
2,1,old,K35.800x001,,
3,1,60,I10.x00,,
"""


def test_a_file_of_cases_is_grouped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases, out = tmp_path / "cases.csv", tmp_path / "out.csv"
    cases.write_text(CASES)
    arguments = ["group", "--scheme", "chs-drg-2.0", "--cases", str(cases), "--out", str(out)]
    assert run(arguments) == 1
    shown = capsys.readouterr()
    assert "第 3 行" in shown.err
    assert "3 例：入组 1，歧义组 0，未入组（0000）1，不能读取 1" in shown.out
    groups = [line.rpartition(",")[2] for line in out.read_text().splitlines()]
    assert groups == ["group", "GE29", "", "0000"]
    cases.write_text(CASES.replace("old", "40"))
    assert run(arguments) == 0


@pytest.mark.parametrize(
    ("content", "options", "mention"),
    [
        (b"a,b\n1,2\n", [], "dx"),
        (b"", [], "空"),
        (b"dx\n\xff\xff\n", [], "编码"),
        (b"dx\nA01.000\n", ["--diagnosis-edition", "none-1.0"], "none-1.0"),
        (b"dx\nA01.000\n", ["--scheme", "icd10-nhsa-2.0"], "icd10-nhsa-2.0"),
        (b"dx\nA01.000\n", ["--out", "none/out.csv"], "没有这个文件夹"),
        (b"dx\nA01.000\n", ["--cases", "."], "不是普通文件"),
        (b"dx\nA01.000\n", ["--cases", "none.csv"], "none.csv"),
    ],
)
def test_cases_that_cannot_be_grouped_are_one_line(  # noqa: PLR0917
    content: bytes, options: list[str], mention: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("cases.csv").write_bytes(content)
    given = ["--scheme", "chs-drg-2.0", "--cases", "cases.csv", "--out", "out.csv", *options]
    assert run(["group", *given]) == 2
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1
    assert mention in shown
    assert not Path("out.csv").exists()


def test_rules_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "list", "--family", "CMP"]) == 0
    assert "CMP-001" in capsys.readouterr().out
    assert run(["rules", "show", "cmp-001"]) == 0
    assert "依据：" in capsys.readouterr().out
    assert run(["rules", "show", "XXX-001"]) == 1
    assert "XXX-001" in capsys.readouterr().err
    assert run(["rules", "list", "--family", "XXX"]) == 1


def test_rules_as_json(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["rules", "list", "--format", "json"]) == 0
    codes = [rule["code"] for rule in msgspec.json.decode(capsysbinary.readouterr().out)]
    assert codes == sorted(codes)
    assert run(["rules", "show", "CMP-001", "--format", "json"]) == 0
    assert msgspec.json.decode(capsysbinary.readouterr().out)["code"] == "CMP-001"


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"qingdan {program_version()}\n"


def _commands(command: Any, names: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    below = getattr(command, "commands", {})
    return [names, *(found for name, one in below.items() for found in _commands(one, (*names, name)))]


def test_every_help_text_is_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    import typer  # noqa: PLC0415

    for names in _commands(typer.main.get_command(application())):
        assert run([*names, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "用法" in shown
        for english in ("Usage", "Options", "Arguments", "Commands", "Show this", "default:", "required"):
            assert english not in shown, (names, english)


def test_an_unknown_usage_error_keeps_its_words() -> None:
    assert in_chinese("Something else") == "命令行有误：Something else"


def test_control_characters_do_not_reach_the_screen(
    list_file: Path, example: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    example["setlinfo"]["mdtrt_id"] = "A\x1b[2J\u202e[red]B"
    list_file.write_bytes(msgspec.json.encode(example))
    run(["check", str(list_file)])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]B" in shown
    assert plain("a\tb") == "a�b"


def test_a_list_that_no_pack_holds_for_costs_only_itself(
    month: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    rules_for = Checker.rules_for

    def of_this_year(checker: Checker, on: date | None, region: str = "") -> RuleSet:
        if on is not None and on.year == 1990:
            raise PackError("没有适用于出院日期 1990-01-01 的数据包")
        return rules_for(checker, on, region)

    monkeypatch.setattr(Checker, "rules_for", of_this_year)
    first, rest = month.read_bytes().split(b"\n", 1)
    month.write_bytes(first.replace(b'"2026-01-10 09:00:00"', b'"1990-01-01 09:00:00"') + b"\n" + rest)
    assert run(["check", str(month), "--format", "ndjson"]) == 1
    lines = [msgspec.json.decode(line) for line in capsysbinary.readouterr().out.splitlines()]
    assert "1990-01-01" in lines[0]["error"]
    assert [line.get("verdict") for line in lines] == [None, None, "需修改", "可上传"]


def test_a_long_file_shows_how_far_it_is_only_on_a_terminal(tmp_path: Path, example: dict[str, Any]) -> None:
    path = tmp_path / "month.ndjson"
    line = msgspec.json.encode(example) + b"\n"
    path.write_bytes(line * (LONG_FILE // len(line) + 1))
    controller, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [*COMMAND, "check", str(path), "--format", "ndjson"],
            stdout=subprocess.DEVNULL, stderr=terminal, check=False,
            env={**_environment(), "TERM": "xterm", "COLUMNS": "80"},
        )  # fmt: skip
        os.close(terminal)
        shown = os.read(controller, 65536).decode()
    finally:
        os.close(controller)
    assert done.returncode == 0
    assert "检查" in shown
    assert "%" in shown
    assert cli("check", path, "--format", "ndjson").stderr == b""


def test_output_that_nobody_reads_ends_quietly(tmp_path: Path, example: dict[str, Any]) -> None:
    path = tmp_path / "month.ndjson"
    path.write_bytes((msgspec.json.encode(example) + b"\n") * 2000)
    with subprocess.Popen(
        [*COMMAND, "check", str(path), "--format", "ndjson"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=120) == 1


def test_the_console_script_works_in_a_process_of_its_own(month: Path) -> None:
    done = cli("check", month, "--format", "ndjson")
    assert (done.returncode, done.stderr) == (1, b"")
    assert len(done.stdout.splitlines()) == 4


def test_a_terminal_of_another_encoding_and_a_file_name_that_is_no_text(
    tmp_path: Path, example: dict[str, Any]
) -> None:
    example["setlinfo"]["mdtrt_id"] = "V\u202e😀"
    path = os.fsencode(tmp_path) + b"/\xff\xfe.json"
    Path(os.fsdecode(path)).write_bytes(msgspec.json.encode(example))
    for form in ("table", "ndjson", "json"):
        done = subprocess.run(
            [*COMMAND, "check", os.fsdecode(path), "--format", form],
            capture_output=True, check=False, env={**_environment(), "PYTHONIOENCODING": "gbk"},
        )  # fmt: skip
        assert done.stderr == b""
        assert done.returncode == 0
        assert "可上传".encode("gbk" if form == "table" else "utf-8") in done.stdout


def test_memory_stays_flat_on_a_long_file(tmp_path: Path, example: dict[str, Any]) -> None:
    line = msgspec.json.encode(example) + b"\n"
    peaks = []
    for lists in (100, 3000):
        path = tmp_path / f"{lists}.ndjson"
        path.write_bytes(line * lists)
        # Not getrusage: its peak counts the process that started this one.
        code = (
            "import sys; from pathlib import Path; from api.cli import run; run(sys.argv[1:]);"
            "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0], file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, "check", str(path), "--format", "ndjson", "--out", str(tmp_path / "o")],
            capture_output=True, check=True, env=_environment(),
        )  # fmt: skip
        peaks.append(int(done.stderr))
    assert path.stat().st_size > 9_000_000
    assert peaks[1] - peaks[0] < 6_000  # KiB


def test_a_connection_sends_at_once() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_serve_answers_and_stops_when_told(tmp_path: Path, example: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        busy = cli("serve", "--port", port)
        assert busy.returncode == 2
        assert str(port) in busy.stderr.decode()
    with subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port), "--home", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_environment(),
    ) as process:  # fmt: skip
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(300):
                try:
                    if httpx.get(f"{address}/healthz", timeout=120).status_code == 200:
                        break
                except httpx.ConnectError:
                    time.sleep(0.1)
            answer = httpx.post(f"{address}/api/v1/check", json=example, timeout=120)
            assert answer.json()["verdict"] == "可上传"
            assert httpx.get(address, timeout=120).status_code == 200
        finally:
            process.send_signal(signal.SIGTERM)
            printed = process.communicate(timeout=120)[0].decode()
    assert f"http://127.0.0.1:{port}/" in printed
    assert "/api/v1/check 200" in printed
    assert "示例患者" not in printed
    assert "Traceback" not in printed
