"""Families EXC, CMB, PROC, PPX, VENT, GRP and FRD: real codes, patterns, groups, and lists without a scheme."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from api.services.check import Checker
from models.pack import Pack, PackStore
from models.wire import decode_payload
from qc_rules.examples import build, run
from qc_rules.predicates.combinations import describe_code, parse_patterns
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet, national_pack
from qc_rules.schema import Example, Rule
from qc_rules.source import RuleError
from qc_rules.terms import CompileError

FAMILIES = {"EXC": 19, "CMB": 27, "PROC": 29, "PPX": 6, "VENT": 9, "GRP": 10, "FRD": 12}
PREFIX = re.compile(r"[A-Z]\d{2}(\.[0-9x*+A-Z.]*)?|\d{2}(\.[0-9x]*)?")
NO_CODES = {"local", "general", "ways"}
"""Parameters that hold values of a domain: 麻醉方式, 离院方式."""


def own(rules: RuleSet) -> list[Rule]:
    return [rule for rule in rules.rules() if rule.family in FAMILIES]


def tokens(rule: Rule) -> set[str]:
    """Every code or prefix in the parameters of a rule."""
    texts = [
        text
        for name, one in rule.parameters.items()
        if isinstance(one.value, tuple) and name not in NO_CODES
        for text in one.value
    ]
    return {word.removeprefix("-") for text in texts for word in text.split() if word not in ("+", ">", "=")}


def diagnoses(*codes: str) -> dict[str, object]:
    """Other diagnoses added to the base list of an adult."""
    rows = {}
    for number, code in enumerate(codes, 5):
        row = {"diag_type": "2", "diag_code": code, "diag_name": "", "maindiag_flag": "0"}
        rows[f"diseinfo[{number}]"] = row
    return dict(rows)


def fired(rules: RuleSet, change: dict[str, object]) -> set[str]:
    return {one.rule for one in run(rules, Example(change=change))}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_number_of_the_family_is_a_rule_that_runs_or_says_what_it_needs(
    rules: RuleSet, family: str
) -> None:
    found = [rule for rule in own(rules) if rule.family == family]
    assert [rule.code for rule in found] == [f"{family}-{n:03d}" for n in range(1, FAMILIES[family] + 1)]
    assert all(rule.needs for rule in found if rule.status == "off")


def test_every_code_of_a_rule_is_in_the_book(rules: RuleSet, reference: Reference) -> None:
    library = reference.library
    unknown = []
    for rule in own(rules):
        for token in sorted(tokens(rule)):
            kind, _, word = token.rpartition("~")
            if kind:
                table = library.icd10 if kind == "诊断" else library.icd9cm3
                known = any(word in code.name for code in table.codes.values())
            else:
                assert PREFIX.fullmatch(token), (rule.code, token)
                table = library.icd9cm3 if token[0].isdigit() else library.icd10
                known = any(True for _ in table.starting_with(token))
            if not known and token != "诊断~黏连":  # another way to write 粘连, which the book does not use
                unknown.append((rule.code, token))
    assert unknown == []


def test_every_code_that_a_message_recommends_has_a_name_and_is_not_grey(
    rules: RuleSet, reference: Reference
) -> None:
    for rule in own(rules):
        patterns = rule.parameters.get("patterns")
        if patterns is None or not isinstance(patterns.value, tuple):
            continue
        for pattern in parse_patterns(patterns.value):
            for code in pattern.named:
                assert describe_code(reference.library, code) != code, (rule.code, code)
                entry = reference.library.diagnosis(code) or reference.library.procedure(code)
                if rule.family == "CMB":
                    assert entry is not None, (rule.code, code)
                assert entry is None or not entry.grey, (rule.code, code)


SEVERE = (
    "衰竭", "急性", "脓", "穿孔", "休克", "出血", "破裂", "坏疽", "坏死", "感染", "梗阻", "恶性", "水肿", "开放性",
    "病理性", "脱出",
)  # fmt: skip
SAME_THING = {
    ("CMB-004", "急性"): "肺炎是急性下呼吸道感染",
    ("CMB-004", "感染"): "肺炎是急性下呼吸道感染",
    ("CMB-010", "梗阻"): "J38.601 喉梗阻",
    ("CMB-017", "破裂"): "I86.401 胃底静脉曲张伴出血，静脉曲张由破裂而出血",
    ("CMB-019", "脱出"): "M51.2 椎间盘移位；advice asks for 脱出 in the record",
    ("CMB-027", "病理性"): "advice asks for 病理性骨折 in the record",
}
"""Severe words that a listed code means without saying them, or for which the advice asks in words."""


def test_a_code_offered_says_nothing_severe_that_no_listed_code_says(
    rules: RuleSet, reference: Reference
) -> None:
    library, faults = reference.library, []
    for rule in own(rules):
        if rule.family != "CMB":
            continue
        for pattern in parse_patterns(_patterns(rules, rule.code)):
            for offered in pattern.named:
                name = describe_code(library, offered)
                for word in (one for one in SEVERE if one in name):
                    said = any(
                        all(
                            word in code.name or word in describe_code(library, code.code[:5])
                            for code in library.icd10.codes.values()
                            if group.holds(rules.codes.diagnosis(code.code), code.name)  # type: ignore[arg-type]
                        )
                        for group in pattern.together
                    )
                    if not said and (rule.code, word) not in SAME_THING:
                        faults.append((rule.code, name, word))
    assert faults == []


@pytest.mark.parametrize(
    ("codes", "offered", "never"),
    [
        (("I11.901", "I12.900x003"), "I13.900x001", "衰竭"),
        (("I10.x00x002", "N18.300"), "I12.900x003", "衰竭"),
        (("K80.200x003", "K81.000"), "K80.000x002", "慢性"),
        (("N13.301", "N20.000"), "N13.201", "输尿管"),
        (("I85.900x001", "K74.100"), "K74.616", "胃底"),
        (("E11.201+N08.3*", "N18.300"), "", "E11.200x21"),
        (("M80.900", "S32.000x002"), "", "改编"),
    ],
)
def test_advice_offers_only_what_the_listed_codes_say(
    rules: RuleSet, codes: tuple[str, ...], offered: str, never: str
) -> None:
    base = {"diseinfo[2]": {"diag_type": "2", "diag_code": "E78.500", "diag_name": "高脂血症"}}
    found = [
        one for one in run(rules, Example(change={**base, **diagnoses(*codes)})) if one.rule.startswith("CMB")
    ]
    assert len(found) == 1
    text = f"{found[0].message}{found[0].advice}"
    assert offered in text
    assert never not in text


def test_advice_without_a_national_list_says_so(rules: RuleSet) -> None:
    for rule in own(rules):
        if rule.family in ("EXC", "CMB"):
            assert "编码建议" in rule.advice, rule.code
            assert rule.severity == "warn", rule.code


def test_one_rule_at_most_claims_more_than_a_warning_without_an_official_basis(rules: RuleSet) -> None:
    assert {rule.code for rule in own(rules) if rule.severity == "error"} == {"PROC-001", "VENT-002"}


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [("检查~镜 + 54.21", "诊断~词"), ("I10 54.21 + N18", "同一种编码"), ("手术~ + 54", "手术~词")],
)
def test_a_pattern_that_makes_no_sense_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(CompileError, match=reason):
        parse_patterns((pattern,))


def test_a_wrong_pattern_of_a_hospital_is_refused_at_load(tmp_path: Path, reference: Reference) -> None:
    (tmp_path / "pack.toml").write_text(
        'id = "p"\nkind = "rules"\nname = "本院"\npublisher = "本院"\ndocument = "本院"\nversion = "1"\n[tables]\n',
        encoding="utf-8",
    )
    text = 'EXC-008: {parameters: {patterns: ["检查~镜 + E11"]}, reason: 试写}\n'
    (tmp_path / "overrides.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RuleError, match="诊断~词"):
        RuleSet.load([national_pack(), Pack.load(tmp_path)], reference)


def test_the_order_of_other_diagnoses_changes_nothing(rules: RuleSet) -> None:
    codes = (
        "I05.000",
        "I06.000",
        "I07.000",
        "K80.501",
        "K83.001",
        "K81.100",
        "J44.900",
        "J18.900",
        "E10.100",
    )
    there, back = fired(rules, diagnoses(*codes)), fired(rules, diagnoses(*reversed(codes)))
    assert there == back
    assert {"CMB-004", "CMB-014", "CMB-015", "CMB-025", "EXC-008"} <= there


def test_three_valves_are_one_finding_with_the_code_for_three(rules: RuleSet) -> None:
    change = diagnoses("I05.000", "I06.000", "I07.000")
    (found,) = [one for one in run(rules, Example(change=change)) if one.rule == "CMB-025"]
    assert "I08.300 二尖瓣、主动脉瓣和三尖瓣的合并疾患" in found.message
    assert found.message.count("条出院诊断") == 3


def test_a_combined_code_on_the_list_silences_the_advice(rules: RuleSet) -> None:
    assert "CMB-017" in fired(rules, diagnoses("I85.900x001", "K74.100"))
    assert "CMB-017" not in fired(rules, diagnoses("I85.900x001", "K74.100", "K74.616+I98.2*"))


def test_messages_name_codes_with_their_names_in_full(rules: RuleSet) -> None:
    change = diagnoses("E14.300x013+H36.0*", "E11.200x215+N08.3*")
    (found,) = [one for one in run(rules, Example(change=change)) if one.rule == "EXC-007"]
    assert "…" not in found.message


STENTS = ("36.06", "36.07", "39.90", "00.55", "00.63", "00.64", "00.65")


def test_a_stent_count_is_asked_for_stents_and_for_nothing_else(rules: RuleSet, reference: Reference) -> None:
    asked = [
        code
        for group in parse_patterns(_patterns(rules, "PROC-014"))
        for prefix in STENTS
        for code in reference.library.starting_with(prefix, "icd9cm3")
        if group.together[0].holds(rules.codes.procedure(code.code), code.name)  # type: ignore[arg-type]
    ]
    assert asked
    assert {code.code for code in asked if "支架" not in code.name} == set()
    for vessel in ("00.6200", "00.6100", "00.6600", "39.5000", "39.7400"):
        code = rules.codes.procedure(vessel)
        assert code is not None
        for group in parse_patterns(_patterns(rules, "PROC-014")):
            assert not group.together[0].holds(code, None), vessel


def _patterns(rules: RuleSet, code: str) -> tuple[str, ...]:
    (rule,) = [one for one in rules.rules() if one.code == code]
    value = rule.parameters["patterns"].value
    assert isinstance(value, tuple)
    return value


# groups, with the grouper itself


@cache
def grouping() -> Checker:
    return Checker.open(PackStore(), scheme="chs-drg-2.0")


def test_a_list_without_a_scheme_says_that_it_was_not_grouped() -> None:
    payload = build(Example(change={"setlinfo.dscg_time": "1990-10-18 10:00:00"}))
    report = Checker.open(PackStore()).check(decode_payload(payload))
    (found,) = [one for one in report.findings if one.rule.startswith("GRP")]
    assert report.group is None
    assert (found.rule, found.severity) == ("GRP-008", "info")
    assert report.ungrouped in found.message


@pytest.mark.parametrize(
    ("base", "code", "name", "expected"),
    [
        ("adult", "N80.001", "子宫腺肌病", {"GRP-003"}),
        ("adult_4101A", "N80.001", "子宫腺肌病", set()),
        ("adult", "P39.900", "特发于围生期的感染", {"GRP-002"}),
        ("adult", "Z37.000x001", "单胎活产", {"GRP-004"}),
    ],
)
def test_the_grouper_and_the_rules_agree_why(base: str, code: str, name: str, expected: set[str]) -> None:
    change = {"diseinfo[0].diag_code": code, "diseinfo[0].diag_name": name}
    report = grouping().check(decode_payload(build(Example(base=base, change=change))))
    assert {one.rule for one in report.findings if one.rule.startswith("GRP")} - {"GRP-010"} == expected


def test_an_appendectomy_for_an_infarction_is_ambiguous() -> None:
    change = {"oprninfo[0].oprn_oprt_code": "47.0100", "oprninfo[0].oprn_oprt_name": "腹腔镜下阑尾切除术"}
    report = grouping().check(decode_payload(build(Example(change=change))))
    assert report.group is not None
    assert report.group.code == "FQY"
    assert {"GRP-006", "PPX-005"} <= {one.rule for one in report.findings}
