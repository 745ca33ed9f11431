"""Accepted codings in the store: in order, apart by system, and taken over once from the file of before."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.settings import Settings
from api.store.codings import StoredCodings
from api.store.database import FILE_NAME, Database
from coding.suggestion.assembly import Coding
from coding.suggestion.model import ModelError

ONE = Coding("老慢支", (("J42.x00", "慢性支气管炎"),), "呼吸科", "2026-03-01T09:00:00+00:00", "c07")
TWO = Coding("高血压病3级\0", (("I10.x05", ""), ("I10.x06", "甲")), "", "2026-03-02", "")


@pytest.fixture
def codings(database: Database, store_settings: Settings) -> StoredCodings:
    return StoredCodings.of(store_settings)


def test_they_come_back_in_order_and_apart(codings: StoredCodings, store_settings: Settings) -> None:
    for one in (ONE, TWO, ONE):
        codings.append("icd10", one)
    codings.append("icd9cm3", ONE)
    again = StoredCodings.of(store_settings)
    assert [one.text for one in again.all("icd10")] == ["老慢支", "高血压病3级\ufffd", "老慢支"]
    assert again.all("icd10")[0] == ONE
    assert again.all("icd10")[1].chosen == TWO.chosen
    assert again.all("icd9cm3") == [ONE]
    assert again.keeps


def test_the_old_file_is_taken_over_once(codings: StoredCodings, store_settings: Settings) -> None:
    path = store_settings.home / "codings" / "icd10.jsonl"
    path.parent.mkdir(parents=True)
    line = '{"text":"老慢支","chosen":[["J42.x00","慢性支气管炎"]],"department":"呼吸科",'
    line += '"when":"2026-03-01T09:00:00+00:00","by":"c07"}\n'
    path.write_text(line + line)
    codings.append("icd10", TWO)
    assert [one.text for one in codings.all("icd10")] == ["老慢支", "老慢支", "高血压病3级\ufffd"]
    assert [one.name for one in path.parent.iterdir()] == ["icd10.jsonl.imported"]
    path.write_text(line)
    assert len(codings.all("icd10")) == 3
    path.write_text(line + "{")
    with pytest.raises(ModelError, match=r"icd10\.jsonl 第 2 行"):
        codings.all("icd10")
    assert path.read_text() == line + "{"


def test_looking_makes_no_store_and_a_broken_one_is_said(tmp_path: Path) -> None:
    codings = StoredCodings.of(Settings(home=tmp_path / "home", database_url=""))  # type: ignore[arg-type]
    assert codings.keeps
    assert codings.all("icd10") == []
    assert not (tmp_path / "home").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / FILE_NAME).write_bytes(b"no database" * 1000)
    with pytest.raises(ModelError, match="不是 SQLite 数据库"):
        codings.append("icd10", ONE)
