"""Words of the tables of concepts are found, climb to what is broader, and are compared with names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coding.suggestion.agreement import NamedConcepts
from coding.suggestion.concepts import Concepts
from coding.suggestion.terms import Terms
from models.pack import Pack, PackError, PackStore
from tests.coding.suggestion_fixtures import shipped
from tests.hospital_pack import write_edited

PAIRS = [
    ("髌骨", "膝"),
    ("膝", "下肢"),
    ("小腿", "下肢"),
    ("手", "上肢"),
    ("手术", ""),
    ("膝下动脉", "小腿"),
    ("膝下动脉", "动脉"),
]


def held(kind: str, text: str) -> set[str]:
    """Everything that ``text`` speaks of by the shipped table, what is broader included."""
    concepts = shipped("icd10").index.concepts[kind].concepts
    return reached(concepts, text)


def reached(concepts: Concepts, text: str) -> set[str]:
    return {concepts.words[broader] for word in concepts.words_in([text]) for broader in concepts.above[word]}


def test_a_word_stands_for_itself_and_everything_broader() -> None:
    concepts = Concepts.build(PAIRS)
    assert reached(concepts, "左髌骨骨折") == {"髌骨", "膝", "下肢"}
    assert reached(concepts, "膝下动脉栓塞") == {"膝下动脉", "小腿", "下肢", "动脉"}


def test_a_longer_word_keeps_the_shorter_ones_within_it_from_being_found() -> None:
    concepts = Concepts.build(PAIRS)
    assert concepts.spans("手术后左手肿") == [(4, 5, "手")]
    assert concepts.words_in(["手术"]) == []


def test_each_name_has_its_own_words_however_many_come_at_once() -> None:
    concepts = Concepts.build(PAIRS)
    names = ["手", "", "膝髌骨", "无", "小腿手"]
    together = NamedConcepts.build(concepts, names).said.toarray()
    assert [np.flatnonzero(row).tolist() for row in together] == [concepts.words_in([name]) for name in names]
    assert together.sum() == 5


def test_a_table_without_words_says_nothing() -> None:
    named = NamedConcepts.build(Concepts.build([]), ["肺炎", "膝部挫伤"])
    found = named.compare(np.array([0, 1]), np.array([0, 0]), [["左膝挫伤"]])
    assert found["alike"].tolist() == [0, 0]
    assert found["name_said"].tolist() == [-1, -1]


def test_names_are_compared_by_what_is_said_more_broadly_and_more_finely() -> None:
    names = ["髌骨骨折", "膝骨折", "下肢骨折", "手骨折", "骨折"]
    named = NamedConcepts.build(Concepts.build(PAIRS), names)
    found = named.compare(np.arange(5), np.zeros(5, dtype=np.int64), [["左膝骨折"]])
    assert found["name_said"].tolist() == [0, 1, 1, 0, -1]
    assert found["name_finer"].tolist() == [1, 0, 0, 0, -1]
    assert found["text_named"].tolist() == [0, 1, 1, 0, 0]
    assert found["text_finer"].tolist() == [1, 1, 0, 0, 0]
    assert found["more"].tolist() == [0, 0, 0, 0, -1]
    alike = found["alike"]
    assert alike[1] == pytest.approx(1)
    assert alike[1] > alike[0] > alike[3] == 0
    assert alike.tolist() == pytest.approx(named.alike(["左膝骨折"]).tolist())


def test_a_table_whose_words_go_round_in_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match=r"膝|髌骨"):
        Concepts.build([("髌骨", "膝"), ("膝", "髌骨")])


def test_a_pack_with_such_a_circle_is_refused_with_the_word(tmp_path: Path) -> None:
    given = PackStore().pack_for("coding-terms")
    write_edited(tmp_path, given, "concepts", lambda rows: [*rows, ["site", "下肢", "膝"]])
    with pytest.raises(PackError, match=r"concepts 表.*绕回了它自己"):
        Terms.load(Pack.load(tmp_path / given.id / "9999"))


def test_the_shipped_tables_know_bones_organs_and_injuries() -> None:
    assert {"髌骨", "膝", "下肢"} <= held("site", "髌骨粉碎性骨折")
    assert "上肢" in held("site", "前臂划伤")
    assert not held("site", "手术后状态")
    assert {"开放性损伤", "损伤"} <= held("finding", "前臂划伤")
    assert "占位" in held("finding", "腘窝包块")
    assert not held("finding", "胆囊")


def test_a_name_that_says_the_same_more_broadly_is_offered_though_it_shares_no_letter() -> None:
    suggester = shipped("icd10")
    index = suggester.index
    wanted = index.exact["上肢开放性损伤"]
    [statement] = index.splitter.statements(index.terms.normalize.aligned("前臂划伤"))
    comparison = suggester.matcher.compare(statement)
    assert wanted in comparison.names
    words = index.concepts["site"].alike(suggester.matcher.forms("前臂划伤")[:2])
    assert words[wanted] > words[index.exact["下肢开放性损伤"]]
