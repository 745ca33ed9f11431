"""``qingdan packs``: the whole way of a region's own pack, and that a bad one changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.cli.packs import packs_app
from api.services.packs import KINDS
from models.pack import MANIFEST_NAME, PROJECT_ROOT, PackStore

HEADER = "drg,weight,average_fee,standard\n"
WEIGHTS = HEADER + "AA19,26.7,171690.92,\nAB19,31.5,,\n"
FIELDS = [
    "--kind=drg-payment",
    "--id=city-2025",
    "--name=某市权重",
    "--publisher=某市医疗保障局",
    "--document=某市文件",
    "--region=4403",
    "--from=2025-01-01",
    "--requires=drg-scheme=chs-drg-2.0",
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def packs(home: Path, *given: str | Path) -> Result:
    return CliRunner().invoke(packs_app, [*map(str, given), "--home", str(home)], catch_exceptions=False)


def bring(home: Path, text: str, version: str, *more: str) -> Result:
    source = home.parent / "weights.csv"
    source.write_text(text, encoding="utf-8")
    return packs(home, "import", source, *FIELDS, f"--version={version}", *more)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_list_shows_every_shipped_pack(home: Path) -> None:
    result = packs(home, "list")
    assert result.exit_code == 0
    for pack in PackStore().all():
        assert pack.id in result.stdout


def test_show_names_source_tables_and_hashes(home: Path) -> None:
    result = packs(home, "show", "chs-drg-2.0")
    assert "国家医疗保障局" in result.stdout
    assert "sets：101944 行" in result.stdout
    assert "icd9cm3：icd9cm3-nhsa-2.0" in result.stdout


def test_an_unknown_pack_is_an_error_that_names_the_known_ones(home: Path) -> None:
    for command in ("show", "verify", "diff"):
        result = packs(home, command, "../../etc")
        assert result.exit_code == 1
        assert "chs-drg-2.0" in result.stderr


def test_a_region_brings_its_own_weights(home: Path) -> None:
    result = bring(home, WEIGHTS, "2025")
    assert result.exit_code == 0, result.stderr
    assert "已导入 city-2025 2025并启用" in result.stdout
    store = PackStore(site=home / "packs")
    assert store.pack_for("drg-payment", "440305").id == "city-2025"
    assert store.get("city-2025").records("weights", "drg", "weight") == [("AA19", "26.7"), ("AB19", "31.5")]
    assert "city-2025" in packs(home, "list").stdout
    assert packs(home, "verify").exit_code == 0


def test_a_second_version_is_compared_waits_and_is_switched_to(home: Path) -> None:
    bring(home, WEIGHTS, "1")
    changed = HEADER + "AA19,27.0,171690.92,\nAC19,9,,\n"
    result = bring(home, changed, "2", "--no-activate")
    assert "weights：2 → 2 行，新增 1，删除 1，修改 1" in result.stdout
    for line in ("+ AC19", "- AB19", "~ AA19：weight 26.7 → 27.0"):
        assert line in result.stdout
    assert PackStore(site=home / "packs").get("city-2025").manifest.version == "1"
    assert packs(home, "diff", "city-2025").stdout in result.stdout
    assert "~ AA19：weight 27.0 → 26.7" in packs(home, "diff", "city-2025", "2", "1").stdout
    assert packs(home, "activate", "city-2025", "2").exit_code == 0
    assert PackStore(site=home / "packs").get("city-2025").manifest.version == "2"


def test_a_broken_table_changes_nothing_and_every_fault_is_printed(home: Path) -> None:
    bring(home, WEIGHTS, "1")
    before = snapshot(home)
    result = bring(home, HEADER + "AA19,x,,\nAA19,1,,\nAB19\n", "2")
    assert result.exit_code == 1
    assert "发现 3 处错误" in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("weights.csv 第")]) == 3
    assert snapshot(home) == before


def test_the_same_version_is_not_overwritten(home: Path) -> None:
    bring(home, WEIGHTS, "1")
    before = snapshot(home)
    result = bring(home, HEADER + "AA19,1,,\n", "1")
    assert result.exit_code == 1
    assert "换一个版本号" in result.stderr
    assert snapshot(home) == before


def test_a_home_that_cannot_be_written_is_said(home: Path) -> None:
    home.write_text("a file")
    result = bring(home, WEIGHTS, "1")
    assert result.exit_code == 1
    assert "无法写入本院数据包目录" in result.stderr


def test_a_dry_run_writes_nothing(home: Path) -> None:
    result = bring(home, WEIGHTS, "1", "--dry-run")
    assert "检查通过，未写入" in result.stdout
    assert not home.exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--from=2025/01/01", "应写成 2025-01-01"),
        ("--requires=chs-drg-2.0", "种类=编号"),
        ("--version=", "缺少 version"),
        ("--id=../x", "id “../x”不符合要求"),
        ("--id=chs-drg-1.1", "已用于种类 drg-scheme"),
        ("--name=\udcff", "name “\\udcff”不符合要求"),
        ("--out=/dev/null/x", "/dev/null"),
    ],
)
def test_a_wrong_option_is_said(home: Path, option: str, message: str) -> None:
    result = bring(home, WEIGHTS, "1", option)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not home.exists()


def test_a_pack_is_written_to_a_folder_and_imported_from_it(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "for-others" / "city"
    assert bring(home, WEIGHTS, "1", f"--out={folder}").exit_code == 0
    assert (folder / MANIFEST_NAME).is_file()
    assert "已经存在" in bring(home, WEIGHTS, "1", f"--out={folder}").stderr
    assert packs(home, "import", folder).exit_code == 0
    assert PackStore(site=home / "packs").get("city-2025").manifest.region == "4403"
    (folder / "weights.csv").write_text(WEIGHTS + "AC19,1,,\n")
    assert "sha256" in packs(home, "import", folder, "--version=2").stderr


def test_verify_finds_a_changed_table_and_a_broken_pack(home: Path) -> None:
    bring(home, WEIGHTS, "1")
    (home / "packs" / "city-2025" / "1" / "weights.csv").write_text(HEADER)
    (home / "packs" / "city-2025" / "2").mkdir()
    result = packs(home, "verify")
    assert result.exit_code == 1
    assert "sha256" in result.stderr
    assert "无法读取数据包清单" in result.stderr
    assert "损坏，未使用" in packs(home, "list").stderr


def test_the_page_on_packs_names_every_kind_table_and_column() -> None:
    page = (PROJECT_ROOT / "docs" / "packs.md").read_text(encoding="utf-8")
    for spec in KINDS.values():
        assert f"`{spec.kind}`" in page
        for table in spec.tables:
            assert f"`{table.name}.csv`" in page
            for column in table.column_names:
                assert f"`{column}`" in page, (spec.kind, table.name, column)


def test_a_folder_that_is_not_there_is_said(home: Path) -> None:
    result = packs(home, "import", home / "nowhere", *FIELDS, "--version=1")
    assert result.exit_code == 1
    assert "没有这个文件夹" in result.stderr


def test_what_is_missing_names_its_option(home: Path, tmp_path: Path) -> None:
    (tmp_path / "scheme").mkdir()
    result = packs(home, "import", tmp_path / "scheme", "--kind=drg-scheme", "--id=my-city")
    assert result.exit_code == 1
    for option in ("--name", "--publisher", "--document", "--version"):
        assert option in result.stderr


def test_options_complete_a_manifest(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "weights.csv").write_text(WEIGHTS, encoding="utf-8")
    (folder / MANIFEST_NAME).write_text('name = "某市"\n', encoding="utf-8")
    refused = packs(home, "import", folder, "--id=city-2025")
    assert "缺少 publisher" in refused.stderr
    assert "required" not in refused.stderr
    result = packs(home, "import", folder, *FIELDS, "--version=1")
    assert result.exit_code == 0, result.stderr
    assert "已导入 city-2025 1" in result.stdout
    assert "重启后才使用新的版本" in result.stdout


def test_the_national_rules_are_listed_and_shown(home: Path) -> None:
    listed = packs(home, "list").stdout
    assert "qc-rules-national" in listed
    assert "使用中" in next(line for line in listed.splitlines() if "qc-rules-national" in line)
    assert "种类：rules" in packs(home, "show", "qc-rules-national").stdout
