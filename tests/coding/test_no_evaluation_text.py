"""Nothing that ships comes from the evaluation sets, and the trained data is made from our tables alone."""

from __future__ import annotations

import csv
import hashlib
import json

import pytest

from coding.names import SYSTEMS, System
from coding.suggestion.train import MADE_EXAMPLES, SEED
from coding.suggestion.variations import Variations
from models.pack import PROJECT_ROOT, PackStore
from tests.coding.suggestion_fixtures import SHARED, shipped

TELLING = 9
"""Texts of at least so many characters are a doctor's own wording, not a term that any table would have."""
SETS = ("dx_train", "open_dx_1000", "px_train", "px_dev")


def evaluation_rows() -> list[tuple[str, frozenset[str]]]:
    folder = SHARED / "coding_eval"
    if not folder.is_dir():
        pytest.skip("没有评测集（../shared 不在），不能比对")
    rows = []
    for name in SETS:
        for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows.append((row["text"], frozenset(gold["name"] for gold in row["gold"])))
    return rows


def own_tables() -> list[list[str]]:
    folder = PackStore().pack_for("coding-terms").folder
    rows: list[list[str]] = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as handle:
            rows += list(csv.reader(handle))[1:]
    return rows


def test_no_own_table_holds_a_doctors_wording_from_the_sets() -> None:
    texts = {text for text, _ in evaluation_rows() if len(text) >= TELLING}
    books = {name for system in SYSTEMS for name in shipped(system).index.table.names}
    held = {cell for row in own_tables() for cell in row if len(cell) >= TELLING} - books
    assert held & texts <= allowed_terms()


def allowed_terms() -> set[str]:
    """Terms of textbooks that the sets also have, as whole texts."""
    return {
        "常染色体显性多囊肾",
        "经尿道前列腺电切术",
        "经尿道膀胱肿瘤电切术",
        "睡眠呼吸暂停综合征",
        "肾血管平滑肌脂肪瘤",
        "隆突性皮肤纤维肉瘤",
        "非胰岛素依赖型糖尿病",
    }


def test_no_shipped_text_file_holds_a_long_wording_from_the_sets() -> None:
    texts = [text for text, _ in evaluation_rows() if len(text) >= 12]
    books = "\n".join(name for system in SYSTEMS for name in shipped(system).index.table.names)
    shipped_text = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("models/trained", "data/icd/coding-terms-1.0", "docs")
        for path in sorted((PROJECT_ROOT / folder).rglob("*"))
        if path.suffix in {".csv", ".txt", ".json", ".md", ".toml"}
    )
    assert [text for text in texts if text in shipped_text and text not in books] == []


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_shipped_model_was_trained_on_what_our_tables_give(system: System) -> None:
    suggester = shipped(system)
    digest = hashlib.sha256()
    for example in Variations(suggester.index, SEED).make(MADE_EXAMPLES[system]):
        names = ",".join(suggester.index.names[name] for name in example.names)
        digest.update(f"{example.text}\t{names}\n".encode())
    assert suggester.model.manifest["trained_on"] == "tables"
    assert suggester.model.manifest["data_sha256"] == digest.hexdigest()


def test_the_tables_are_as_large_as_promised() -> None:
    rows = PackStore().pack_for("coding-terms").rows("abbreviations")
    assert len({(row["system"], row["text"]) for row in rows}) >= 400
    assert all(row["source"] for row in rows)
