"""Packs: shipped ones are whole, broken ones stand aside, an interrupted import changes nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.pack import (
    ACTIVE_NAME,
    MANIFEST_NAME,
    PROJECT_ROOT,
    UNFINISHED,
    Pack,
    PackError,
    PackStore,
    write_pack,
)
from models.pack_diff import Rows, diff_tables, pack_tables

STORE = PackStore()


def fields(version: str, pack_id: str, note: str) -> dict[str, object]:
    return {
        "id": pack_id,
        "kind": "sample",
        "name": "样例",
        "publisher": "某市医疗保障局",
        "document": "样例文件",
        "version": version,
        "note": note,
    }


def write(
    folder: Path,
    rows: Sequence[Sequence[str]] = (("1", "甲"),),
    *,
    version: str = "1",
    pack_id: str = "town",
    note: str = "",
) -> Pack:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return write_pack(folder, fields(version, pack_id, note), {"words": (("code", "name"), ("code",), rows)})


@pytest.fixture
def store(tmp_path: Path) -> PackStore:
    (tmp_path / "shipped").mkdir()
    return PackStore(tmp_path / "shipped", tmp_path / "site")


def install(store: PackStore, version: str, pack_id: str = "town") -> Pack:
    return store.install(pack_id, version, lambda folder: write(folder, version=version, pack_id=pack_id))


@pytest.mark.parametrize("pack", STORE.all(), ids=lambda pack: pack.id)
def test_a_shipped_pack_agrees_with_its_manifest(pack: Pack) -> None:
    assert pack.verify() == []
    for name, entry in pack.manifest.tables.items():
        assert set(entry.key) <= set(pack.columns(name))
    for kind, required in pack.manifest.requires.items():
        assert STORE.get(required).kind == kind


def test_every_kind_that_a_check_needs_is_shipped_and_nothing_is_broken() -> None:
    kinds = {pack.kind for pack in STORE.all()}
    assert kinds >= {"icd10", "icd9cm3", "drg-scheme", "drg-payment", "value-domains", "sex-restricted"}
    assert STORE.broken == ()


@pytest.mark.parametrize(
    ("region", "day", "expected"),
    [
        ("", date(2025, 1, 1), "chs-drg-2.0"),
        ("", date(2024, 12, 31), "chs-drg-1.1"),
        ("4509", date(2025, 6, 1), "guangxi-2022"),
        ("450900", date(2022, 1, 1), "guangxi-2022"),
        ("450900", date(2021, 12, 31), "chs-drg-1.1"),
        ("510100", date(2025, 6, 1), "chs-drg-2.0"),
    ],
)
def test_the_scheme_follows_region_and_discharge_date(region: str, day: date, expected: str) -> None:
    assert STORE.pack_for("drg-scheme", region, day).id == expected


def test_no_scheme_holds_before_the_first_one() -> None:
    with pytest.raises(PackError, match="2021-04-30"):
        STORE.pack_for("drg-scheme", "", date(2021, 4, 30))


def test_a_changed_table_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(STORE.get("liaocheng-2025").folder, folder)
    table = folder / "weights.csv"
    table.write_text(table.read_text().replace("AB19,32.3123", "AB19,92.3123"))
    (fault,) = Pack.load(folder).verify()
    assert "weights.csv" in fault
    assert "sha256" in fault


def test_a_missing_table_is_found(tmp_path: Path) -> None:
    pack = write(tmp_path / "town")
    pack.table_path("words").unlink()
    assert len(pack.verify()) == 1
    with pytest.raises(PackError, match="无法读取"):
        pack.rows("words")


def test_a_changed_table_is_not_used(tmp_path: Path) -> None:
    pack = write(tmp_path / "town")
    pack.table_path("words").write_text("code,name\n1,乙\n")
    for read in (pack.rows, pack.columns, pack.records):
        with pytest.raises(PackError, match="sha256"):
            read("words")


def test_the_manifest_counts_rows(tmp_path: Path) -> None:
    folder = write(tmp_path / "town").folder
    path = folder / MANIFEST_NAME
    path.write_text(path.read_text().replace("rows = 1", "rows = 2"))
    (fault,) = Pack.load(folder).verify()
    assert "清单写 2 行，实有 1 行" in fault


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('id = "town"', 'id = "../town"'),
        ('id = "town"', 'id = "/etc"'),
        ('version = "1"', 'version = "../../1"'),
        ('file = "words.csv"', 'file = "../words.csv"'),
        ('file = "words.csv"', 'file = "/etc/passwd"'),
        ('kind = "sample"', 'kind = "sample"\nunknown = 1'),
        ('kind = "sample"', "kind = "),
    ],
)
def test_a_manifest_that_lies_is_refused(tmp_path: Path, before: str, after: str) -> None:
    folder = write(tmp_path / "town").folder
    path = folder / MANIFEST_NAME
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(PackError, match=r"pack\.toml"):
        Pack.load(folder)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"=", b"x" * 2_000_000, b"\x00", b""])
def test_a_site_pack_that_cannot_be_read_is_reported_and_the_others_work(
    store: PackStore, content: bytes
) -> None:
    install(store, "1")
    store.activate("town", "1")
    assert store.site is not None
    broken = store.site / "other" / "1"
    broken.mkdir(parents=True)
    (broken / MANIFEST_NAME).write_bytes(content)
    again = PackStore(store.shipped, store.site)
    assert [one.folder for one in again.broken] == [broken]
    assert again.get("town").manifest.version == "1"
    with pytest.raises(PackError, match="损坏"):
        again.get("other")


def test_a_broken_version_in_use_is_not_replaced_silently(store: PackStore) -> None:
    for version in ("1", "2"):
        install(store, version)
    store.activate("town", "2")
    (store.get("town", "2").folder / MANIFEST_NAME).write_text("=")
    again = PackStore(store.shipped, store.site)
    with pytest.raises(PackError, match="没有版本 2"):
        again.get("town")
    with pytest.raises(PackError, match="没有版本 2"):
        again.pack_for("sample")
    assert again.activate("town", "1").manifest.version == "1"
    assert again.pack_for("sample").manifest.version == "1"


def test_a_pack_in_the_wrong_place_is_not_used(store: PackStore) -> None:
    assert store.site is not None
    write(store.site / "city" / "1", pack_id="town")
    store.reload()
    assert store.all() == []
    assert "应放在" in store.broken[0].faults[0]


def test_an_id_and_version_stand_once(store: PackStore) -> None:
    write(store.shipped / "town")
    store.reload()
    with pytest.raises(PackError, match="已经安装"):
        install(store, "1")
    assert store.site is not None
    write(store.site / "town" / "1", rows=(("1", "乙"),))
    store.reload()
    assert store.get("town").folder == store.shipped / "town"
    assert "重复" in store.broken[0].faults[0]


def test_versions_are_ordered_as_numbers(store: PackStore) -> None:
    for version in ("2.10", "2.9", "2.9-1"):
        write(store.shipped / version, version=version)
    store.reload()
    assert [pack.manifest.version for pack in store.versions("town")] == ["2.9", "2.9-1", "2.10"]


def test_an_installed_version_waits_until_it_is_activated(store: PackStore) -> None:
    install(store, "1")
    with pytest.raises(PackError, match="尚未启用"):
        store.get("town")
    with pytest.raises(PackError, match="没有适用于"):
        store.pack_for("sample")
    store.activate("town", "1")
    install(store, "2")
    assert store.get("town").manifest.version == "1"
    store.activate("town", "2")
    assert PackStore(store.shipped, store.site).get("town").manifest.version == "2"


def test_a_new_version_does_not_displace_a_shipped_one_before_it_is_activated(store: PackStore) -> None:
    write(store.shipped / "town")
    store.reload()
    install(store, "2")
    assert store.get("town").manifest.version == "1"
    assert store.is_active(store.get("town", "1"))
    assert not store.is_active(store.get("town", "2"))


def test_a_damaged_version_is_not_activated(store: PackStore) -> None:
    for version in ("1", "2"):
        install(store, version)
    store.activate("town", "1")
    store.get("town", "2").table_path("words").write_text("code,name\n1,改\n")
    with pytest.raises(PackError, match="sha256"):
        store.activate("town", "2")
    assert PackStore(store.shipped, store.site).get("town").manifest.version == "1"


def test_two_stores_of_one_site_do_not_undo_each_other(store: PackStore) -> None:
    other = PackStore(store.shipped, store.site)
    install(store, "1")
    store.activate("town", "1")
    install(other, "1", pack_id="city")
    other.activate("city", "1")
    again = PackStore(store.shipped, store.site)
    assert [pack.id for pack in again.active("sample")] == ["city", "town"]


def test_an_unreadable_list_of_active_versions_is_said(store: PackStore) -> None:
    install(store, "1")
    assert store.site is not None
    (store.site / ACTIVE_NAME).write_text("= = =")
    with pytest.raises(PackError, match=r"active\.toml"):
        PackStore(store.shipped, store.site)


def test_without_a_site_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="QINGDAN_HOME"):
        install(PackStore(tmp_path), "1")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing(store: PackStore) -> None:
    def fail(folder: Path) -> Pack:
        folder.mkdir()
        (folder / "half.csv").write_text("code")
        raise PackError("磁盘已满")

    with pytest.raises(PackError, match="磁盘已满"):
        store.install("town", "1", fail)
    assert store.site is not None
    assert [path.name for path in store.site.iterdir()] == [".lock"]


KILLED = """
import os, signal, sys
from pathlib import Path
import models.pack as pack

