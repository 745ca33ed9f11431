"""Rule packs: overrides, settings, errors that name file and key; findings in order and in place."""

from pathlib import Path

import pytest

from api.demo.case_mix import load_case_mix
from api.demo.generator import Generator
from models.pack import Pack, PackStore
from models.wire import decode, decode_payload
from qc_rules.dependencies import reads_of
from qc_rules.examples import build, run
from qc_rules.predicates import predicates
from qc_rules.program import Program
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet, national_pack
from qc_rules.schema import Example
from qc_rules.source import RuleError

RULE = """\
code: "LOC-001"
name: 示例规则
title: 病案号不以 0 开头
severity: warn
basis: {document: 本院规定, confidence: in use}
why: 本院的病案号都以 0 开头。
when:
  not:
    starts_with: {field: setlinfo.medcasno, prefixes: ["0"]}
message: "“{field}”为 {value}"
advice: 请核对病案号。
deduction: 1
"""


def _pack(
    folder: Path, overrides: str = "", rule: str = "", parameters: str = "", path: str = "loc/LOC-001"
) -> Pack:
    folder.mkdir(exist_ok=True)
    (folder / "pack.toml").write_text(
        f'id = "our-rules"\nkind = "rules"\nname = "本院规则"\npublisher = "本院"\ndocument = "本院"\n'
        f'version = "1"\n[parameters]\n{parameters}\n[tables]\n',
        encoding="utf-8",
    )
    if overrides:
        (folder / "overrides.yaml").write_text(overrides, encoding="utf-8")
    if rule:
        file = folder / f"{path}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rule, encoding="utf-8")
    return Pack.load(folder)


def _load(pack: Pack, reference: Reference) -> RuleSet:
    return RuleSet.load([national_pack(), pack], reference)


def _fired(rules: RuleSet, **change: object) -> dict[str, str]:
    paths = {path.replace("__", "."): value for path, value in change.items()}
    return {one.rule: one.severity for one in run(rules, Example(change=paths))}


def test_an_override_changes_severity_and_switches_off(tmp_path: Path, reference: Reference) -> None:
    text = 'DIC-025: {severity: error, deduction: 9, reason: 本院不用}\nCMP-063: {status: "off", reason: 不采集}\n'
    rules = _load(_pack(tmp_path / "p", text), reference)
    assert _fired(rules, setlinfo__dscg_way="9") == {"DIC-025": "error"}
    assert _fired(rules, setlinfo__emp_name=None) == {}
    assert rules.deduction("DIC-025") == 9


def test_an_override_changes_a_parameter(tmp_path: Path, reference: Reference) -> None:
    text = 'CMP-063: {parameters: {occupations: ["27"]}, reason: 农民工}\n'
    rules = _load(_pack(tmp_path / "p", text), reference)
    assert _fired(rules, setlinfo__emp_name=None) == {}
    assert _fired(rules, setlinfo__emp_name=None, setlinfo__prfs="27") == {"CMP-063": "warn"}


def test_an_override_limits_a_rule_to_dates(tmp_path: Path, reference: Reference) -> None:
    text = "DIC-025: {effective_from: 2026-01-01, reason: 明年起}\n"
    rules = _load(_pack(tmp_path / "p", text), reference)
    assert _fired(rules, setlinfo__dscg_way="9") == {}


def test_a_hospital_adds_its_own_rule(tmp_path: Path, reference: Reference) -> None:
    rules = _load(_pack(tmp_path / "p", rule=RULE), reference)
    assert _fired(rules, setlinfo__medcasno="7") == {"LOC-001": "warn"}
    assert _fired(rules) == {}
    assert [pack.id for pack in rules.packs] == ["qc-rules-national", "our-rules"]


