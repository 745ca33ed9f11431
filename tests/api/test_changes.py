"""What is kept of an earlier result together with what is computed again equals a check of the whole list."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import msgspec
import pytest

from api.demo.generator import Generator
from api.demo.month import Month
from api.services.changes import (
    NOTHING,
    Changes,
    Earlier,
    PinnedStore,
    Surroundings,
    examine_again,
    look_at,
)
from api.services.check import NO_SCHEME, Checker, discharge_date
from models.grouping import GroupResult
from models.pack import PackError, PackStore
from models.report import Report
from models.wire import Received, decode
from qc_rules.acceptance import Acceptance, Acceptances
from tests.hospital_pack import RULE, Edit, Rows, write_edited, write_rules
from tests.loaded import case_mix

pytestmark = pytest.mark.usefixtures("loaded_once")

LISTS = 60
REGION = "99"


@pytest.fixture(scope="module")
def lists() -> list[Received]:
    """Lists with and without planted mistakes, in both interfaces, and some that are hardly lists."""
    rules = frozenset(one.rule.code for one in _shipped().checker.rules.running)
    month = Month(Generator(case_mix(), seed=11), LISTS, rules)
    found = [decode(msgspec.json.encode(made.body)) for made, _ in month]
    broken = (
        b'{"setlinfo": {}, "diseinfo": []}',
        b'{"setlinfo": {"dscg_time": "2026-10-05 10:00:00", "wm_dise_code": "I10.x00x002"},'
        b' "diseinfo": [{"diag_code": 5}, {"diag_code": "I10.x00x002", "diag_name": "x"}], "nonsense": 1}',
        msgspec.json.encode(
            {
                "setlinfo": {"dscg_time": "2026-10-05 10:00:00", "gend": "2", "mdtrt_id": "many"},
                "diseinfo": [{"diag_code": "Q99.999", "diag_type": "9"}] * 80,
            }
        ),
    )
    return [*found, *map(decode, broken)]


@dataclass
class Site:
    """The folder of packs of a hospital, to be changed."""

    folder: Path

    def store(self) -> PackStore:
        return PackStore(site=self.folder)

    def edit(self, pack_id: str, table: str, edit: Edit) -> None:
        """A new version of a shipped pack with one table changed."""
        write_edited(self.folder, self.store().get(pack_id), table, edit)

    def hospital(self, version: str, overrides: str = "", rule: str = "", more: str = "") -> None:
        """The hospital's own rules."""
        folder = self.folder / "hospital-own" / version
        write_rules(folder, rule=rule, overrides=overrides, version=version, more=more)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "packs")


def _with(rows: Rows, key: str, column: int, value: str) -> Rows:
    assert any(row[0] == key for row in rows)
    return [[*row[:column], value, *row[column + 1 :]] if row[0] == key else row for row in rows]


def _common(lists: list[Received], place: int = 0) -> str:
    """A diagnosis code that many lists have."""
    book = _shipped().checker.library.icd10.codes
    counts = Counter(row.code for one in lists for row in one.list.diagnoses if row.code in book)
    code = counts.most_common()[place][0]
    assert code is not None
    return code


def _surroundings(store: PackStore, scheme: str = "", accepted: Iterable[Acceptance] = ()) -> Surroundings:
    return Surroundings(
        Checker.open(store, REGION, scheme), scheme, accepted=tuple(accepted), on=date(2026, 11, 1)
    )


@cache
def _shipped(scheme: str = "") -> Surroundings:
    return _surroundings(PackStore(), scheme)


_KNOWN: dict[int, tuple[Surroundings, list[Received], list[tuple[Report, GroupResult]]]] = {}


def _full(lists: list[Received], there: Surroundings) -> list[tuple[Report, GroupResult]]:
    if id(there) in _KNOWN and _KNOWN[id(there)][1] is lists:
        return _KNOWN[id(there)][2]
    accepted = Acceptances(there.accepted, there.on or date.min) if there.accepted else None
    found = []
    for one in lists:
        examined = there.checker.examine(one, scheme=there.scheme, accepted=accepted)
        assert examined.facts.group is not None
        found.append((examined.report, examined.facts.group))
    _KNOWN[id(there)] = there, lists, found
    return found


