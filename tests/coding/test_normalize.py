"""One spelling for widths, characters and numerals, with every place traced to its source."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coding.normalize import Replacer
from coding.suggestion.terms import Terms
from models.pack import PackStore

NORMALIZE = Terms.load(PackStore().pack_for("coding-terms")).normalize


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("Ⅱ型呼吸衰竭", "2型呼吸衰竭"),
        ("高血压病③级", "高血压病3级"),
        ("二型糖尿病", "2型糖尿病"),
        ("Ⅲ期", "3期"),
        ("Ⅲ°烧伤", "3度烧伤"),
        ("糖尿病腎病", "糖尿病肾病"),
        ("ａｅｃｏｐｄ", "AECOPD"),
        ("肾病综合症", "肾病综合征"),
        ("胃食管返流", "胃食管反流"),
        ("IVIG", "IVIG"),
    ],
)
def test_spellings_come_together(written: str, spelled: str) -> None:
    assert NORMALIZE(written) == spelled


@given(st.text(max_size=60))
def test_places_point_into_the_source(text: str) -> None:
    found = NORMALIZE.aligned(text)
    assert len(found.offsets) == len(found.text) + 1
    assert list(found.offsets) == sorted(found.offsets)
    for start in range(len(found.text)):
        left, right = found.source_span(start, start + 1)
        assert 0 <= left < right <= len(text)


def test_names_are_spelled_like_texts() -> None:
    rows = PackStore().pack_for("icd10").rows("codes")
    names = [row["name"] for row in rows[::50]]
    assert NORMALIZE.names(names) == [NORMALIZE(name) for name in names]


def test_a_latin_abbreviation_is_not_found_inside_a_word() -> None:
    replacer = Replacer({"MI": "心肌梗死", "低血糖": "低血糖症"})
    assert replacer.replace("AMI") == "AMI"
    assert replacer.replace("急性MI") == "急性心肌梗死"
    assert replacer.replace("低血糖症") == "低血糖症"


@given(st.lists(st.text(max_size=12), max_size=6))
def test_many_names_are_spelled_as_each_alone(names: list[str]) -> None:
    assert NORMALIZE.names(names) == [NORMALIZE.names([name])[0] for name in names]
