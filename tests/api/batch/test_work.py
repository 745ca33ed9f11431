"""The work of one part: what it says of a list is what check, month and DIP say, and nobody's name is in it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.batch import work
from api.batch.driver import cut_parts
from api.batch.work import Job, Part, PartOutcome, check_part, packs_in_use, unpack_outcome, unpack_record
from api.intake.source import Incoming, open_source
from api.services.check import Checker
from api.services.dip import DipDesk
from api.services.month.records import Reading, Recorder
from api.services.payment import billing_of_list
from api.store.vault import unmasked_payload
from models.pack import PackError
from models.wire import decode
from qc_rules.acceptance import Acceptance
from tests.api.batch.conftest import BROKEN, REGION, Site, bodies

LISTS = 60


def part_of(lists: list[Any], first: int = 1) -> Part:
    contents = [one if isinstance(one, bytes) else msgspec.json.encode(one) for one in lists]
    return Part(0, first, tuple(Incoming("a.ndjson", line, one) for line, one in enumerate(contents, 1)))


def done(site: Site, part: Part, **given: Any) -> PartOutcome:
    return unpack_outcome(check_part(site.job(site.options(**given)), part))


def test_a_list_is_checked_grouped_and_priced_as_everywhere_else(site: Site) -> None:
    part = part_of(bodies(LISTS))
    found = done(site, part)
    checker = Checker.open(site.settings.store(), REGION)
    recorder = Recorder(checker, people=site.job(site.options()).vault.person_keys)
    desk = DipDesk(checker)
    assert [one.number for one in found.lists] == list(range(1, LISTS + 1))
    for item, one in zip(part.items, found.lists, strict=True):
        assert item.content is not None
        received = decode(item.content)
        report = checker.check(received)
        assert (one.verdict, one.score, one.grade) == (report.verdict, report.score, report.grade)
        assert [(f.rule, f.path) for f in one.findings] == [(f.rule, f.path) for f in report.findings]
        assert report.group is not None
        assert work.unpack_group(one.group) == report.group
        record, _ = recorder.record(received, 0, item.line, Reading())
        kept = unpack_record(one.record)
        assert msgspec.structs.replace(kept, leads=()) == msgspec.structs.replace(record, leads=())
        case, cost, on = desk.case_of_list(received)
        score = desk.score(case, billing_of_list(received, cost), on=on)
        assert one.dip == score.group
        assert one.dip_score == (None if score.score is None else float(score.score))
        assert one.dip_amount == (None if score.amount is None else int(score.amount * 100))
    assert sum(one.expected is not None for one in found.lists) > LISTS / 2
    assert {"rules", "drg-scheme", "drg-payment", "dip-catalogue"} <= {one.kind for one in found.packs}


def test_the_same_part_gives_the_same_bytes_and_travels_to_another_process(site: Site) -> None:
    part, job = part_of(bodies(20)), site.job(site.options())
    first = check_part(job, part)
    work._desk = None
    again: tuple[Job, Part] = pickle.loads(pickle.dumps((job, part)))  # noqa: S301 -- what was just made
    assert check_part(*again) == first


def test_a_line_that_holds_no_list_costs_only_itself(site: Site) -> None:
    found = done(site, part_of([bodies(1)[0], BROKEN, b"[]", bodies(2)[1]], first=41))
    assert [one.number for one in found.lists] == [41, 44]
    assert [(one.number, one.line) for one in found.rejects] == [(42, 2), (43, 3)]
    assert all(one.reason for one in found.rejects)


def test_a_field_written_twice_is_rejected_by_its_place(site: Site) -> None:
    twice = msgspec.json.encode(bodies(1)[0]).replace(
        b'"diag_code":', b'"diag_code":"Z99.900","diag_code":', 1
    )
    found = done(site, part_of([twice, bodies(2)[1]]))
    assert [one.number for one in found.lists] == [2]
    (reject,) = found.rejects
    assert reject.line == 1
    assert "“diseinfo[0].diag_code”（诊断代码）写了 2 次" in reject.reason


def test_what_the_intake_could_not_read_keeps_its_place_column_and_reason(site: Site) -> None:
    item = Incoming("b.csv", 9, None, "不是日期", "出院时间")
    (reject,) = done(site, Part(3, 7, (item,))).rejects
    assert reject == work.Rejected(7, "b.csv", 9, "出院时间", "不是日期")


def test_a_fault_of_the_program_on_one_list_does_not_cost_the_others(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lists = bodies(3)
    name = lists[1]["setlinfo"]["psn_name"]
    whole = Checker.examine

    def fails(self: Checker, received: Any, **given: Any) -> Any:
        if received.list.stay.patient_name == name:
            raise ZeroDivisionError(name)
        return whole(self, received, **given)

    monkeypatch.setattr(Checker, "examine", fails)
    found = done(site, part_of(lists))
    assert [one.number for one in found.rejects] == [2]
    assert "ZeroDivisionError" in found.rejects[0].reason
    assert "ZeroDivisionError" in caplog.text
    assert name not in caplog.text


def test_nobody_is_named_in_what_is_stored_in_the_clear(site: Site) -> None:
    lists = bodies(LISTS)
    for one in lists:
        # Rules on names and numbers fire, and repeat what they found.
        one["setlinfo"] |= {
            "psn_name": "欧阳试2样",
            "certno": "51010119850230123X",
            "coner_tel": "1380013802",
        }
        one["setlinfo"]["coner_name"] = "司马联3系"
    found = done(site, part_of(lists))
    rules = {finding.rule for one in found.lists for finding in one.findings}
    assert {"FMT-001", "FMT-004", "FMT-005", "FMT-006"} <= rules
    for checked in found.lists:
        open_part = msgspec.structs.replace(checked, identity=b"", payload=unmasked_payload(checked.payload))
        content = msgspec.msgpack.encode(open_part).decode("utf-8", "replace")
        for secret in ("欧阳试2样", "51010119850230123X", "1380013802", "司马联3系", "5101", "123X"):
            assert secret not in content
    names = {f.value: f.message for f in found.lists[0].findings if f.rule == "FMT-004"}
    shown = "欧****（打码显示，以病历原值为准）"
    assert shown in names
    assert f"“{shown}”" in names[shown]
    (number,) = (f for f in found.lists[0].findings if f.rule == "FMT-001")
    assert number.value == f"{'*' * 18}（打码显示，以病历原值为准）"
    assert number.message.count("打码显示") == 1


def test_an_accepted_finding_is_marked_and_counts_no_more(site: Site) -> None:
    lists = bodies(1)
    del lists[0]["setlinfo"]["medcasno"]
    plain = done(site, part_of(lists)).lists[0]
    assert "CMP-005" in {one.rule for one in plain.findings}
    accepted = Acceptance("a1", "CMP-005", "病案科", "已核实", accepted_at=datetime(2026, 10, 1, tzinfo=UTC))
    kept = done(site, part_of(lists), accepted=(accepted,)).lists[0]
    marked = {one.rule: one.accepted for one in kept.findings}
    assert marked["CMP-005"] is not None
    assert kept.errors + kept.warnings == plain.errors + plain.warnings - 1
    assert kept.score > plain.score


def test_other_packs_than_those_the_run_began_with_are_refused(site: Site) -> None:
    options = site.options()
    first, *rest = options.packs
    changed = msgspec.structs.replace(options, packs=((first[0], first[1], "0" * 64), *rest))
    with pytest.raises(PackError, match=first[0]):
        check_part(site.job(changed), part_of(bodies(1)))
    assert packs_in_use(site.settings.store()) == options.packs


def test_parts_are_cut_the_same_each_time_and_end_where_lists_are_long(
    site: Site, lists_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lists_file([*bodies(5), BROKEN, *bodies(4)])

    def cut() -> list[tuple[int, int, int]]:
        source = open_source(path, site.settings)
        return [(one.part.number, one.part.first, len(one.part.items)) for one in cut_parts(source, 4)]

    assert cut() == cut() == [(0, 1, 4), (1, 5, 4), (2, 9, 2)]
    monkeypatch.setattr("api.batch.driver.MAX_PART_BYTES", 1)
    assert [size for _, _, size in cut()] == [1] * 10
