"""What past codings teach: the regression on them, learned characters, departments."""

from __future__ import annotations

import numpy as np
import pytest

from coding.suggestion.history import Memory
from coding.suggestion.suggest import Candidate, _falling
from coding.suggestion.train import Past, remember
from coding.suggestion.translate import BACK, FREE_NAME, TO, Translations, learn_translations
from tests.coding.suggestion_fixtures import shipped

TEXTS = ("血压高得厉害", "血压偏高数年", "夜间血压高", "肺部感染较重", "肺里有炎症", "糖很高", "血糖控制差")
NAMES = ("高血压", "高血压", "高血压", "肺炎", "肺炎", "2型糖尿病", "2型糖尿病")


def past_rows() -> list[Past]:
    exact = shipped("icd10").index.exact
    return [Past(text, (exact[name],)) for text, name in zip(TEXTS, NAMES, strict=True)]


def test_leaving_a_row_out_gives_what_a_regression_without_it_gives() -> None:
    index, rows = shipped("icd10").index, past_rows()
    whole = remember(index, rows)
    whole.attach(Memory.fit(whole))
    for place, row in enumerate(rows):
        rest = [other for number, other in enumerate(rows) if number != place]
        without = remember(index, rest)
        without.attach(Memory.fit(without))
        left_out = whole.recall([row.text], place).kernel
        assert np.abs(left_out - without.recall([row.text]).kernel).max() < 0.05
        # What the row itself says would be near 1.
        assert whole.recall([row.text]).kernel[0, row.names[0]] > left_out[0, row.names[0]]


def test_the_regression_is_the_same_after_it_was_stored() -> None:
    index = shipped("icd10").index
    past = remember(index, past_rows())
    memory = Memory.fit(past)
    past.attach(memory)
    before = past.recall(["血压高"]).kernel
    past.attach(Memory.read(memory.dump()))
    assert np.array_equal(before, past.recall(["血压高"]).kernel)
    assert before[0].argmax() == index.exact["高血压"]


def test_what_the_index_or_the_history_no_longer_has_is_left_out_of_a_stored_regression() -> None:
    index, rows = shipped("icd10").index, past_rows()
    memory = Memory.fit(remember(index, rows))
    fewer = remember(index, rows[3:])
    fewer.attach(memory)
    assert fewer.recall(["血压高"]).kernel[0, index.exact["高血压"]] < 0.1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY"])
def test_a_damaged_regression_is_not_read(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Memory.read(content)


def test_what_one_side_lacks_is_learned_as_standing_for_what_the_other_has() -> None:
    pairs = [(f"{site}肿物切除", f"{site}病损切除") for site in "肝肾肺脾胃肠喉耳鼻"]
    rows = learn_translations(pairs)
    to = {(source, letter): strength for kind, source, letter, strength in rows if kind == TO}
    assert to["肿物", "病"] > 0.2
    assert ("肝", "病") not in to
    assert any(kind == BACK and source == "病损" for kind, source, _, _ in rows)
    assert {letter for kind, _, letter, _ in rows if kind == FREE_NAME} == {"病", "损"}
    learned = Translations.of(shipped("icd9cm3").index, rows)
    held = learned.known(["肿物"])
    reach = np.asarray(learned.to[held].sum(axis=0)).ravel()
    letters = shipped("icd9cm3").index.letter_keys
    assert reach[np.searchsorted(letters, ord("损"))] > 0.5
    assert reach[np.searchsorted(letters, ord("骨"))] == 0


def test_nothing_learned_explains_nothing() -> None:
    learned = Translations.of(shipped("icd9cm3").index, [])
    assert len(learned.known(["肿物切除"])) == 0
    assert learned.to.nnz == learned.back.nnz == 0


def test_a_department_leans_towards_what_it_codes() -> None:
    index = shipped("icd10").index
    heart, lung = index.exact["高血压"], index.exact["肺炎"]
    rows = [Past("血压高", (heart,), "心内科")] * 20 + [Past("肺部感染", (lung,), "呼吸科")] * 20
    past = remember(index, rows)
    both = np.array([heart, lung])
    cardiology, chest = past.leaning("心内科", both), past.leaning("呼吸科", both)
    assert cardiology[0] > 0 > cardiology[1]
    assert chest[1] > 0 > chest[0]
    assert past.leaning("骨科", both).tolist() == [0, 0]
    assert past.leaning("", both).tolist() == [0, 0]
    past.add("血压高", (heart,), "骨科")
    assert past.leaning("骨科", both)[0] > 0


def test_places_and_probabilities_fall_together() -> None:
    candidates = [
        Candidate(code, code, code, probability)
        for code, probability in (("甲", 0.41), ("乙", 0.58), ("丙", 0.1))
    ]
    fallen = _falling(candidates)
    assert [one.code for one in fallen] == ["甲", "乙", "丙"]
    assert [one.probability for one in fallen] == [0.58, 0.41, 0.1]
