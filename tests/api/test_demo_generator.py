"""The made-up lists hold together: sums, dates, names, and the same bytes for the same seed."""

from __future__ import annotations

import io
from collections import Counter
from datetime import date, datetime, timedelta
from functools import cache

import msgspec
import pytest

from api.demo.case_mix import CASE_MIX_PACK, CaseMix, load_case_mix
from api.demo.defects import DEFECTS
from api.demo.generator import DemoList, Generator, Payload, check_digit
from api.demo.month import SHARE_DEFECTIVE, Month
from coding.library import CodeLibrary, load_library
from models.pack import PackStore
from models.settlement_list import FIELDS, NODES_ONLY_4101, RECORDS, Minutes
from models.wire import decode

LISTS = 1500
STORE = PackStore()


@cache
def mix() -> CaseMix:
    return load_case_mix(STORE)


@cache
def library() -> CodeLibrary:
    return load_library(STORE)


@cache
def made() -> tuple[DemoList, ...]:
    generator = Generator(mix(), seed=7)
    return tuple(generator.make(index) for index in range(LISTS))


def full() -> list[Payload]:
    return [one.body for one in made() if one.interface == "4101"]


def fen(yuan: float) -> int:
    return round(yuan * 100)


def moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S")


def written(seed: int, count: int = 60) -> tuple[bytes, bytes]:
    lists, labels = io.BytesIO(), io.BytesIO()
    month = Month(Generator(mix(), seed), count, {rule for one in DEFECTS for rule in one.expects})
    for _ in month.write(lists, labels):
        pass
    return lists.getvalue(), labels.getvalue()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    assert written(1) == written(1)
    assert written(1)[0] != written(2)[0]


def test_a_list_depends_on_seed_and_number_only() -> None:
    generator = Generator(mix(), seed=7)
    assert generator.make(41) == made()[41]


def test_every_list_is_read_without_a_defect_and_without_an_unknown_field() -> None:
    for one in made():
        received = decode(msgspec.json.encode(one.payload()))
        assert (received.defects, received.unknown, received.interface) == ((), (), one.interface)
        assert received.prefix == ("input." if one.enveloped else "")


def test_charges_and_payments_add_up_to_the_fen() -> None:
    for body in full():
        info, items = body["setlinfo"], body["iteminfo"]
        for row in items:
            parts = ("claa_sumfee", "clab_amt", "fulamt_ownpay_amt", "oth_amt")
            assert fen(row["amt"]) == sum(fen(row[part]) for part in parts)
            assert min(row[part] for part in parts) >= 0
        total = sum(fen(row["amt"]) for row in items)
        assert fen(info["medfee_sumamt"]) == total
        funds = sum(fen(row["fund_payamt"]) for row in body["payinfo"])
        assert funds + fen(info["psn_selfpay"]) + fen(info["psn_ownpay"]) == total
        burden = fen(info["psn_selfpay"]) + fen(info["psn_ownpay"])
        assert fen(info["acct_pay"]) + fen(info["psn_cashpay"]) == burden
        assert min(funds, fen(info["acct_pay"]), fen(info["psn_cashpay"])) >= 0
        assert len({row["med_chrgitm"] for row in items}) == len(items)


def test_charge_lines_add_up_to_the_charges_of_the_list() -> None:
    backed = [body for body in full() if "feedetail" in body]
    assert 0.1 < len(backed) / len(full()) < 0.3
    for body in backed:
        sums = Counter[str]()
        for line in body["feedetail"]:
            sums[line["med_chrgitm_type"]] += fen(line["det_item_fee_sumamt"])
            assert abs(line["cnt"] * line["pric"] - line["det_item_fee_sumamt"]) < 0.005
        assert sums == {row["med_chrgitm"]: fen(row["amt"]) for row in body["iteminfo"]}


def test_a_surgery_fee_stands_exactly_where_an_operation_does() -> None:
    for body in full():
        kinds = {library().icd9cm3.codes[row["oprn_oprt_code"]].kind for row in body.get("oprninfo", [])}
        charged = any(row["med_chrgitm"] == "06" for row in body["iteminfo"])
        assert charged == bool(kinds & {"手术", "介入治疗"})


