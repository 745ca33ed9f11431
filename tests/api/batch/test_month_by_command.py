"""A month of 1,000 lists by command: loaded, revalidated under a changed rule pack, compared, reported, sealed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from python_calamine import CalamineWorkbook

from tests.api.batch.conftest import BROKEN, MONTH, REGION, Command, bodies
from tests.api.batch.test_driver import MakeFile
from tests.hospital_pack import RULE, write_rules

LISTS = 1_000
NAMELESS = 40
Said = Callable[..., str]


@pytest.fixture
def said(command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """``said("batch", "list")`` gives what the command prints; ``status`` is what it is to end with."""
    monkeypatch.setenv("QINGDAN_REGION", REGION)

    def run(*arguments: object, status: int = 0) -> str:
        ended = command(*arguments)
        out, err = capsys.readouterr()
        assert ended == status, out + err
        return out

    return run


def test_a_month_of_a_thousand_lists(said: Said, lists_file: MakeFile, tmp_path: Path) -> None:
    lists = bodies(LISTS)
    for body in lists[:NAMELESS]:
        body["setlinfo"]["psn_name"] = ""
    path = lists_file([*lists[:500], BROKEN, *lists[500:]], "十月.ndjson")
    alone = ("--workers", 0, "--by", "病案科")

    # A row that is no list is told by the status.
    assert f"{LISTS} 份" in said("batch", "run", path, "--month", MONTH, *alone, status=1)
    first = json.loads(said("batch", "show", 1, "--format", "json"))
    assert (first["lists"], first["rejected"]) == (LISTS, 1)
    assert first["totals"]["verdicts"]["需修改"] >= NAMELESS

    said("packs", "import", write_rules(tmp_path / "本院规则", rule=RULE))
    verified = said("batch", "revalidate", MONTH, *alone, "--verify")
    assert f"核对：{LISTS} 份全部重做，结果逐项相同" in verified
    said("batch", "compare", 1, 2, "--out", tmp_path / "变化.json")
    changes = json.loads((tmp_path / "变化.json").read_bytes())
    rules = {one["rule"]: one for one in changes["rules"]}
    assert set(rules) == {"HOS-001"}
    stays = [body["setlinfo"]["act_ipt_days"] for body in lists]
    assert rules["HOS-001"]["appeared"] == sum(days > 5 for days in stays)
    assert (changes["groups"], changes["changed"]) == ([], rules["HOS-001"]["lists"])

    said("report", "make", MONTH, "--out", tmp_path / "草稿", "--by", "质控科")
    digest = said("report", "seal", MONTH, "--by", "质控科").strip().rpartition(" ")[2]
    said("report", "show", MONTH, "--out", tmp_path / "封存", "--by", "院长")
    sealed = json.loads((tmp_path / "封存" / f"report-{MONTH}-1.json").read_bytes())
    assert sealed["packs"]
    assert digest[:16] in said("report", "list")
    said("report", "verify")
    said("report", "worklist", MONTH, "--out", tmp_path / "工作清单.xlsx")
    book = CalamineWorkbook.from_path(str(tmp_path / "工作清单.xlsx"))
    rows = book.get_sheet_by_index(0).to_python()
    assert sum("HOS-001" in row for row in rows) == rules["HOS-001"]["appeared"]

    said("batch", "export", 2, "--format", "4101", "--out", tmp_path / "上传.ndjson", status=1)
    uploads = (tmp_path / "上传.ndjson").read_bytes().splitlines()
    second = json.loads(said("batch", "show", 2, "--format", "json"))
    assert len(uploads) == LISTS - second["totals"]["verdicts"]["需修改"]
    actions = said("db", "audit")
    for action in ("封存", "导出"):
        assert action in actions
