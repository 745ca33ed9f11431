"""Suggestion: what the shipped model does with texts as doctors write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st

from coding.library import load_library
from coding.names import EDITION_BITS, SYSTEMS, NameTable, System
from coding.suggestion.advice import advise
from coding.suggestion.assembly import CUTS, SHIPPED_MODELS
from coding.suggestion.context import Context
from coding.suggestion.split import certainty_of
from coding.suggestion.variations import Variations
from coding.suggestion.words import Tokenizer
from models.pack import PackStore
from tests.coding.suggestion_fixtures import shipped


def codes_of(text: str, **context: object) -> list[str]:
    mentions = shipped("icd10").suggest(text, Context(**context))  # type: ignore[arg-type]
    return [mention.candidates[0].code for mention in mentions if mention.candidates]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("高血压", "I10.x00x002"),
        ("冠心病", "I25.103"),
        ("肺炎", "J18.900"),
        ("Ⅱ型呼衰", "J96.900x003"),
        ("2型糖尿病伴肾病", "E11.201+N08.3*"),
        ("膽囊結石", "K80.200x003"),
    ],
)
def test_a_usual_wording_gets_its_code_first(text: str, code: str) -> None:
    assert codes_of(text)[0] == code


def test_a_list_is_split_and_each_part_is_placed_in_the_source() -> None:
    text = "1.高血压 2.冠心病；肺炎"
    mentions = shipped("icd10").suggest(text)
    assert [mention.text for mention in mentions] == ["高血压", "冠心病", "肺炎"]
    assert all(text[mention.start : mention.end] == mention.text for mention in mentions)


def test_a_numbered_type_is_not_taken_for_a_list_number() -> None:
    assert [mention.text for mention in shipped("icd10").suggest("1.2型糖尿病")] == ["2型糖尿病"]


@pytest.mark.timeout(60)
def test_a_long_row_of_digits_is_read_at_once() -> None:
    digits = "0" * 4000
    bare = shipped("icd10").index.splitter.bare
    assert bare(f"肺炎{digits}") == f"肺炎{digits}"
    assert bare(f"{digits}.5X3CM肺炎") == "肺炎"
    assert shipped("icd9cm3").index.splitter.bare(f"{digits}.5CM缝合") == "缝合"


def test_names_without_a_separator_become_mentions_of_their_own() -> None:
    assert {"I10.x00x002", "I25.103"} <= set(codes_of("高血压冠心病"))


def test_what_is_excluded_gets_no_code_and_does_not_silence_its_neighbour() -> None:
    mentions = shipped("icd10").suggest("肺炎，排除肺癌")
    assert [(mention.text, mention.status) for mention in mentions] == [
        ("肺炎", "coded"),
        ("排除肺癌", "excluded"),
    ]
    assert mentions[1].candidates == ()


@pytest.mark.parametrize(
    ("text", "certainty"),
    [
        ("发热待查", "query"),
        ("肺炎？".replace("？", "?"), "query"),
        ("肺癌可能", "possible"),
        ("不除外肺癌", "possible"),
        ("已除外肺癌", "excluded"),
        ("青霉素过敏史", "history"),
        ("胃癌术后", "postoperative"),
        ("高血压", ""),
    ],
)
def test_how_certain_the_doctor_is(text: str, certainty: str) -> None:
    assert certainty_of(text) == certainty


def test_nonsense_is_not_answered_with_confidence() -> None:
    for text in ("请于明日上午来院办理手续", "ZZZQQQ", "1234567"):
        assert all(mention.status != "coded" for mention in shipped("icd10").suggest(text)), text


def test_an_impossible_sex_moves_a_candidate_down_and_says_why() -> None:
    female = shipped("icd10").suggest("前列腺增生", Context(sex="2"))[0].candidates
    male = shipped("icd10").suggest("前列腺增生", Context(sex="1"))[0].candidates
    assert male[0].warnings == ()
    wrong = next(candidate for candidate in female if candidate.code == male[0].code)
    assert "限男性" in wrong.warnings[0]
    assert wrong.probability < male[0].probability


def test_candidates_are_in_order_and_each_code_stands_once() -> None:
    for mention in shipped("icd10").suggest("急性化脓性阑尾炎伴穿孔；股骨颈骨折；子宫肌瘤", limit=8):
        values = [candidate.probability for candidate in mention.candidates]
        assert values == sorted(values, reverse=True)
        assert len({candidate.code for candidate in mention.candidates}) == len(values) <= 8
        assert all(0 <= value <= 1 for value in values)
        assert all(candidate.reasons for candidate in mention.candidates[:1])


@pytest.mark.parametrize(
    ("text", "subcategory"), [("腹腔镜胆囊切除术", "51.23"), ("阑尾切除术", "47.09"), ("TURP", "60.29")]
)
def test_procedures_are_suggested_too(text: str, subcategory: str) -> None:
    mention = shipped("icd9cm3").suggest(text)[0]
    assert mention.candidates[0].code.startswith(subcategory)


def test_the_second_place_on_is_decided_by_the_subcategory_too_and_the_first_is_not() -> None:
    suggester = shipped("icd9cm3")
    of_name = suggester.index.subcategories.of_name
    first, other = np.unique(of_name, return_index=True)[1][:2]
    mates = np.flatnonzero(of_name == of_name[first])[:3]
    names = np.array([int(other), *mates.tolist()], dtype=np.int64)
    # Three of one subcategory share what is left; the lone one keeps the first place only as the best.
    best_alone = suggester._order(names, np.array([1.0, 0.5, 0.5, 0.5]))
    assert best_alone[0] == 0
    close = suggester._order(names, np.array([0.5, 1.0, 0.4, 0.4]))
    assert sorted(close.tolist()) == [0, 1, 2, 3]
    assert close[0] == 1
    assert close[-1] == 0
    assert len(suggester._order(names[:0], np.zeros(0))) == 0


@pytest.mark.parametrize("text", ["腹腔镜下胆囊切除术", "冠状动脉支架置入术", "全髋关节置换术", "剖宫产术"])
def test_probabilities_of_procedures_never_rise(text: str) -> None:
    values = [one.probability for one in shipped("icd9cm3").ranking(text)]
    assert len(values) > 3
    assert values == sorted(values, reverse=True)


def test_few_examples_of_procedures_want_an_extension_code() -> None:
    index = shipped("icd9cm3").index
    examples = Variations(index, 11).make(400)
    wanted = [all(index.flags[name, 7] for name in example.names) for example in examples]
    assert sum(wanted) < 0.05 * len(examples)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_name_of_the_table_is_suggested_first_for_itself(system: System) -> None:
    suggester = shipped(system)
    index = suggester.index
    rows = [row for row in range(len(index.names)) if index.flags[row, 0] and not index.grey[row]]
    extensions = [row for row in rows if index.flags[row, 7]]
    asked = [*rows[:: len(rows) // 60], *extensions[:: len(extensions) // 60]]
    wrong = [
        index.shown[row] for row in asked if suggester.ranking(index.shown[row])[0].code != index.code(row)
    ]
    assert wrong == []


def test_a_lower_segment_section_is_a_caesarean_section() -> None:
    for text in ("子宫下段剖宫产", "子宫下段剖宫产术"):
        codes = [candidate.code for candidate in shipped("icd9cm3").suggest(text)[0].candidates]
        assert codes[0].startswith("74.")


def test_the_first_candidate_never_has_a_lower_probability_than_the_next() -> None:
    for text in (
        "2型糖尿病伴肾病",
        "胆囊结石伴慢性胆囊炎",
        "高血压性心脏病伴心力衰竭",
        "慢性支气管炎并肺气肿",
    ):
        for mention in shipped("icd10").suggest(text, limit=8):
            values = [candidate.probability for candidate in mention.candidates]
            assert values == sorted(values, reverse=True), text


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_gets_an_answer_whose_places_are_in_it(text: str) -> None:
    mentions = shipped("icd10").suggest(text)
    for mention in mentions:
        assert 0 <= mention.start <= mention.end <= len(text)
        assert text[mention.start : mention.end] == mention.text
    assert mentions == shipped("icd10").suggest(text)


def test_a_very_long_text_is_cut_not_refused() -> None:
    assert len(shipped("icd10").suggest("高血压；" * 5000)) <= 60


def test_advice_puts_the_treated_disease_first_and_bars_what_cannot_be_principal() -> None:
    library = load_library(PackStore())
    context = Context(diagnoses=("I10.x00x002", "K80.200x003", "W19.x00"), procedures=("51.2300",))
    advice = advise(library, shipped("icd10"), context)
    assert advice.principal[0].code == "K80.200x003"
    assert "手术" in advice.principal[0].requirement
    barred = [choice.code for choice in advice.principal if not choice.allowed]
    assert library.diagnosis("W19.x00")
    assert barred == ["W19.x00"]


def test_advice_finds_the_combination_code_of_a_pair() -> None:
    library = load_library(PackStore())
    stone, inflamed = "K80.200x003", "K81.900"
    assert library.diagnosis(stone)
    assert library.diagnosis(inflamed)
    advice = advise(library, shipped("icd10"), Context(diagnoses=(stone, inflamed)))
    assert any(found.code.startswith("K80.1") for found in advice.combinations)


def test_advice_names_the_missing_partner() -> None:
    library = load_library(PackStore())
    combined = next(
        code for code in library.icd10.codes.values() if code.asterisk and not library.diagnosis(code.dagger)
    )
    advice = advise(library, shipped("icd10"), Context(diagnoses=(combined.dagger, combined.asterisk)))
    assert combined.code in {found.instead for found in advice.partners}
    assert {found.code for found in advice.partners} == {combined.dagger, combined.asterisk}


def test_advice_offers_the_more_specific_code_that_the_text_supports() -> None:
    library = load_library(PackStore())
    advice = advise(library, shipped("icd10"), Context(diagnoses=("I10.x00x002",)), "高血压3级")
    assert ("I10.x00x002", "I10.x05") in {(found.code, found.instead) for found in advice.more_specific}


@pytest.mark.parametrize("system", ["icd10", "icd9cm3"])
def test_the_numbers_used_are_those_of_the_classifier_that_ships(system: System) -> None:
    model = shipped(system).model
    classifier = skops.io.loads(model.classifier, trusted=[])
    rows = np.random.default_rng(3).normal(size=(50, len(model.calibration.weight))) * 2
    expected = classifier.predict_proba(rows)[:, 1]
    assert np.abs(model.calibration.probabilities(rows) - expected).max() < 1e-9


@pytest.mark.parametrize("system", ["icd10", "icd9cm3"])
def test_the_cuts_that_ship_are_what_the_dictionary_gives(system: System) -> None:
    index = shipped(system).index
    cuts = index.tokenizer.load_cuts(SHIPPED_MODELS / system / CUTS)
    assert set(cuts) == set(index.names)
    for name in index.names[:: len(index.names) // 500]:
        assert cuts[name].split() == index.tokenizer.tokenize(name)


def test_cuts_of_another_dictionary_are_not_used(tmp_path: Path) -> None:
    one, other = Tokenizer({"高血压": 3, "血压": 2}), Tokenizer({"血压": 2})
    path = tmp_path / CUTS
    path.write_text(one.dump_cuts(["高血压", "高血压(2级)"]), encoding="utf-8")
    assert one.load_cuts(path) == {"高血压": "高血压", "高血压(2级)": "高血压 2 级"}
    assert other.load_cuts(path) == {}
    assert one.load_cuts(tmp_path / "absent.txt") == {}


def test_an_instrument_alone_means_an_examination_and_with_more_does_not() -> None:
    index = shipped("icd9cm3").index
    assert index.expand("胃镜") == "胃镜检查"
    assert "检查" not in index.expand("胃镜下止血术")
    assert "腹腔镜" not in index.expand("胸腔镜下肺叶切除术")


def test_editions_say_which_of_them_write_a_name_so() -> None:
    table = NameTable.build(
        "icd10",
        [{"code": "A00", "name": "甲", "grey": "0"}, {"code": "A01", "name": "乙", "grey": "0"}],
        [{"code": "A00", "name": "甲病", "edition": "beijing-7.0"}],
        [("A00", "beijing-7.0"), ("A00", "clinical-2.0"), ("A01", "beijing-7.0")],
    )
    bits = dict(zip(table.names, table.within, strict=True))
    assert bits == {
        "甲": EDITION_BITS["clinical"],
        "甲病": EDITION_BITS["beijing"],
        "乙": EDITION_BITS["beijing"],
    }