def test_dates_follow_one_another() -> None:
    for body in full():
        info = body["setlinfo"]
        admitted, discharged = moment(info["adm_time"]), moment(info["dscg_time"])
        assert discharged.year == 2026
        assert discharged.month == 10
        assert info["act_ipt_days"] == (discharged.date() - admitted.date()).days >= 1
        assert date.fromisoformat(info["setl_begn_date"]) == admitted.date()
        assert date.fromisoformat(info["setl_end_date"]) == discharged.date()
        assert moment(info["dcla_time"]) > discharged
        nursing = sum(value for name, value in info.items() if name.endswith("nurscare_days"))
        assert nursing == info["act_ipt_days"]
        for row in body.get("oprninfo", []):
            begin, end = moment(row["oprn_oprt_begntime"]), moment(row["oprn_oprt_endtime"])
            assert admitted < begin < end < discharged
            assert row["oprn_oprt_date"] == begin.date().isoformat()
            if "anst_way" in row:
                assert admitted < moment(row["anst_begntime"]) < begin
                assert end < moment(row["anst_endtime"]) < discharged
        for row in body.get("icuinfo", []):
            enter, leave = moment(row["scs_cutd_inpool_time"]), moment(row["scs_cutd_exit_time"])
            assert admitted <= enter < leave <= discharged
            assert timedelta(minutes=Minutes.parse(row["scs_cutd_sum_dura"])) == leave - enter


def test_age_birth_date_and_number_of_the_identity_card_agree() -> None:
    for body in full():
        info = body["setlinfo"]
        born, admitted = date.fromisoformat(info["brdy"]), moment(info["adm_time"]).date()
        if "age" in info:
            had_birthday = (admitted.month, admitted.day) >= (born.month, born.day)
            assert info["age"] == admitted.year - born.year - (not had_birthday) >= 1
        else:
            assert info["nwb_age"] == (admitted - born).days < 365
        number = info["certno"]
        assert number[6:14] == f"{born:%Y%m%d}"
        assert int(number[16]) % 2 == int(info["gend"]) % 2
        assert number[17] == check_digit(number[:17])


def test_check_digit_is_that_of_the_example_in_the_standard() -> None:
    # GB 11643 gives 11010519491231002X and 440524188001010014 as examples.
    assert check_digit("11010519491231002") == "X"
    assert check_digit("44052418800101001") == "4"


def test_codes_are_on_the_list_under_their_own_names_and_never_twice() -> None:
    for one in made():
        diagnoses = [row for row in one.body["diseinfo"] if not row["diag_code"].startswith(("BNS", "ZZS"))]
        for row in diagnoses:
            entry = library().icd10.codes[row["diag_code"]]
            assert (entry.name, entry.grey) == (row["diag_name"], False)
            assert row["diag_code"][0] not in "VWXY"
        assert len({row["diag_code"] for row in diagnoses}) == len(diagnoses)
        assert [row["maindiag_flag"] for row in one.body["diseinfo"]].count("1") == 1
        procedures = one.body.get("oprninfo", [])
        for row in procedures:
            code = library().icd9cm3.codes[row["oprn_oprt_code"]]
            assert (code.name, code.grey) == (row["oprn_oprt_name"], False)
        assert len({row["oprn_oprt_code"] for row in procedures}) == len(procedures)


def test_ventilation_lies_on_the_side_of_96_hours_that_its_code_says() -> None:
    ventilated = [body for body in full() if "vent_used_dura" in body["setlinfo"]]
    assert ventilated
    for body in ventilated:
        hours = Minutes.parse(body["setlinfo"]["vent_used_dura"]) / 60
        codes = {row["oprn_oprt_code"] for row in body["oprninfo"]}
        assert (hours >= 96, hours < 96) == ("96.7201" in codes, "96.7101" in codes)
        assert body["icuinfo"]


