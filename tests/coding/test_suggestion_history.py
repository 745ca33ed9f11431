"""Learning on site: what is accepted counts at once, training activates only what is not worse."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from api.services import suggestion as service
from api.settings import Settings
from api.store.codings import StoredCodings
from coding.suggestion import history
from coding.suggestion import train as training
from coding.suggestion.assembly import Coding, Foundation, ModelStore, past_of, read_codings
from coding.suggestion.context import Context
from coding.suggestion.history import Memory
from coding.suggestion.model import RANKER, Model, ModelError
from coding.suggestion.train import Past, remember
from models.pack import PackStore
from tests.coding.suggestion_fixtures import shipped


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def codings(home: Path) -> StoredCodings:
    return StoredCodings.of(Settings(home=home))


def desk(home: Path) -> service.SuggestionService:
    return service.SuggestionService(PackStore(), home, codings(home))


def test_an_accepted_coding_counts_for_the_next_suggestion_and_after_a_restart(home: Path) -> None:
    running = desk(home)
    text = "老慢支"
    before = running.suggest(text, "diagnosis", Context())
    running.accept("diagnosis", text, ["J42.x00"], "呼吸科", "c07")
    after = running.suggest(text, "diagnosis", Context())
    assert "J42.x00" not in {candidate.code for candidate in before[0].candidates if candidate.past}
    past = {candidate.code: candidate.past for candidate in after[0].candidates}
    assert past.get("J42.x00") == 1
    again = desk(home).suggest(text, "diagnosis", Context())
    assert {c.code: c.past for c in again[0].candidates}.get("J42.x00") == 1
    (kept,) = codings(home).all("icd10")
    assert (kept.text, kept.chosen, kept.department, kept.by) == (text, (("J42.x00", ""),), "呼吸科", "c07")


def test_a_code_that_no_book_has_is_refused_and_not_stored(home: Path) -> None:
    with pytest.raises(ValueError, match="不在编码库中"):
        desk(home).accept("diagnosis", "某病", ["Q99.999x9"])
    assert codings(home).all("icd10") == []


def test_the_nearest_past_coding_is_found_and_its_own_row_can_be_left_out() -> None:
    index = shipped("icd10").index
    name = index.exact["高血压"]
    past = remember(index, [Past("血压经常升高", (name,))])
    found = past.recall(["血压经常升高"])
    assert found.names.tolist() == [name]
    assert found.best[name] == pytest.approx(1)
    assert past.recall(["血压经常升高"], left_out=0).names.tolist() == []


def test_a_text_that_is_left_out_gives_nothing_away_of_what_it_was_coded() -> None:
    index = shipped("icd10").index
    written = ["血压经常升高", "血压偏高多年", "血糖经常升高", "经常头痛伴血压升高"]
    names = [index.exact[name] for name in ("高血压", "高血压", "糖尿病", "头痛")]
    past = remember(index, [Past(text, (name,)) for text, name in zip(written, names, strict=True)])
    past.attach(Memory.fit(past))
    seen = past.recall([past.texts[3]]).kernel[0]
    left_out = past.recall([past.texts[3]], left_out=3).kernel[0]
    assert seen[names[3]] > 0.3
    # Not even a rest of rounding, by which a ranker could tell the name that only this text has.
    assert left_out[names[3]] == 0
    others = remember(index, [Past(text, (name,)) for text, name in zip(written[:3], names[:3], strict=True)])
    others.attach(Memory.fit(others))
    assert left_out == pytest.approx(others.recall([past.texts[3]]).kernel[0], abs=0.02)


def test_what_no_past_text_holds_makes_a_text_less_like_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "OWN_VOCABULARY", 1)
    index = shipped("icd10").index
    name = index.exact["高血压"]
    past = remember(index, [Past("血压升高", (name,))])
    assert past.recall(["血压升高"]).best[name] == pytest.approx(1)
    assert past.recall(["血压升高待透析"]).best[name] < 0.9


def test_a_name_that_one_coding_brought_is_not_offered_for_that_coding() -> None:
    twice = ("", "某院乙病")
    codings = [
        Coding("甲病", (("", "某院甲病"),)),
        Coding("乙病", (twice,)),
        Coding("乙病二", (twice, ("I10.x00x002", "高血压"))),
    ]
    index = Foundation.load(PackStore(), "icd10").index(codings)
    past = remember(index, past_of(index, codings))
    assert training.own_names(index, past) == {index.exact["某院甲病"]}


def test_a_hospitals_own_name_becomes_a_name_of_the_index() -> None:
    foundation = Foundation.load(PackStore(), "icd10")
    codings = [Coding("本院特有的叫法", (("I10.x00x002", "本院血压高标准名"),))]
    index = foundation.index(codings)
    row = index.exact["本院血压高标准名"]
    assert index.code(row) == "I10.x00x002"
    assert past_of(index, codings)[0].names == (row,)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "第 1 行"),
        ("[1]", "应为 JSON 对象"),
        ('{"text": ""}', "缺少 text"),
        ('{"text": "肺炎"}', "缺少所选的编码"),
        ('{"text": 3, "codes": ["J18.900"]}', "缺少 text"),
    ],
)
def test_a_bad_history_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ModelError, match=reason):
        read_codings(path)


def test_too_short_a_history_is_refused(home: Path) -> None:
    with pytest.raises(ModelError, match="至少要 200 条"):
        service.train(PackStore(), home, "icd10", [Coding("肺炎", (("J18.900", "肺炎"),))] * 10)


def test_training_measures_activates_and_rolls_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MADE_BESIDE_HISTORY", 60)
    index = shipped("icd9cm3").index
    rows = [row for row in range(0, len(index.names), 61) if not index.grey[row]][:220]
    codings = [Coding(f"行{index.names[row]}", ((index.code(row), index.shown[row]),)) for row in rows]
    result = service.train(PackStore(), home, "icd9cm3", codings, threads=1)
    assert result.used + result.held_out == len(codings)
    assert result.activated == (result.after[0].acc1.value >= result.before[0].acc1.value)
    models = ModelStore(home / "models")
    if not result.activated:
        models.activate("icd9cm3", result.version)
    assert models.active("icd9cm3") == result.version
    assert models.load("icd9cm3")[1]
    assert models.rollback("icd9cm3") == "shipped"
    with pytest.raises(ModelError, match="没有更早的版本"):
        models.rollback("icd9cm3")


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "icd10"
    shutil.copytree(ModelStore(tmp_path).folder("icd10", "shipped"), folder)
    with (folder / RANKER).open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(ModelError, match="sha256"):
        Model.load(folder)


def test_a_version_cannot_lead_out_of_the_model_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="写法不对"):
        ModelStore(tmp_path).folder("icd10", "../../etc")