@dataclass
class Compared:
    """How much was done anew: lists touched, lists whose rules were run, and rules of the scopes."""

    touched: int
    whole: int
    rules: int
    changed: int


def _proved(lists: list[Received], before: Surroundings, after: Surroundings) -> Compared:
    """Both ways give the same reports and groups; gives what the short way cost."""
    earlier, wanted = _full(lists, before), _full(lists, after)
    changes = Changes(before, after)
    accepted = Acceptances(after.accepted, after.on or date.min) if after.accepted else None
    touched = whole = 0
    for one, (report, group), (report_after, group_after) in zip(lists, earlier, wanted, strict=True):
        scope = changes.scope(discharge_date(one))
        look = look_at(one, report.list_id, Counter(finding.rule for finding in report.findings))
        work = scope.work(look)
        if work == NOTHING:
            same = msgspec.structs.replace(report, packs=report_after.packs)
            assert (same, group) == (report_after, group_after)
            continue
        touched += 1
        whole += work.whole
        kept = Earlier(report.findings, group)
        examined = examine_again(scope, work, after, one, kept, accepted=accepted)
        assert examined.report == report_after
        assert examined.facts.group == group_after
    changed = sum(
        a[0].findings != b[0].findings or a[1] != b[1] for a, b in zip(earlier, wanted, strict=True)
    )
    return Compared(touched, whole, max(len(one.run) for one in changes.scopes()), changed)


def test_nothing_changed_touches_nothing(lists: list[Received]) -> None:
    found = _proved(lists, _shipped(), _shipped())
    assert found == Compared(0, 0, 0, 0)


def test_a_rule_switched_off_reads_only_lists_where_it_was_found(lists: list[Received], site: Site) -> None:
    before = _shipped()
    counts = Counter(
        one.rule
        for report, _ in _full(lists, before)
        for one in {f.rule: f for f in report.findings}.values()
    )
    code = counts.most_common()[-1][0]
    site.hospital("1", f"{code}: {{status: 'off', reason: 试}}\n")
    found = _proved(lists, before, _surroundings(site.store()))
    assert found.touched - found.whole <= counts[code]
    assert found.changed == counts[code]


@pytest.mark.parametrize(
    "change",
    ["severity: info", "severity: error", "deduction: 33", "effective_from: 2027-01-01", "status: 'off'"],
)
def test_an_override_of_frequent_rules(lists: list[Received], site: Site, change: str) -> None:
    before = _shipped()
    counts = Counter(one.rule for report, _ in _full(lists, before) for one in report.findings)
    often = [code for code, _ in counts.most_common(6)]
    site.hospital("1", "".join(f"{code}: {{{change}, reason: 试}}\n" for code in often))
    found = _proved(lists, before, _surroundings(site.store()))
    assert found.touched > 0
    assert found.rules <= len(often)


def test_an_added_rule_and_its_removal(lists: list[Received], site: Site) -> None:
    before = _shipped()
    site.hospital("1", rule=RULE)
    after = _surroundings(site.store())
    there, back = _proved(lists, before, after), _proved(lists, after, before)
    assert there.rules == 1
    assert there.changed == back.changed > 0
    assert back.touched < there.touched


def test_a_rule_is_edited_in_its_condition_and_in_its_words(lists: list[Received], site: Site) -> None:
    site.hospital("1", rule=RULE)
    before = _surroundings(site.store())
    site.hospital("2", rule=RULE.replace('">", 5', '">", 9'))
    found = _proved(lists, before, _surroundings(site.store()))
    assert (found.rules, found.changed > 0) == (1, True)
    site.hospital("3", rule=RULE.replace("请核对。", "请再核对一次。"))
    words = _proved(lists, before, _surroundings(site.store()))
    assert words.rules == 1
    assert words.changed == words.touched - words.whole


def test_a_parameter_of_a_rule_about_codes_reads_only_lists_with_its_codes(
    lists: list[Received], site: Site
) -> None:
    before = _shipped()
    marks = [one for one in before.checker.rules.running if one.codes and one.rule.parameters]
    chosen = next(
        (one, name)
        for one in marks
        for name, value in one.rule.parameters.items()
        if isinstance(value.value, tuple)
    )
    rule, name = chosen[0].rule, chosen[1]
    values = [*rule.parameters[name].value, _common(lists)[:3]]  # type: ignore[misc, union-attr]
    if ":" in str(values[0]):
        values = [*values[:-1], values[0]]
    site.hospital("1", f"{rule.code}: {{parameters: {{{name}: {values}}}, reason: 试}}\n")
    found = _proved(lists, before, _surroundings(site.store()))
    assert found.rules == 1
    assert found.touched < len(lists)