def test_deliveries_carry_outcome_and_weights_and_newborns_theirs() -> None:
    seen = Counter[str]()
    for body in full():
        info, codes = body["setlinfo"], [row["diag_code"] for row in body["diseinfo"]]
        outcomes = [code for code in codes if code.startswith("Z37")]
        if outcomes:
            seen["delivery"] += 1
            assert len(outcomes) == 1
            weights = str(info.get("mul_nwb_bir_wt", info.get("nwb_bir_wt"))).split(",")
            assert len(weights) == (2 if outcomes[0].startswith("Z37.2") else 1)
        if info.get("nwb_age", 99) <= 28:
            seen["newborn"] += 1
            assert {"nwb_adm_type", "nwb_bir_wt", "nwb_adm_wt"} <= info.keys()
    assert min(seen["delivery"], seen["newborn"]) >= 20


def test_4101a_lists_have_only_the_fields_of_that_interface() -> None:
    short = [one.body for one in made() if one.interface == "4101A"]
    assert LISTS * 0.05 < len(short) < LISTS * 0.15
    for body in short:
        assert not NODES_ONLY_4101 & body.keys()
        for node, value in body.items():
            for row in value if isinstance(value, list) else [value]:
                assert not [name for name in row if FIELDS[node][name].only_4101]


def test_the_month_fills_every_node_and_meets_every_kind_of_stay() -> None:
    nodes = {node for one in made() for node in one.body}
    assert nodes == set(RECORDS)
    generator = Generator(mix(), seed=7)
    themes = {one.theme for one in made()} | {generator.make(i).theme for i in range(LISTS, 4 * LISTS)}
    assert themes == {profile.theme for profile in mix().profiles.values}


def test_every_prefix_of_the_case_mix_names_codes() -> None:
    pack = STORE.get(CASE_MIX_PACK)
    assert pack.verify() == []
    by_theme = {profile.theme: profile for profile in mix().profiles.values}
    for row in pack.rows("profiles"):
        profile = by_theme[row["theme"]]
        wanted = row["principal"].split("|")
        drawn = {code.code for options in profile.principal.values() for one in options for code in one}
        assert [prefix for prefix in wanted if not any(code.startswith(prefix) for code in drawn)] == []


def test_fees_lie_around_the_public_average() -> None:
    ratios = []
    for body in full():
        theme = next(one.theme for one in made() if one.body is body)
        profile = next(one for one in mix().profiles.values if one.theme == theme)
        codes = [row["diag_code"] for row in body["diseinfo"]]
        level = mix().complication(codes[0], codes[1:])
        ratios.append(body["setlinfo"]["medfee_sumamt"] / mix().average_fee(profile.adrg, level))
    ratios.sort()
    assert 0.85 < ratios[len(ratios) // 2] < 1.15
    assert ratios[len(ratios) // 20] > 0.5
    assert ratios[-len(ratios) // 20] < 2


def test_the_planted_share_is_as_said_and_labels_name_the_lists() -> None:
    month = Month(Generator(mix(), 3), 600, {rule for one in DEFECTS for rule in one.expects})
    pairs = list(month)
    defective = [label for _, label in pairs if label.defects]
    assert SHARE_DEFECTIVE - 0.06 < len(defective) / len(pairs) < SHARE_DEFECTIVE + 0.06
    assert any(len(label.defects) > 1 for label in defective)
    assert [label.line for _, label in pairs] == list(range(1, 601))
    assert all(bool(label.defects) == bool(label.expected) for _, label in pairs)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda one: f"{'+'.join(one.expects)} {one.name}")
def test_every_defect_changes_some_list_and_leaves_alone_those_it_does_not_fit(defect: object) -> None:
    one = next(known for known in DEFECTS if known is defect)
    generator, planted = Generator(mix(), seed=7), 0
    for index, before in enumerate(made()):
        if before.interface != "4101":
            continue
        body = msgspec.json.decode(msgspec.json.encode(before.body))
        if one.plant(body, generator.random_for(index, one.name), mix()):
            planted += 1
            assert body != before.body
        else:
            assert body == before.body
        if planted == 3:
            return
    assert planted, f"{one.name} fits no list of {LISTS}"


def test_names_of_defects_are_unique() -> None:
    names = Counter(one.name for one in DEFECTS)
    assert [name for name, count in names.items() if count > 1] == []
