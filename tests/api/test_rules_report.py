"""The report on the rules themselves: counts per rule, and that no running rule is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.demo.rules_report import SCHEME, Confusion, lacking, main, measure, page
from api.services.check import Checker
from models.pack import PackStore
from models.report import Finding, Severity


@pytest.fixture(scope="module")
def checker() -> Checker:
    return Checker.open(PackStore(), scheme=SCHEME)


def finding(rule: str, severity: Severity) -> Finding:
    return Finding(rule, "", severity, "", "", "", "", "", "")


def test_found_missed_and_false_alarms_are_counted_by_rule() -> None:
    counted = Confusion()
    counted.add_clean([finding("CMP-001", "warn"), finding("CMP-001", "warn")])
    counted.add_clean([])
    assert counted.passed
    counted.add_spoilt("甲", ("CMP-002",), [finding("CMP-002", "error")])
    counted.add_spoilt("乙", ("CMP-002", "CMP-003"), [finding("CMP-003", "error")])
    assert (counted.clean, counted.spoilt) == (2, 2)
    assert (counted.planted["CMP-002"], counted.found["CMP-002"]) == (2, 1)
    assert (counted.false_alarms["CMP-001"], counted.false_errors) == (1, 0)
    assert counted.missed == ["CMP-002 乙"]
    assert not counted.passed


def test_an_error_on_a_clean_list_does_not_pass() -> None:
    counted = Confusion()
    counted.add_clean([finding("CMP-001", "error")])
    assert not counted.passed


def test_every_running_rule_has_a_line(checker: Checker) -> None:
    counted = measure(checker, 60, 3)
    assert counted.clean == counted.spoilt == 60
    assert counted.planted.total() >= 60
    assert counted.missed == []
    assert counted.false_errors == 0
    text = page(checker, counted)
    assert lacking(checker, text) == []
    first = checker.rules.running[0].rule.code
    without = "\n".join(line for line in text.splitlines() if f"[{first}]" not in line)
    assert lacking(checker, without) == [first]
    assert lacking(checker, text + "| [XX-001](x) |\n") == ["XX-001"]


def test_the_page_is_written_and_its_structure_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.md"
    assert main(["--check", "--out", str(file)]) == 1
    assert "make rules-report" in capsys.readouterr().out
    assert main(["--lists", "20", "--out", str(file)]) == 0
    assert file.read_text("utf-8") == capsys.readouterr().out
    assert main(["--check", "--out", str(file)]) == 0