left = int(sys.argv[3])
def mortal(name):
    real = getattr(pack, name)
    def call(*given):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given)
    setattr(pack, name, call)
mortal("_write_flushed")
mortal("_flush_folder")
store = pack.PackStore(Path(sys.argv[1]), Path(sys.argv[2]))
fields = {"id": "town", "kind": "sample", "name": "n", "publisher": "p", "document": "d", "version": "2"}
store.install("town", "2", lambda folder: pack.write_pack(folder, fields, {"words": (("code",), ("code",), [["9"]])}))
store.activate("town", "2")
"""


def run_and_kill(store: PackStore, step: int) -> int:
    given = [sys.executable, "-c", KILLED, str(store.shipped), str(store.site), str(step)]
    return subprocess.run(given, cwd=PROJECT_ROOT, check=False, timeout=120).returncode


def test_a_killed_import_leaves_the_old_version_in_use(store: PackStore) -> None:
    write(store.shipped / "town")
    store.reload()
    kills = 0
    while (code := run_and_kill(store, kills)) == -9:
        again = PackStore(store.shipped, store.site)
        # The last write that can be cut off makes the rename durable: by then version 2 is in use, whole.
        version = again.get("town").manifest.version
        assert again.get("town").verify() == []
        assert again.broken == ()
        assert version == "1" or again.get("town").records("words", "code") == [("9",)]
        assert store.site is not None
        shutil.rmtree(store.site / "town", ignore_errors=True)
        (store.site / ACTIVE_NAME).unlink(missing_ok=True)
        kills += 1
    assert code == 0
    assert kills == 7, "table, manifest, pinning (2), rename, activating (2)"
    assert PackStore(store.shipped, store.site).get("town").manifest.version == "2"
    assert store.site is not None
    assert not list(store.site.glob(f"{UNFINISHED}*"))


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8)
ROWS = st.dictionaries(st.text("abc", max_size=2), CELL, max_size=6)


@given(rows=st.lists(st.tuples(CELL, CELL), max_size=6), note=CELL)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], note: str
) -> None:
    folder = tmp_path_factory.mktemp("packs")
    pack = write(folder / "a", rows, note=note)
    assert pack.records("words", "code", "name") == rows
    assert pack.rows("words") == [{"code": code, "name": name} for code, name in rows]
    assert pack.manifest.note == note
    assert pack.verify() == []
    assert write(folder / "b", rows, note=note).sha256 == pack.sha256


def test_a_carriage_return_is_refused_before_it_spoils_a_table(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="回车符"):
        write(tmp_path / "town", [("1", "a\rb")])
    assert not (tmp_path / "town" / "words.csv").exists()


@given(before=ROWS, after=ROWS)
def test_a_diff_names_each_row_that_came_went_or_changed(
    before: dict[str, str], after: dict[str, str]
) -> None:
    def table(
        rows: dict[str, str],
    ) -> dict[str, Rows]:
        return {"words": (("code", "name"), ("code",), list(rows.items()))}

    (diff,) = diff_tables(table(before), table(after))
    assert {key for (key,) in diff.added} == after.keys() - before.keys()
    assert {key for (key,) in diff.removed} == before.keys() - after.keys()
    assert {change.key[0]: change.values[0] for change in diff.changed} == {
        key: ("name", before[key], after[key])
        for key in before.keys() & after.keys()
        if before[key] != after[key]
    }
    assert diff.same == (before == after)


def test_a_table_or_column_that_came_or_went_is_in_the_diff() -> None:
    before: dict[str, Rows] = {
        "a": (("code", "old"), ("code",), [("1", "x")]),
        "gone": (("code",), ("code",), [("1",)]),
    }
    after: dict[str, Rows] = {"a": (("code", "new"), ("code",), [("1", "y")])}
    first, second = diff_tables(before, after)
    assert first.changed[0].values == (("new", "", "y"), ("old", "x", ""))
    assert (second.table, second.removed) == ("gone", (("1",),))


def test_a_pack_does_not_differ_from_itself() -> None:
    tables = pack_tables(STORE.get("value-domains"))
    assert all(table.same for table in diff_tables(tables, tables))
