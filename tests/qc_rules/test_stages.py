"""One rule base, three stages: what is only known after the settlement is not asked for before."""

from typing import Any

from models.wire import decode_payload
from qc_rules.examples import build
from qc_rules.ruleset import RuleSet
from qc_rules.schema import Example, Stage

SETTLED = (
    "setl_id", "bill_code", "bill_no", "setl_begn_date", "setl_end_date", "psn_selfpay", "psn_ownpay",
    "acct_pay", "psn_cashpay", "medfee_sumamt", "hi_paymtd", "hsorg", "hsorg_opter", "medins_fill_dept",
    "medins_fill_psn",
)  # fmt: skip


def _before_settlement() -> Any:
    body = build(Example())["input"]
    for node in ("iteminfo", "payinfo"):
        body.pop(node, None)
    for field in SETTLED:
        body["setlinfo"].pop(field, None)
    return body


def _found(rules: RuleSet, stage: Stage, body: Any) -> set[str]:
    chosen = rules.at_stage(stage)
    return {one.rule for one in chosen.check(chosen.facts(decode_payload(body)))}


def test_a_list_that_is_not_settled_yet_is_clean_before_the_settlement(rules: RuleSet) -> None:
    assert _found(rules, "事前", _before_settlement()) == set()
    assert {"CMP-002", "CMP-024"} <= _found(rules, "事中", _before_settlement())


def test_a_mistake_of_the_record_is_found_at_every_stage(rules: RuleSet) -> None:
    body = _before_settlement()
    body["setlinfo"]["gend"] = "3"
    for stage in ("事前", "事中", "事后"):
        assert "DIC-014" in _found(rules, stage, body)


def test_a_stage_is_compiled_once_and_runs_its_rules_only(rules: RuleSet) -> None:
    early = rules.at_stage("事前")
    assert rules.at_stage("事前") is early
    assert all("事前" in one.rule.stages for one in early.running)
    assert 0 < len(early.running) < len(rules.running)
