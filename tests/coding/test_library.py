"""The code library: look up, climb, list by prefix, map by edition."""

from __future__ import annotations

import csv
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coding.library import (
    PROCEDURE_KINDS,
    CodeLibrary,
    UnknownEditionError,
    ancestors,
    category,
    load_library,
    normalize_code,
    subcategory,
)
from models.pack import PackStore
from tests.shared import SHARED, needs_shared


@pytest.fixture(scope="module")
def library() -> CodeLibrary:
    return load_library(PackStore())


def test_both_books_are_whole(library: CodeLibrary) -> None:
    assert len(library.icd10.codes) == 33_308
    assert len(library.icd9cm3.codes) == 13_767
    assert [ref.id for ref in library.packs] == ["icd10-nhsa-2.0", "icd9cm3-nhsa-2.0"]


def test_a_diagnosis_has_its_name_and_flag(library: CodeLibrary) -> None:
    grey = library.diagnosis("A00.000")
    assert grey is not None
    assert (grey.name, grey.grey) == ("霍乱，由于O1群霍乱弧菌，霍乱生物型所致", True)
    usable = library.diagnosis("A00.000x001")
    assert usable is not None
    assert not usable.grey
    assert library.diagnosis("A00.0") is None
    assert library.procedure("A00.000") is None


def test_a_procedure_has_its_kind(library: CodeLibrary) -> None:
    found = library.procedure("00.0101")
    assert found is not None
    assert (found.name, found.kind, found.grey) == ("头部血管治疗性超声", "治疗性操作", False)
    assert {code.kind for code in library.icd9cm3.codes.values()} == {*PROCEDURE_KINDS, ""}


def test_aliases_are_listed_once(library: CodeLibrary) -> None:
    found = library.diagnosis("A01.003")
    assert found is not None
    assert {"伤寒杆菌性败血症", "伤寒杆菌败血症"} <= set(found.aliases)
    for code in library.icd10.codes.values():
        assert len(set(code.aliases)) == len(code.aliases)


def test_a_combined_code_is_one_entry_with_two_halves(library: CodeLibrary) -> None:
    found = library.diagnosis("M34.800x007+N08.5*")
    assert found is not None
    assert (found.name, found.dagger, found.asterisk) == ("系统性硬化症肾损害", "M34.800x007", "N08.5*")
    plain = library.diagnosis("A00.000x001")
    assert plain is not None
    assert (plain.dagger, plain.asterisk) == ("A00.000x001", "")


@pytest.mark.parametrize(
    ("code", "above"),
    [
        ("E11.900x001", ("E11.900", "E11.9", "E11")),
        ("E11.9", ("E11",)),
        ("I10.x00x002", ("I10.x00", "I10.x", "I10")),
        ("M34.800x007+N08.5*", ("M34.800x007", "M34.800", "M34.8", "M34")),
        ("36.0600x001", ("36.0600", "36.06", "36.0")),
        ("00.0x00", ("00.0x", "00.0")),
    ],
)
def test_ancestors_climb_to_the_category(code: str, above: tuple[str, ...]) -> None:
    assert ancestors(code) == above


def test_category_and_subcategory(library: CodeLibrary) -> None:
    assert (category("E11.900"), subcategory("E11.900")) == ("E11", "E11.9")
    assert (category("36.0600"), subcategory("36.0600")) == ("36.0", "36.06")
    assert "E11" in library.icd10.categories
    assert "E11.9" in library.icd10.subcategories
    assert "U99" not in library.icd10.categories


def test_codes_of_a_prefix_come_in_order(library: CodeLibrary) -> None:
    for prefix in ("M34.8", "E11", "Z99", "A", "00."):
        for system, table in (("icd10", library.icd10), ("icd9cm3", library.icd9cm3)):
            expected = sorted(code for code in table.codes if code.startswith(prefix))
            assert [c.code for c in library.starting_with(prefix, system)] == expected  # type: ignore[arg-type]
    assert list(library.starting_with("Q99.999")) == []


def test_a_code_is_mapped_by_its_edition(library: CodeLibrary) -> None:
    """The same string means another disease in another edition: 249 strings of 国临版 2.0 alone."""
    clinical = library.icd10.editions["clinical-2.0"]
    other = {code for code, target in clinical.items() if target != code and code in library.icd10.codes}
    assert len(other) >= 249
    for code in sorted(other)[:20]:
        assert library.to_insurance("icd10", "clinical-2.0", code) == clinical[code] != code


def test_a_code_without_counterpart_maps_to_none(library: CodeLibrary) -> None:
    assert library.to_insurance("icd9cm3", "beijing-8.0", "46.93001") is None
    assert library.to_insurance("icd10", "clinical-2.0", "nonsense") is None
    assert library.to_insurance("icd10", "beijing-7.0", "J11.001") == "J11.000x001"


def test_an_unknown_edition_is_an_error_that_names_the_known_ones(library: CodeLibrary) -> None:
    with pytest.raises(UnknownEditionError, match=r"beijing-7\.0"):
        library.to_insurance("icd10", "clinical-9.9", "A00.000")


@needs_shared
@pytest.mark.parametrize("system", ["icd10", "icd9cm3"])
def test_every_published_crosswalk_row_is_answered(library: CodeLibrary, system: str) -> None:
    table = library.icd10 if system == "icd10" else library.icd9cm3
    with (SHARED / "data" / "codes" / f"{system}_crosswalk.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lost = []
    for row in rows:
        answer = library.to_insurance(table.system, row["edition"], row["code"])
        assert answer is None or answer in table.codes
        if (answer or "") != row["insurance_code"]:
            lost.append(row["insurance_code"])
    assert lost == (["J11.000X001"] if system == "icd10" else ["46.93003", "00.6400x007"])


@pytest.mark.parametrize(
    ("typed", "clean"),
    [
        ("a00.000X001", "A00.000x001"),
        ("Ａ００．０００", "A00.000"),
        (" I10.X05 ", "I10.x05"),
        ("x59.900", "X59.900"),
        ("A17.0†G01＊", "A17.0+G01*"),
        ("M34.800X007 + n08.5*", "M34.800x007+N08.5*"),
        ("17.912a0", "17.912A0"),
        ("00 。0101\u3000", "00.0101"),
        ("", ""),
    ],
)
def test_typed_codes_are_cleaned(typed: str, clean: str) -> None:
    assert normalize_code(typed) == clean


@example("0" * 63 + "ß")
@given(st.text(max_size=200))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    once = normalize_code(text)
    assert normalize_code(once) == once
    assert not re.search(r"\s", once)


def test_the_codes_of_the_books_are_clean_already(library: CodeLibrary) -> None:
    for table in (library.icd10, library.icd9cm3):
        assert [code for code in table.codes if normalize_code(code) != code] == []
        assert [code for code in table.codes if normalize_code(code.lower()) != code] == []
