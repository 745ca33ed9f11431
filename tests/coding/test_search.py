"""The search box finds codes by prefix, name, alias and pinyin initials, in one fixed order."""

from __future__ import annotations

import time
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.services.codes import open_search
from coding.browse import browse, chapter_of
from coding.library import load_library
from coding.names import SYSTEMS, NameTable, System
from coding.search import CodeSearch, Initials, fold
from models.pack import PackStore


@lru_cache(maxsize=1)
def box() -> CodeSearch:
    store = PackStore()
    library = load_library(store)
    tables = {system: NameTable.of(library.table(system)) for system in SYSTEMS}
    return CodeSearch(tables, Initials.build(store.pack_for("coding-terms").rows("initials")))


def first(query: str, system: System = "icd10") -> tuple[str, str]:
    hit = box().search(query, system)[0]
    return hit.code, hit.reason


@pytest.mark.parametrize(
    ("query", "system", "code", "reason"),
    [
        ("高血压", "icd10", "I10.x00x002", "exact"),
        ("gxy", "icd10", "I10.x00x002", "pinyin"),
        ("GXY", "icd10", "I10.x00x002", "pinyin"),
        ("肺炎", "icd10", "J18.900", "exact"),
        ("I10.x03", "icd10", "I10.x03", "code"),
        ("i10x03", "icd10", "I10.x03", "code"),
        ("骨折 股骨颈", "icd10", "S72.000", "words"),
        ("骨折股骨颈", "icd10", "S72.000", "words"),
        ("胆囊切除 腹腔镜", "icd9cm3", "51.2300", "words"),
        ("51.23", "icd9cm3", "51.2300", "code"),
    ],
)
def test_the_box_puts_the_expected_code_first(query: str, system: System, code: str, reason: str) -> None:
    assert first(query, system) == (code, reason)


def test_full_width_letters_search_like_half_width() -> None:
    assert box().search("Ｉ１０．ｘ０３")[0].code == "I10.x03"


def test_fewer_than_two_characters_find_nothing() -> None:
    assert box().search("病") == []
    assert box().search("  ") == []


def test_grey_codes_come_after_all_others_and_are_flagged() -> None:
    hits = box().search("I10", limit=30)
    greys = [hit.grey for hit in hits]
    assert any(greys)
    assert greys == sorted(greys)


def test_an_alias_says_which_name_matched() -> None:
    library = load_library(PackStore())
    entry = next(code for code in library.icd10.codes.values() if code.aliases and not code.grey)
    hit = next(hit for hit in box().search(entry.aliases[0], limit=20) if hit.code == entry.code)
    assert hit.matched == entry.aliases[0]
    assert "别名" in hit.explanation


def test_every_title_is_found_by_its_own_name() -> None:
    table = box().tables["icd9cm3"]
    for index in range(0, len(table.codes), 97):
        hits = box().search(table.titles[index], "icd9cm3", limit=50)
        assert table.codes[index] in {hit.code for hit in hits}, table.titles[index]


def test_every_character_of_the_tables_has_an_initial() -> None:
    letters = {row["text"] for row in PackStore().pack_for("coding-terms").rows("initials")}
    used = {c for table in box().tables.values() for name in table.names for c in name if "一" <= c <= "鿿"}
    assert len(used - letters) <= 5


def test_a_phrase_is_read_as_it_is_spoken() -> None:
    rows = PackStore().pack_for("coding-terms").rows("initials")
    assert Initials.build(rows).of("重复肾") == "cfs"
    assert Initials.build(rows).of("重度贫血") == "zdpx"


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=120), st.integers(min_value=0, max_value=20))
def test_any_query_gives_a_short_and_repeatable_answer(query: str, limit: int) -> None:
    hits = box().search(query, limit=limit)
    assert len(hits) <= limit
    assert hits == box().search(query, limit=limit)
    assert len({hit.code for hit in hits}) == len(hits)


def test_browsing_leads_from_every_chapter_to_every_code() -> None:
    for system in SYSTEMS:
        table = box().tables[system]
        chapters = browse(table)
        assert sum(node.codes for node in chapters) == len(table.codes)
        chapter = chapters[1]
        node = browse(table, chapter.key)[0]
        while node.level != "code":
            children = browse(table, node.key)
            assert sum(child.codes for child in children) == node.codes
            node = children[0]
        assert node.key in table.codes


def test_a_code_knows_its_chapter() -> None:
    assert chapter_of("icd10", "I10.x00") == "循环系统疾病"
    assert chapter_of("icd9cm3", "51.2300") == "消化系统手术"
    assert chapter_of("icd10", "??") == ""


def test_folding_puts_width_case_and_punctuation_aside() -> None:
    assert fold("高血压 ３级（极高危）") == "高血压3级极高危"


@lru_cache(maxsize=1)
def served() -> CodeSearch:
    """The box of the service, which knows what doctors say for a name."""
    return open_search(PackStore())


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("冠心病", "I25.103"),
        ("心梗", "I21.900"),
        ("脑梗", "I63.900"),
        ("慢阻肺", "J44.900"),
        ("COPD", "J44.900"),
        ("陈旧性心梗", "I25.200"),
    ],
)
def test_what_doctors_say_for_a_name_finds_it_and_is_marked(query: str, code: str) -> None:
    hit = served().search(query)[0]
    assert (hit.code, hit.reason, hit.edition) == (code, "synonym", "别称")
    assert hit.matched in query
    assert hit.explanation == f"别称：{hit.matched}"


def test_a_usage_takes_nothing_from_what_was_found_without_it() -> None:
    for query in ("高血压", "gxy", "I10.x03", "肺炎", "骨折 股骨颈"):
        assert served().search(query) == box().search(query)


def test_a_usage_is_looked_up_within_the_time_of_a_keystroke() -> None:
    served().search("预热")
    for query in ("冠心病", "陈旧性心梗", "COPD", "没有这种病梗"):
        started = time.perf_counter()
        served().search(query, "icd10", 12)
        assert time.perf_counter() - started < 0.05, query