def test_a_setting_of_the_hospital_holds(tmp_path: Path, reference: Reference) -> None:
    rules = _load(_pack(tmp_path / "p", parameters="newborn_weight_max = 9999"), reference)
    found = run(rules, Example(base="newborn", change={"setlinfo.nwb_bir_wt": 12000}))
    assert "FMT-013" in {one.rule for one in found}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("XYZ-001: {severity: warn, reason: a}\n", "XYZ-001"),
        ("DIC-025: {severty: warn, reason: a}\n", "severty"),
        ("DIC-025: {severity: fatal, reason: a}\n", "severity"),
        ("DIC-025: {severity: warn}\n", "reason"),
        ("DIC-025: {status: off, reason: a}\n", "引号"),
        ("CMP-063: {parameters: {jobs: []}, reason: a}\n", "jobs"),
        ("CMP-063: {parameters: {occupations: 3}, reason: a}\n", "occupations"),
        ("DIC-019: {status: stable, reason: a}\n", "缺少数据"),
        ("DIC-025: {reason: a}\nDIC-025: {reason: b}\n", "两次"),
        ("- 1\n", "键"),
        ("a: [\n", "YAML"),
        ("a: &x 1\nb: *x\n", "引用"),
    ],
)
def test_a_wrong_override_is_refused_by_file_and_key(
    text: str, named: str, tmp_path: Path, reference: Reference
) -> None:
    with pytest.raises(RuleError, match=named) as caught:
        _load(_pack(tmp_path / "p", text), reference)
    assert "overrides.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("setlinfo.medcasno", "setlinfo.medcasn", "第 9 行 when.not.starts_with.field.*medcasno"),
        ("starts_with:", "begins_with:", "when.not.begins_with"),
        ('prefixes: ["0"]', "prefixes: [0]", "加引号"),
        ('prefixes: ["0"]', 'prefix: ["0"]', "prefixes"),
        ("severity: warn", "severity: error", "arithmetic"),
        ("deduction: 1", "deduction: x", "第 12 行 deduction"),
        ("advice:", "advise:", "advise"),
        ("{value}", "{value", "花括号"),
        ("{value}", "{fact.nothing}", "nothing"),
        ('"LOC-001"', '"LOC-1"', "code"),
        ('code: "LOC-001"', 'code: "LOC-002"', "LOC-002.yaml"),
        (
            'when:\n  not:\n    starts_with: {field: setlinfo.medcasno, prefixes: ["0"]}',
            "when: {check: nothing}",
            "谓词",
        ),
        (
            'when:\n  not:\n    starts_with: {field: setlinfo.medcasno, prefixes: ["0"]}',
            "when: {check: {name: name_malformed, fields: x}}",
            "fields",
        ),
    ],
)
def test_a_wrong_rule_is_refused_by_file_line_and_key(
    before: str, after: str, named: str, tmp_path: Path, reference: Reference
) -> None:
    assert before in RULE
    with pytest.raises(RuleError, match=named) as caught:
        _load(_pack(tmp_path / "p", rule=RULE.replace(before, after)), reference)
    assert "LOC-001.yaml" in str(caught.value)


def test_a_code_cannot_be_used_twice(tmp_path: Path, reference: Reference) -> None:
    pack = _pack(tmp_path / "p", rule=RULE.replace("LOC-001", "DIC-025"), path="dic/DIC-025")
    with pytest.raises(RuleError, match="DIC-025 已在"):
        _load(pack, reference)


def test_an_unknown_setting_is_refused(tmp_path: Path, reference: Reference) -> None:
    with pytest.raises(RuleError, match="same_day_stays"):
        _load(_pack(tmp_path / "p", parameters="same_day_stays = 0"), reference)


def test_findings_come_by_rule_then_by_row(rules: RuleSet) -> None:
    change = {"diseinfo[3].adm_cond_type": "7", "diseinfo[1].adm_cond_type": "8", "setlinfo.psn_name": None}
    found = [(one.rule, one.path) for one in run(rules, Example(change=change))]
    rows = [("DIC-005", f"input.diseinfo[{row}].adm_cond_type") for row in (1, 3)]
    assert found == [("CMP-006", "input.setlinfo.psn_name"), *rows]


