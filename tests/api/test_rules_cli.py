"""A hospital's own rule pack through the command line: written, checked, installed, seen by every door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.cli import run
from api.settings import Settings
from models.pack import PROJECT_ROOT, PackStore
from tests.api.serving import running

pytestmark = pytest.mark.usefixtures("loaded_once")

OWN_RULE = """\
code: "BYGZ-001"
name: 病案号应以 0 开头
title: 病案号不以 0 开头
severity: warn
basis: {document: 本院病案管理规定, confidence: in use}
why: 本院的病案号都以 0 开头。
when:
  not:
    starts_with: {field: setlinfo.medcasno, prefixes: ["0"]}
message: "“{field}”为“{value}”，不以 0 开头"
advice: 请核对病案号。
deduction: 1
examples:
  fires: [{change: {"setlinfo.medcasno": "7001"}}]
  passes: [{change: {"setlinfo.medcasno": "0701"}}]
"""
OVERRIDES = """\
DIC-025: {severity: error, reason: 本院没有护理院}
CMP-063: {parameters: {occupations: ["27"]}, reason: 只采集农民工的单位}
CMP-062: {status: "off", reason: 本院允许}
"""
MANIFEST = """\
id = "our-rules"
kind = "rules"
name = "本院规则"
publisher = "本院"
document = "本院规定"
version = "1"
[parameters]
[tables]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("QINGDAN_HOME", str(home))
    return home


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A hospital's pack: one rule raised, one with another parameter, one switched off, one added."""
    folder = tmp_path / "pack"
    (folder / "bygz").mkdir(parents=True)
    (folder / "pack.toml").write_text(MANIFEST, encoding="utf-8")
    (folder / "overrides.yaml").write_text(OVERRIDES, encoding="utf-8")
    (folder / "bygz" / "BYGZ-001.yaml").write_text(OWN_RULE, encoding="utf-8")
    return folder


