"""A hospital's own charge rules and evidence tables: what is shipped can be imported, faults are named."""

import shutil
from pathlib import Path

import pytest

from api.services.packs import ImportRefusedError, prepare
from models.pack import PROJECT_ROOT, PackStore

SHIPPED = PROJECT_ROOT / "data" / "settlement"


@pytest.mark.parametrize("kind", ["charge-rules", "evidence", "procedure-indications"])
def test_the_shipped_tables_pass_the_import(kind: str, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / kind, tmp_path / kind)
    tables = prepare(tmp_path / kind, {}, PackStore()).tables
    assert set(tables) == {path.stem for path in (SHIPPED / kind).glob("*.csv")}


@pytest.mark.parametrize(
    ("kind", "table", "row", "reason"),
    [
        ("charge-rules", "frequency", "mine,本院限次,nothing,day,1,0,0,", "items 表没有项目 nothing"),
        ("charge-rules", "frequency", "mine,本院限次,bed,月,1,0,0,", "月"),
        ("charge-rules", "exclusion", "mine,本院互斥,bed,gone,0,", "items 表没有项目 gone"),
        ("evidence", "conditions", "gout,痛风,M10,", "signals 表没有 gout 的依据"),
        ("evidence", "signals", "gout,finding,lab,尿酸,,>,420,μmol/L", "conditions 表没有 gout"),
        ("evidence", "signals", "sepsis,finding,lab,白细胞,,>,多,10^9/L", "要有数值"),
        (
            "procedure-indications",
            "indications",
            "mine,阑尾,operation,47.0,阑尾炎,K35,high,,",
            "手术操作 47.0 已写在另一行",
        ),
        ("procedure-indications", "indications", "mine,唇,operation,27.5,唇裂,Q36,sure,,", "high"),
    ],
)
def test_a_fault_is_named_with_its_row(kind: str, table: str, row: str, reason: str, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / kind, tmp_path / kind)
    (tmp_path / kind / "pack.toml").unlink()
    with (tmp_path / kind / f"{table}.csv").open("a", encoding="utf-8") as file:
        file.write(row + "\n")
    fields = {
        "id": "ours",
        "kind": kind,
        "name": "本院",
        "publisher": "本院",
        "document": "本院",
        "version": "1",
    }
    with pytest.raises(ImportRefusedError) as refused:
        prepare(tmp_path / kind, fields, PackStore())
    assert any(reason in str(fault) and f"{table}.csv" in str(fault) for fault in refused.value.found)