@pytest.mark.parametrize(
    "setting",
    ["same_day_stay = 0", 'male_o_code = "error"', "newborn_weight_min = 3200", "preview_rules = true"],
)
def test_a_setting(lists: list[Received], site: Site, setting: str) -> None:
    before = _shipped()
    site.hospital("1", more=f"[parameters]\n{setting}\n")
    _proved(lists, before, _surroundings(site.store()))


@pytest.mark.parametrize("scheme", ["chs-drg-1.1", "guangxi-2022"])
def test_another_scheme_regroups_and_runs_only_the_rules_that_look_at_the_group(
    lists: list[Received], scheme: str
) -> None:
    before, after = _shipped(), _shipped(scheme)
    there, back = _proved(lists, before, after), _proved(lists, after, before)
    assert 0 < there.rules < 30
    assert 0 < back.rules < 30
    assert there.changed > 0


@pytest.mark.parametrize("change", ["grey", "renamed", "gone"])
def test_a_code_of_the_book(lists: list[Received], site: Site, change: str) -> None:
    before = _shipped()
    code = _common(lists, 3)
    lists_with = sum(code in [row.code for row in one.list.diagnoses] for one in lists)
    edits: dict[str, Edit] = {
        "grey": lambda rows: _with(rows, code, 2, "1"),
        "renamed": lambda rows: _with(rows, code, 1, "新生儿改了名称的男性疾病"),
        "gone": lambda rows: [row for row in rows if row[0] != code],
    }
    site.edit("icd10-nhsa-2.0", "codes", edits[change])
    found = _proved(lists, before, _surroundings(site.store()))
    assert found.changed > 0
    assert lists_with <= found.whole < len(lists) / 2
    assert found.rules < len(before.checker.rules.running) / 2


def test_a_value_domain_row(lists: list[Received], site: Site) -> None:
    before = _shipped()
    site.edit("value-domains", "domains", lambda rows: [row for row in rows if row[:2] != ["gend", "2"]])
    found = _proved(lists, before, _surroundings(site.store()))
    assert found.changed > 0
    assert found.rules < 40


def test_a_row_of_the_table_of_one_sex(lists: list[Received], site: Site) -> None:
    before = _shipped()
    prefix = _common(lists, 1)[:3]
    site.edit("sex-restricted", "code_prefix", lambda rows: [*rows, [prefix, "icd10", "2", "error"]])
    found = _proved(lists, before, _surroundings(site.store()))
    assert found.changed > 0
    assert found.rules < 40


def test_payment_weights_touch_no_rule_and_no_group(lists: list[Received], site: Site) -> None:
    before = _shipped()
    site.edit("drg-payment-demo", "weights", lambda rows: [[row[0], "1.5", *row[2:]] for row in rows])
    after = _surroundings(site.store())
    work = Changes(before, after).scope(date(2026, 10, 5)).work(look_at(lists[0], "", {}))
    assert (work.price, work.group, work.run, work.whole, work.dip) == (True, False, False, False, False)
    found = _proved(lists, before, after)
    assert (found.rules, found.whole) == (0, 0)


def test_dip_scores_touch_only_dip(lists: list[Received], site: Site) -> None:
    before = _shipped()
    site.edit("dip-demo", "scores", lambda rows: rows[:-1])
    work = (
        Changes(before, _surroundings(site.store())).scope(date(2026, 10, 5)).work(look_at(lists[0], "", {}))
    )
    assert (work.dip, work.price, work.group, work.run, work.whole) == (True, False, False, False, False)