def test_a_finding_says_field_value_and_place_as_received(rules: RuleSet) -> None:
    payload = build(Example(base="newborn", change={"setlinfo.nwb_adm_type": None}))["input"]
    payload["setlinfo"]["nwb_admtype"] = "7"
    (found,) = rules.check(rules.facts(decode_payload(payload)))
    assert (found.path, found.field, found.value) == ("setlinfo.nwb_admtype", "新生儿入院类型", "7")
    assert found.message == "“新生儿入院类型”的值“7”不在值域内"


def test_a_value_that_cannot_be_read_counts_as_filled_but_unknown(rules: RuleSet) -> None:
    found = run(rules, Example(change={"setlinfo.adm_time": "昨天上午"}))
    assert {one.rule for one in found} == {"FMT-010"}


def test_a_repeated_list_is_judged_the_same(rules: RuleSet) -> None:
    example = Example(change={"diseinfo[1].diag_name": "别的病", "oprninfo[1].oprn_oprt_code": "1"})
    assert run(rules, example) == run(rules, example) != []


def test_preview_rules_run_when_the_setting_says_so(tmp_path: Path, reference: Reference) -> None:
    pack = _pack(tmp_path / "p", rule=RULE.replace("severity: warn", "severity: warn\nstatus: preview"))
    rules = _load(pack, reference)
    assert _fired(rules, setlinfo__medcasno="7") == {}
    assert _fired(rules.with_settings({"preview_rules": True}), setlinfo__medcasno="7") == {"LOC-001": "warn"}


def test_a_rule_is_documented_by_its_code(rules: RuleSet) -> None:
    rule = rules.rule("CMP-001")
    assert rule is not None
    assert (rule["family"], rule["runs"], rule["severity"]) == ("CMP", True, "error")
    assert rules.rule("XXX-999") is None


def test_an_unconfirmed_domain_never_blocks(rules: RuleSet) -> None:
    assert {one.severity for one in run(rules, Example(change={"icuinfo[0].scs_cutd_ward_type": "88"}))} == {
        "warn"
    }


def test_an_empty_list_is_checked(rules: RuleSet) -> None:
    found = rules.check(rules.facts(decode(b'{"setlinfo": {}}')))
    assert {"CMP-001", "CMP-049"} <= {one.rule for one in found}


def test_an_override_of_severity_goes_before_the_setting_that_gives_it(
    tmp_path: Path, reference: Reference
) -> None:
    text = "SEX-003: {severity: error, reason: 本院要求}\n"
    rules = _load(_pack(tmp_path / "p", text, parameters='male_o_code = "info"'), reference)
    assert rules.severity("SEX-003") == "error"


def test_a_finding_that_points_to_another_node_than_the_row_has_a_message(
    tmp_path: Path, reference: Reference
) -> None:
    rule = RULE.replace("severity: warn", "severity: warn\nscope: principal_diagnosis\nat: setlinfo.medcasno")
    rule = rule.replace("{value}", "{value}，诊断 {diag_code}")
    rules = _load(_pack(tmp_path / "p", rule=rule), reference)
    found = [
        one for one in run(rules, Example(change={"setlinfo.medcasno": "1234"})) if one.rule == "LOC-001"
    ]
    assert [one.message for one in found] == ["“病案号”为 1234，诊断 （空）"]


def test_a_look_at_the_list_can_name_every_predicate_that_relies_on_it() -> None:
    relying = {name: one.glance for name, one in predicates().items() if one.glance is not None}
    assert len(relying) > 20
    for name, glance in relying.items():
        assert name in reads_of(glance).words, name


def test_a_clean_list_leads_to_few_rules(rules: RuleSet) -> None:
    program, generator = Program(rules.running, "4101"), Generator(load_case_mix(PackStore()), seed=3)
    lists = [decode_payload(generator.make(index, only_4101=True).body) for index in range(100)]
    led_to = sum(len(program.fired(rules.facts(one))) for one in lists)
    assert led_to <= 2.5 * len(lists), "each rule that is evaluated for nothing costs some microseconds"
