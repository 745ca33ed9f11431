"""Building a DIP catalogue from history: thresholds, folding, means, tails, scores, sameness."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from grouper.dip.build import HistoryCase, build_catalogue, weighted_mean, without_tails
from grouper.dip.catalogue import Catalogue, load_catalogue
from grouper.dip.engine import DipEngine
from models.grouping import Case
from models.pack import PackStore
from tests.grouper.dip import library

E04 = "E04.900x001"
E04_OTHER = "E04.900x004"


def cases(count: int, year: int, cost: int, *procedures: str, diagnosis: str = E04) -> list[HistoryCase]:
    return [HistoryCase(Case((diagnosis,), procedures, age=50), year, cost) for _ in range(count)]


def built(history: list[HistoryCase], threshold: int = 15, base: Catalogue | None = None) -> Catalogue:
    return build_catalogue(history, library(), base, threshold).catalogue


def test_a_combination_with_the_threshold_is_core_and_the_rest_folds() -> None:
    history = [
        *cases(15, 2025, 1000, "06.2x01"),
        *cases(14, 2025, 2000, "06.4x00"),
        *cases(3, 2025, 4000, "06.4x00", "40.4100"),
        *cases(2, 2025, 500, "93.9000"),
        *cases(4, 2025, 300),
    ]
    catalogue = built(history)
    assert [(group.code, group.layer) for group in catalogue.groups] == [
        ("E04.9:06.2x01", "base"),
        ("E04:内科组", "comprehensive"),
        ("E04:手术组", "comprehensive"),
        ("E04:治疗性操作组", "comprehensive"),
    ]
    # 14 × 20.00 and 3 × 40.00: 400/17 yuan
    assert catalogue.scores["E04:手术组"].mean_cost == round(40000 / 17)
    assert catalogue.scores["E04:手术组"].cases == 17


def test_the_order_of_the_procedures_makes_no_other_combination() -> None:
    history = [*cases(8, 2025, 1000, "06.2x01", "40.4100"), *cases(7, 2025, 1000, "40.4100", "06.2x01")]
    assert [group.code for group in built(history).groups] == ["E04.9:06.2x01+40.4100"]


def test_codes_of_one_subcategory_count_together() -> None:
    history = [*cases(8, 2025, 1000), *cases(7, 2025, 1000, diagnosis=E04_OTHER)]
    assert [group.code for group in built(history).groups] == ["E04.9:保守治疗"]


def test_means_are_weighted_by_year() -> None:
    # 2023: 100 yuan (1), 2024: 200 yuan (2), 2025: 300 yuan (7) → (100 + 400 + 2100) / 10 = 260
    history = [*cases(5, 2023, 10000), *cases(50, 2024, 20000), *cases(5, 2025, 30000)]
    catalogue = built(history)
    assert catalogue.scores["E04.9:保守治疗"].mean_cost == 26000
    assert catalogue.scores["E04.9:保守治疗"].score == 1000


def test_a_group_without_cases_in_a_year_uses_the_years_it_has() -> None:
    assert weighted_mean({2025: [300], 2023: [100]}, {2025: 7, 2024: 2, 2023: 1}) == Fraction(2200, 8)


def test_scores_are_the_share_of_the_mean_of_all() -> None:
    history = [*cases(15, 2025, 10000, "06.2x01"), *cases(15, 2025, 30000, "06.4x00")]
    scores = built(history).scores
    assert (scores["E04.9:06.2x01"].score, scores["E04.9:06.4x00"].score) == (500, 1500)


def test_tails_of_40_cases_lose_one_at_each_end_and_of_39_none() -> None:
    costs = list(range(1, 41))
    assert without_tails(costs) == list(range(2, 40))
    assert without_tails(costs[:39]) == list(range(1, 40))
    assert without_tails([7]) == [7]


def test_an_extreme_cost_does_not_move_the_mean_of_a_large_group() -> None:
    history = [*cases(79, 2025, 1000), *cases(1, 2025, 10**9)]
    assert built(history).scores["E04.9:保守治疗"].mean_cost == 1000


def test_what_cannot_be_used_is_counted() -> None:
    history = [
        *cases(20, 2025, 1000),
        *cases(2, 2021, 1000),
        *cases(3, 2025, 0),
        HistoryCase(Case((), ()), 2025, 1000),
    ]
    report = build_catalogue(history, library(), None, 15).report
    assert (report.cases, report.too_old, report.without_cost, report.not_for_grouping) == (26, 2, 3, 1)
    assert (report.core, report.core_groups, report.years) == (20, 1, (2025,))


@pytest.mark.parametrize("history", [[], cases(3, 2025, 0)])
def test_a_history_without_costs_is_refused(history: list[HistoryCase]) -> None:
    with pytest.raises(ValueError, match="病例"):
        build_catalogue(history, library(), None, 15)


def mixed() -> list[HistoryCase]:
    pick = random.Random(5)  # noqa: S311 - test data, nothing secret
    diagnoses = [E04, E04_OTHER, "D34.x00", "I10.x00x002", "A41.900", "K35.800x001"]
    procedures = ["06.2x01", "06.4x00", "40.4100", "47.0100", "93.9000", "39.9500", "88.7100x001"]
    return [
        HistoryCase(
            Case(
                (pick.choice(diagnoses),),
                tuple(pick.sample(procedures, pick.choice((0, 0, 1, 1, 2)))),
                age=50,
            ),
            pick.choice((2023, 2024, 2025)),
            pick.randint(100_000, 5_000_000),
        )
        for _ in range(800)
    ]


def test_the_same_cases_in_any_order_give_the_same_catalogue() -> None:
    national = load_catalogue(PackStore().get("dip-national"))
    history = mixed()
    first = build_catalogue(history, library(), national, 15)
    random.Random(9).shuffle(history)  # noqa: S311 - test data, nothing secret
    assert build_catalogue(history, library(), national, 15) == first


def test_every_case_of_the_history_lands_in_the_group_it_was_counted_in() -> None:
    national = load_catalogue(PackStore().get("dip-national"))
    history = mixed()
    catalogue = built(history, base=national)
    engine = DipEngine(catalogue, library())
    counted: dict[str, int] = {}
    for row in history:
        result = engine.group(row.case, row.cost)
        counted[result.code] = counted.get(result.code, 0) + 1
    assert counted == {code: score.cases for code, score in catalogue.scores.items()}
    assert {group.code for group in catalogue.groups if group.layer == "pre"} >= {"XQ1", "XQ19"}
    assert "JC2371" in counted