def test_acceptances_that_come_and_go(lists: list[Received]) -> None:
    first = next(report for report, _ in _full(lists, _shipped()) if report.findings and report.list_id)
    when = datetime(2026, 10, 31, tzinfo=UTC)
    own = Acceptance("A0001", first.findings[0].rule, "张", "核对过", when, list_id=first.list_id)
    idle = Acceptance("A0002", "CMP-001", "张", "核对过", when, list_id=first.list_id, value="没有的值")
    pattern = Acceptance("A0003", first.findings[-1].rule, "张", "核对过", when)
    over = replace_until(pattern, date(2026, 10, 31))
    for before, after in (((), (own, idle)), ((own, idle), ()), ((pattern,), (own,)), ((own,), (own, over))):
        found = _proved(lists, replace(_shipped(), accepted=before), replace(_shipped(), accepted=after))
        assert (found.rules, found.touched < len(lists)) == (0, True)


def replace_until(one: Acceptance, until: date) -> Acceptance:
    return msgspec.structs.replace(one, id="A0009", until=until)


def test_without_the_old_packs_everything_is_computed_and_why_is_said(lists: list[Received]) -> None:
    after = _shipped()
    scope = Changes(None, after, "原来用的数据包 x 已不在").scope(None)
    assert scope.work(look_at(lists[0], "", {})).whole
    assert scope.whole == "原来用的数据包 x 已不在"


def test_what_cannot_be_read_for_sure_is_computed_again_when_codes_decide(
    lists: list[Received], site: Site
) -> None:
    before = _shipped()
    site.edit("icd10-nhsa-2.0", "codes", lambda rows: _with(rows, _common(lists), 2, "1"))
    scope = Changes(before, _surroundings(site.store())).scope(date(2026, 10, 5))
    masked = decode(msgspec.json.encode({"setlinfo": {}, "diseinfo": [{"diag_code": "I1**5"}]}))
    assert scope.work(look_at(masked, "", {})).whole


def test_random_changes_together(lists: list[Received], site: Site) -> None:
    """Several kinds of change at once, drawn anew five times."""
    rng = random.Random(5)  # noqa: S311 -- the same changes each time
    codes = [one.rule.code for one in _shipped().checker.rules.running]
    before = _shipped()
    previous = before
    site.edit("icd10-nhsa-2.0", "codes", lambda rows: _with(rows, _common(lists, 2), 2, "1"))
    site.edit("value-domains", "domains", lambda rows: [row for row in rows if row[:2] != ["gend", "2"]])
    for version in range(1, 6):
        chosen = rng.sample(codes, 60)
        ways = ["severity: info", "deduction: 7", "status: 'off'"]
        lines = [f"{code}: {{{rng.choice(ways)}, reason: 试}}\n" for code in chosen]
        site.hospital(str(version), "".join(lines), rule=RULE if version % 2 else "")
        after = _surroundings(site.store(), rng.choice(["", "chs-drg-1.1", "guangxi-2022"]))
        _proved(lists, previous, after)
        previous = after


def test_pinned_packs_are_those_of_then(site: Site) -> None:
    store = site.store()
    pins = [
        (pack.id, pack.manifest.version, pack.sha256)
        for kind in {p.kind for p in store.all()}
        for pack in store.active(kind)
    ]
    site.edit("value-domains", "domains", lambda rows: rows[:-1])
    now = site.store()
    assert now.get("value-domains").manifest.version == "9999"
    pinned = PinnedStore(now, pins)
    assert pinned.get("value-domains").manifest.version != "9999"
    assert Checker.open(pinned, REGION).rules.reference.packs
    with pytest.raises(PackError, match="value-domains 2021"):
        PinnedStore(now, [("value-domains", "2021", "0" * 64)])
    with pytest.raises(PackError, match="nowhere 1"):
        PinnedStore(now, [("nowhere", "1", "0" * 64)])


def test_a_list_without_a_scheme_stays_without(lists: list[Received], site: Site) -> None:
    early = [one for one in lists if discharge_date(one) is not None][:3]
    moved = []
    for one in early:
        stay = msgspec.structs.replace(one.list.stay, discharge_time=datetime(2019, 5, 1, 8))
        moved.append(msgspec.structs.replace(one, list=msgspec.structs.replace(one.list, stay=stay)))
    before = _shipped()
    site.hospital("1", rule=RULE)
    after = _surroundings(site.store())
    assert {group.reason for _, group in _full(moved, before)} == {NO_SCHEME}
    _proved(moved, before, after)
    assert replace(before, scheme="x").scheme == "x"
