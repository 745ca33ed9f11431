"""A month judged again: the same as judging every list anew, with only what the change touches computed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from api.batch.driver import Progress
from api.batch.executors import InProcess, open_executor
from api.batch.revalidate import base_run, begin_revalidation, differences, run_revalidation
from api.batch.runs import FINDING, RESULT, BatchError, RunView, cancel, read_run
from api.store.lists import latest, open_masked, save_version
from models.pack import PackError, PackStore
from tests.api.batch.conftest import BROKEN, REGION, Body, Site, bodies
from tests.hospital_pack import RULE, Edit, write_edited, write_rules

LISTS = 50


@pytest.fixture
def base(site: Site, lists_file: Callable[..., Path]) -> RunView:
    """A finished run over lists with a few mistakes, one row that is no list, and one list twice."""
    made: list[Body | bytes] = list(bodies(LISTS))
    for number, one in enumerate(made):
        assert isinstance(one, dict)
        stay: Any = one["setlinfo"]
        if number % 5 == 0:
            stay["psn_name"] = ""
        if number % 7 == 0:
            one["diseinfo"][0]["diag_name"] = "别的名称"
    made[3:3] = [BROKEN, copy.deepcopy(made[2])]
    return site.run(lists_file(made))


def again(site: Site, base: RunView, **given: Any) -> RunView:
    run_id = begin_revalidation(site.database, site.settings, base, by="质控科", **given)
    return run_revalidation(site.database, site.settings, run_id, InProcess())


def proved(site: Site, run: RunView) -> None:
    assert differences(site.database, site.settings, run.id, InProcess()) == []


def found(site: Site, run_id: int, rule: str) -> int:
    with site.database.read() as connection:
        return connection.execute(
            select(func.count()).where(FINDING.c.run_id == run_id, FINDING.c.rule == rule)
        ).scalar_one()


def everything(site: Site, run_id: int) -> list[tuple[Any, ...]]:
    """Results and findings of a run without its number."""
    with site.database.read() as connection:
        return [
            tuple(row)[1:]
            for kind, order in (
                (RESULT, (RESULT.c.number,)),
                (FINDING, (FINDING.c.number, FINDING.c.position)),
            )
            for row in connection.execute(select(kind).where(kind.c.run_id == run_id).order_by(*order))
        ]


def edited(site: Site, pack_id: str, table: str, edit: Edit) -> None:
    write_edited(site.settings.home / "packs", PackStore().get(pack_id), table, edit)


def test_under_the_same_packs_everything_is_copied(site: Site, base: RunView) -> None:
    run = again(site, base)
    assert run.state == "done"
    assert (run.lists, run.rejected, run.kind, run.base_run) == (base.lists, 1, "revalidation", base.id)
    assert f"沿用 {base.lists} 份" in run.message
    assert "重新计算 0 份" in run.message
    assert everything(site, run.id) == everything(site, base.id)
    proved(site, run)


def test_a_rule_pack_on_trial_adds_its_findings_and_goes_again(
    site: Site, base: RunView, tmp_path: Path
) -> None:
    folder = write_rules(tmp_path / "trial", rule=RULE)
    run = again(site, base, rules_packs=[str(folder)])
    assert "涉及规则 1 条" in run.message
    assert "整份 0 份" in run.message
    assert found(site, run.id, "HOS-001") > 0
    proved(site, run)
    back = again(site, run, rules_packs=[])
    assert found(site, back.id, "HOS-001") == 0
    assert everything(site, back.id) == everything(site, base.id)


def test_a_rule_file_changed_in_place_is_noticed(site: Site, base: RunView, tmp_path: Path) -> None:
    folder = write_rules(tmp_path / "trial", rule=RULE)
    run = again(site, base, rules_packs=[str(folder)])
    changed = RULE.replace('">", 5', '">", 500')
    (folder / "hos" / "HOS-001.yaml").write_text(changed, encoding="utf-8")
    after = again(site, run, rules_packs=[str(folder)])
    assert "已不在或内容有变：hospital-own 1" in after.message
    assert found(site, after.id, "HOS-001") == 0
    proved(site, after)


def test_another_scheme_moves_groups_and_keeps_the_other_findings(site: Site, base: RunView) -> None:
    run = again(site, base, scheme="chs-drg-1.1")
    assert "整份 0 份" in run.message
    proved(site, run)
    back = again(site, run, scheme="")
    assert everything(site, back.id) == everything(site, base.id)


def test_weights_of_a_payment_pack(site: Site, base: RunView) -> None:
    edited(site, "drg-payment-demo", "weights", lambda rows: [[row[0], "1.5", *row[2:]] for row in rows])
    run = again(site, base)
    with site.database.read() as connection:
        weights = connection.execute(select(RESULT.c.weight).where(RESULT.c.run_id == run.id)).scalars()
        assert {1.5} == set(weights) - {None}
    assert "涉及规则" not in run.message
    proved(site, run)


def test_a_code_that_turns_grey(site: Site, base: RunView) -> None:
    code = bodies(1)[0]["diseinfo"][0]["diag_code"]
    edited(
        site,
        "icd10-nhsa-2.0",
        "codes",
        lambda rows: [[row[0], row[1], "1"] if row[0] == code else row for row in rows],
    )
    run = again(site, base)
    assert "整份 0 份" not in run.message
    assert "沿用" in run.message
    proved(site, run)


def test_a_corrected_list_is_judged_in_its_newest_version(site: Site, base: RunView) -> None:
    vault = site.job(base.read_options).vault
    with site.database.read() as connection:
        key = connection.execute(
            select(RESULT.c.list_key).where(RESULT.c.run_id == base.id, RESULT.c.number == 1)
        ).scalar_one()
        version, masked = open_masked(connection, key)
    body = msgspec.json.decode(masked)
    body["diseinfo"][0]["diag_code"] = "Z99.999x999"
    with site.database.begin() as connection:
        save_version(
            connection, vault, key, msgspec.json.encode(body), base=version, who="编码员", at=base.created_at
        )
        assert latest(connection, [key])[key] == version + 1
    run = again(site, base)
    assert "重新计算 1 份" in run.message
    with site.database.read() as connection:
        row = connection.execute(
            select(RESULT.c.version, RESULT.c.verdict).where(RESULT.c.run_id == run.id, RESULT.c.number == 1)
        ).one()
    assert tuple(row) == (version + 1, "需修改")
    proved(site, run)


def test_a_killed_revalidation_goes_on_behind_its_last_part(site: Site, base: RunView) -> None:
    run_id = begin_revalidation(site.database, site.settings, base, by="质控科", scheme="chs-drg-1.1")

    class PowerCutError(BaseException):
        pass

    def cut(progress: Progress) -> None:
        if progress.lists >= 20:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        run_revalidation(site.database, site.settings, run_id, InProcess(), report=cut)
    half = read_run(site.database, run_id)
    assert 0 < half.lists < base.lists
    run = run_revalidation(site.database, site.settings, run_id, InProcess())
    assert (run.state, run.lists) == ("done", base.lists)
    proved(site, run)
    whole = again(site, base, scheme="chs-drg-1.1")
    assert everything(site, run.id) == everything(site, whole.id)


def test_workers_give_what_one_process_gives(site: Site, base: RunView) -> None:
    run_id = begin_revalidation(site.database, site.settings, base, by="质控科", scheme="guangxi-2022")
    with open_executor(1) as (executor, count):
        run = run_revalidation(site.database, site.settings, run_id, executor, workers=count)
    assert everything(site, run.id) == everything(site, again(site, base, scheme="guangxi-2022").id)


def test_what_cannot_be_judged_again_is_said(site: Site, base: RunView, tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="没有已完成的批次"):
        base_run(site.database, "2020-01")
    assert base_run(site.database, "2026-10").id == base_run(site.database, str(base.id)).id == base.id
    waiting = begin_revalidation(site.database, site.settings, base, by="质控科")
    with pytest.raises(BatchError, match="没有完成"):
        base_run(site.database, str(waiting))
    cancel(site.database, waiting)
    with pytest.raises(PackError, match="没有 DRG 分组方案"):
        again(site, base, scheme="nowhere")
    with pytest.raises(PackError):
        again(site, base, rules_packs=[str(tmp_path / "nowhere")])
    with pytest.raises(BatchError, match="不是重新质控"):
        run_revalidation(site.database, site.settings, base.id, InProcess())


def test_the_check_of_everything_notices_a_wrong_result(site: Site, base: RunView) -> None:
    run = again(site, base)
    with site.database.begin() as connection:
        connection.execute(
            RESULT.update().where(RESULT.c.run_id == run.id, RESULT.c.number == 2).values(score=1)
        )
        connection.execute(FINDING.delete().where(FINDING.c.run_id == run.id, FINDING.c.number == 1))
    assert set(differences(site.database, site.settings, run.id, InProcess())) == {1, 2}
    assert REGION