def errors(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def fired(file: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> dict[str, str]:
    run(["check", str(file), "--format", "json"])
    report = json.loads(capsysbinary.readouterr().out)
    return {found["rule"]: found["severity"] for found in report["findings"]}


def test_a_hospital_pack_is_installed_and_seen_by_every_door(
    home: Path,
    pack: Path,
    tmp_path: Path,
    example: dict[str, Any],
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    example["setlinfo"] |= {"dscg_way": "9", "days_rinp_pup_31": "复查", "medcasno": "7", "prfs": "27"}
    example["setlinfo"].pop("emp_name", None)
    file = tmp_path / "list.json"
    file.write_text(json.dumps(example))
    before = fired(file, capsysbinary)
    assert (before["DIC-025"], before["CMP-062"]) == ("warn", "warn")
    assert not before.keys() & {"CMP-063", "BYGZ-001"}

    assert run(["packs", "import", str(pack), "--kind", "rules"]) == 0
    capsysbinary.readouterr()
    expected = {"DIC-025": "error", "CMP-063": "warn", "BYGZ-001": "warn"}
    after = fired(file, capsysbinary)
    assert after == {rule: severity for rule, severity in before.items() if rule != "CMP-062"} | expected
    with running(create_app(Settings(home=home))) as address:
        report = httpx.post(f"{address}/api/v1/check", json=example, timeout=120).json()
        assert {found["rule"]: found["severity"] for found in report["findings"]} == after
        assert "our-rules" in {one["id"] for one in report["packs"]}
        assert httpx.get(f"{address}/api/v1/rules/BYGZ-001", timeout=120).json()["pack"] == "our-rules"
        assert httpx.get(f"{address}/api/v1/rules/CMP-062", timeout=120).json()["runs"] is False


@pytest.mark.usefixtures("home")
def test_a_sound_pack_passes_and_its_examples_run(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "lint", str(pack)]) == 0
    assert run(["rules", "test", str(pack)]) == 0
    printed = capsys.readouterr().out
    assert "没有错误" in printed
    assert "1 条规则，2 个例子，0 处不符" in printed


def test_a_broken_pack_never_replaces_a_working_one(
    home: Path, pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["packs", "import", str(pack)]) == 0
    (pack / "overrides.yaml").write_text("DIC-025: {severity: fatal, reason: 甲}\nXX-001: {reason: 乙}\n")
    rule = pack / "bygz" / "BYGZ-001.yaml"
    rule.write_text(OWN_RULE.replace("setlinfo.medcasno, p", "setlinfo.medcasn, p"))
    capsys.readouterr()
    assert run(["packs", "import", str(pack), "--version", "2"]) == 1
    said = errors(capsys)
    for fragment in (
        "overrides.yaml 第 1 行 DIC-025.severity",
        "overrides.yaml 第 2 行 XX-001",
        "BYGZ-001.yaml 第 9 行 when.not.starts_with.field",
    ):
        assert fragment in said
    assert [one.manifest.version for one in PackStore(site=home / "packs").versions("our-rules")] == ["1"]


@pytest.mark.usefixtures("home")
def test_switching_to_an_older_pack_checks_it_again(
    home: Path, pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["packs", "import", str(pack)])
    run(["packs", "import", str(pack), "--version", "2"])
    old = home / "packs" / "our-rules" / "1" / "overrides.yaml"
    old.write_text("GONE-001: {reason: 全国规则里已没有}\n")
    capsys.readouterr()
    assert run(["packs", "activate", "our-rules", "1"]) == 1
    assert "GONE-001" in errors(capsys)
    assert PackStore(site=home / "packs").get("our-rules").manifest.version == "2"


def test_a_region_may_not_take_a_rule_away_that_the_hospital_changes(
    tmp_path: Path, home: Path, pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["packs", "import", str(pack)])
    above = tmp_path / "above"
    above.mkdir()
    (above / "pack.toml").write_text(MANIFEST.replace("our-rules", "a-region"))
    (above / "bygz").mkdir()
    (above / "bygz" / "BYGZ-001.yaml").write_text(OWN_RULE)
    capsys.readouterr()
    assert run(["packs", "import", str(above)]) == 1
    assert "装入 a-region 后" in errors(capsys)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        ("pack.toml", 'kind = "rules"', 'kind = "drg-scheme"', "pack.toml 第 2 行 kind"),
        ("pack.toml", 'version = "1"', "", "version：缺少这一项"),
        ("pack.toml", 'version = "1"', "version = 1", "pack.toml 第 6 行 version"),
        ("pack.toml", 'id = "our', 'id = "our"', "pack.toml 第 1 行：不是有效的 TOML"),
        (
            "pack.toml",
            "[parameters]",
            "[parameters]\nsame_day = 0",
            "第 8 行 parameters.same_day：没有这个设置",
        ),
        (
            "pack.toml",
            "[parameters]",
            '[parameters]\nsame_day_stay = "x"',
            "parameters.same_day_stay：应与原值",
        ),
        ("pack.toml", "[parameters]", '[parameters]\nmale_o_code = "x"', "规则 SEX-003 不能运行"),
        ("overrides.yaml", "severity: error", "severty: error", "第 1 行 DIC-025.severty：没有这个键"),
        ("overrides.yaml", '["27"]', "27", "第 2 行 CMP-063.parameters.occupations：应与原值"),
        ("overrides.yaml", "reason: 本院允许", "deduction: x", "第 3 行 CMP-062.deduction：应为整数"),
        ("overrides.yaml", '"off"', "off", "第 3 行 CMP-062.status：“False”不在可选值中"),
        (
            "overrides.yaml",
            'status: "off"',
            "effective_from: 2026-02-01, effective_to: 2026-01-01",
            "第 3 行 CMP-062：修改后生效日期",
        ),
        (
            "overrides.yaml",
            "DIC-025",
            "NEO-006: {parameters: {bands: [x]}, reason: 甲}\nDIC-025",
            "NEO-006 不能运行",
        ),
        (
            "overrides.yaml",
            "DIC-025",
            "DX-012: {parameters: {pairs: [x]}, reason: 甲}\nDIC-025",
            "DX-012 不能运行",
        ),
        ("bygz/BYGZ-001.yaml", "{change: {", "{base: nobody, change: {", "examples.fires[0]：例子不能建立"),
        ("bygz/BYGZ-001.yaml", 'prefixes: ["0"]', "prefixes: {a: 1}", "第 9 行"),
        ("bygz/BYGZ-001.yaml", "why: ", "why: 【待填】", "第 6 行 why：还没有填写"),
        ("bygz/BYGZ-001.yaml", "  passes:", "  # passes:", "examples.passes：至少要有一个不触发的例子"),
        ("bygz/BYGZ-001.yaml", "deduction: 1", "deduction: 101", "第 12 行 deduction：不能大于 100"),
    ],
)
def test_a_fault_is_named_by_file_line_and_key(  # noqa: PLR0917 -- pytest gives them by name
    pack: Path, file: str, before: str, after: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pack / file
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    assert run(["rules", "lint", str(pack)]) == 1
    assert said in errors(capsys)


@pytest.mark.usefixtures("home")
def test_files_that_would_not_be_read_are_said(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pack / "bygz" / "BYGZ-002.yml").write_text("x")
    (pack / ".git").mkdir()
    (pack / ".git" / "hidden.yaml").write_text("not: [a rule")
    (pack / "bygz" / "BYGZ-003.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    assert run(["rules", "lint", str(pack), str(tmp_path / "nowhere")]) == 1
    said = errors(capsys)
    assert "BYGZ-002.yml：扩展名应为 .yaml" in said
    assert "不用符号链接" in said
    assert "hidden.yaml" not in said
    assert "qingdan rules new" in said


@pytest.mark.usefixtures("home")
def test_an_example_that_is_not_as_it_says_is_found(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pack / "bygz" / "BYGZ-001.yaml"
    path.write_text(OWN_RULE.replace('"7001"', '"0001"').replace('medcasno": "0701"', 'medcasno": "9"'))
    assert run(["rules", "lint", str(pack)]) == 0
    assert run(["rules", "test", str(pack)]) == 1
    said = errors(capsys)
    assert "BYGZ-001.yaml 第 14 行 examples.fires[0]：没有触发" in said
    assert "BYGZ-001.yaml 第 15 行 examples.passes[0]：不应触发" in said


@pytest.mark.usefixtures("home")
def test_one_rule_is_tried_by_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "test", "--rule", "cmp-062"]) == 0
    assert "qc-rules-national：1 条规则" in capsys.readouterr().out
    assert run(["rules", "test", "--rule", "ZZZ-999"]) == 1
    assert "ZZZ-999" in errors(capsys)


@pytest.mark.usefixtures("home")
def test_a_skeleton_is_sound_and_says_what_to_fill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "hospital-rules"
    new = ["rules", "new", "BYGZ-007", "--name", '病案号"位数": #\\', "--folder", str(folder)]
    assert run(new) == 0
    assert run(["rules", "lint", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "BYGZ-007.yaml 第 5 行 title：待填写" in printed
    assert run(["rules", "test", str(folder)]) == 0
    assert run(["packs", "import", str(folder)]) == 0
    capsys.readouterr()
    written = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run(new) == 1
    assert "已经存在" in errors(capsys)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == written


@pytest.mark.parametrize(
    ("code", "name", "said"),
    [
        ("bygz-1", "名", "规则编号“bygz-1”"),
        ("../X-001", "名", "规则编号"),
        ("BYGZ-001", " ", "名称应为"),
        ("BYGZ-001", "两\n行", "名称应为"),
    ],
)
def test_a_skeleton_of_nothing_is_refused(
    tmp_path: Path, code: str, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rules", "new", code, "--name", name, "--folder", str(tmp_path / "f")]) == 1
    assert said in errors(capsys)
    assert not (tmp_path / "f").exists()


def test_the_installed_rules_are_checked_when_no_folder_is_given(
    home: Path, pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["packs", "import", str(pack)])
    assert run(["rules", "lint"]) == 0
    printed = capsys.readouterr().out
    assert "qc-rules-national" in printed
    assert "our-rules" in printed
    (home / "packs" / "our-rules" / "1" / "overrides.yaml").write_text("DIC-025: {reason: }\n")
    assert run(["rules", "lint"]) == 1
    assert "DIC-025.reason" in errors(capsys)


def test_what_a_pack_would_change_is_shown_on_a_file_of_lists(
    home: Path,
    pack: Path,
    tmp_path: Path,
    example: dict[str, Any],
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    lists = [json.dumps(example)]
    for change in ({"dscg_way": "9"}, {"days_rinp_pup_31": "复查"}, {"medcasno": "7"}):
        changed = {**example, "setlinfo": {**example["setlinfo"], **change}}
        lists.append(json.dumps(changed))
    file = tmp_path / "lists.ndjson"
    file.write_text("\n".join([*lists, "{broken"]))
    compare = ["rules", "diff", "qc-rules-national", str(pack), "--on", str(file)]
    assert run([*compare, "--format", "json"]) == 0
    found = json.loads(capsysbinary.readouterr().out)
    assert (found["lists"], found["unread"]) == (4, 1)
    changes = {one["rule"]: (one["appeared"], one["vanished"], one["reweighed"]) for one in found["rules"]}
    own = changes.pop("BYGZ-001")
    assert own[0] >= 1
    assert changes == {"DIC-025": (0, 0, 1), "CMP-062": (0, 1, 0)}
    assert {(one["line"], one["before"], one["after"]) for one in found["moved"]} >= {(2, "需复核", "需修改")}
    assert run(compare) == 0
    printed = capsysbinary.readouterr().out.decode()
    assert "4 份清单，不能检查 1 份" in printed
    assert "需复核 → 需修改 1 份" in printed
    assert not home.exists() or not (home / "packs" / "our-rules").exists()
    assert run(["rules", "diff", str(pack), str(pack), "--on", str(file)]) == 0
    assert "没有不同" in capsysbinary.readouterr().out.decode()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("before", "file", "said"),
    [("nothing", "x.json", "nothing"), ("qc-rules-national", "absent.json", "absent.json")],
)
def test_a_comparison_that_cannot_be_made_is_one_line(
    before: str, file: str, said: str, list_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = list_file if file == "x.json" else list_file.with_name(file)
    assert run(["rules", "diff", before, "qc-rules-national", "--on", str(path)]) == 2
    error = errors(capsys)
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("home")
def test_the_overrides_shown_in_the_documents_are_sound(pack: Path) -> None:
    page = (PROJECT_ROOT / "docs" / "writing-rules.md").read_text(encoding="utf-8")
    section = page.partition("## 医院自己的规则包")[2]
    (pack / "overrides.yaml").write_text(section.partition("```yaml\n")[2].partition("```")[0])
    assert run(["rules", "lint", str(pack)]) == 0
