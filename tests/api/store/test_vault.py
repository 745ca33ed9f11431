"""The vault hides who a list is about, gives back every byte, and refuses what is not its own."""

from __future__ import annotations

import json
import pickle
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from api.demo.generator import Generator
from api.settings import Settings
from api.store.database import Database, StoreError
from api.store.vault import (
    IDENTITY,
    KEY_FILE,
    Vault,
    join_people,
    mask_text,
    split_people,
    unmasked_payload,
)
from models.wire import decode
from qc_rules.predicates.formats import check_digit
from tests.loaded import case_mix

VAULT = Vault(bytes(range(32)))
PERSON = {
    "psn_name": "张三丰",
    "certno": "45010119800101123X",
    "psn_no": "4501000000123456",
    "hi_no": "4501998877665544",
    "curr_addr": "广西南宁市青秀区民族大道1号",
    "emp_name": "南宁市某某有限公司",
    "emp_addr": "南宁市江南区星光大道2号",
    "emp_tel": "07715551234",
    "poscode": "530021",
    "coner_name": "李四",
    "coner_addr": "广西南宁市兴宁区朝阳路3号",
    "coner_tel": "13877112233",
}


@pytest.fixture
def patient(example: dict[str, Any]) -> dict[str, Any]:
    example["setlinfo"].update(PERSON)
    return example


def masked_and_back(content: bytes) -> bytes:
    """The masked JSON; what was taken out has been seen to come back exactly."""
    masked = VAULT.mask(content)
    assert VAULT.reveal(masked.payload, masked.identity) == content
    return unmasked_payload(masked.payload)


@pytest.mark.parametrize("escaped", [False, True], ids=["utf-8", "escaped"])
def test_nothing_of_the_identity_is_left_and_the_rest_is(patient: dict[str, Any], escaped: bool) -> None:
    shown = masked_and_back(json.dumps(patient, ensure_ascii=escaped).encode())
    document = json.loads(shown)
    for name, value in PERSON.items():
        assert value not in json.dumps(document, ensure_ascii=False), name
        assert len(document["setlinfo"][name]) == len(value)
        del document["setlinfo"][name], patient["setlinfo"][name]
    assert document == patient


def test_masks_keep_the_shape(patient: dict[str, Any]) -> None:
    stay = json.loads(masked_and_back(json.dumps(patient).encode()))["setlinfo"]
    assert stay["psn_name"] == "张**"
    for name in ("certno", "psn_no", "hi_no", "poscode", "emp_name"):
        assert stay[name] == "*" * len(PERSON[name])
    assert stay["coner_tel"] == "**********3"
    assert stay["curr_addr"] == "广西************"


def test_the_identity_number_cannot_be_rebuilt_from_what_the_list_still_shows(
    patient: dict[str, Any],
) -> None:
    """Area from 参保地, birth date, sex, check digit and every digit that shows still leave all order numbers."""
    number = "45010119800101123"
    number += check_digit(number)
    stay = patient["setlinfo"]
    # Insurance and person numbers often are the identity number.
    stay |= {"certno": number, "hi_no": number, "psn_no": number, "brdy": "1980-01-01", "insuplc": "450101"}
    patient["own_node"] = {"note": f"证件{number}"}
    shown = json.loads(masked_and_back(json.dumps(patient).encode()))
    seen = shown["setlinfo"]
    masks = [seen["certno"], seen["hi_no"], seen["psn_no"], shown["own_node"]["note"].removeprefix("证件")]
    candidates = []
    for order in range(1000):
        first = f"{seen['insuplc']}{seen['brdy'].replace('-', '')}{order:03}"
        whole = first + check_digit(first)
        fits = all(
            len(mask) == 18 and all(a in ("*", b) for a, b in zip(mask, whole, strict=True)) for mask in masks
        )
        if fits and order % 2 == int(seen["gend"]) % 2:
            candidates.append(whole)
    assert len(candidates) >= 500


def test_every_identity_field_of_the_interface_is_masked(patient: dict[str, Any]) -> None:
    assert set(PERSON) <= set(IDENTITY)
    received = decode(json.dumps(patient).encode()).list.stay
    shown = decode(masked_and_back(json.dumps(patient).encode())).list.stay
    changed = {
        field.encode_name
        for field in msgspec.structs.fields(type(received))
        if getattr(received, field.name) != getattr(shown, field.name)
    }
    assert changed == set(PERSON)


def test_identity_in_a_remark_is_masked_too(patient: dict[str, Any]) -> None:
    patient["evidence"] = [
        {"kind": "exam", "name": "CT", "value": "患者张三丰，证件45010119800101123X，肺炎"}
    ]
    patient["setlinfo"]["own_field"] = PERSON["hi_no"]
    patient["own_node"] = [{"number": int(PERSON["psn_no"])}]
    shown = masked_and_back(json.dumps(patient, ensure_ascii=False).encode())
    document = json.loads(shown)
    assert document["evidence"][0]["value"] == "患者张**，证件******************，肺炎"
    assert document["setlinfo"]["own_field"] == "*" * 16
    assert document["own_node"] == [{"number": "*" * 16}]


@pytest.mark.parametrize(
    "written",
    [
        '{"setlinfo":{"certno":45010119800101123}}',
        '{"setlinfo":{"certno" :\n "45010119800101123X", "certno":"45010119800101123Y"}}',
        '{"setlinfo":{"psn_name":{"first":"张三丰"}}}',
        '{"setlinfo":{"psn_name":["张三丰"],"x":"张三丰"}}',
        '{"setlinfo":{"psn_\\u006eame":"张三丰"}}',
        '{"setlinfo":{"psn_name":"张\\"三\\\\丰"},"x":"张\\"三\\\\丰"}',
        '{"input":{"setlinfo":[{"psn_name":"张三丰"}]}}',
        '{"setlinfo":{"psn_name":null,"certno":"","hi_no":true,"x":"psn_name"}}',
        '\ufeff{"setlinfo":{"psn_name":"张三丰","psn_no":1e999}}',
        '{"setlinfo":{"psn_name":"\\ud800张三丰"}}',
        '{"psn_name":"张三丰","setlinfo":{"note":"\\"psn_name\\":\\"李四\\""}}',
    ],
)
def test_unusual_writing_hides_as_much_and_comes_back_exactly(written: str) -> None:
    shown = masked_and_back(written.encode())
    json.loads(shown)
    for value in ("三丰", "三\\\\丰", "45010119800101123"):
        assert value.encode() not in shown
        assert json.dumps(value)[1:-1].encode() not in shown


@pytest.mark.parametrize(
    "written",
    [
        '{"setlinfo":{"psn_name":"' + "张三丰" * 300_000 + '","coner_name":"张三丰"}}',
        '{"setlinfo":{"psn_name":"张三丰","x":"' + "张三丰" * 300_000 + '"}}',
        '{"setlinfo":{' + ",".join(f'"certno":"45010119800{i:06}X"' for i in range(100_000)) + "}}",
        '{"a":[' + ",".join(f'{{"certno":"45010119800{i:06}X"}}' for i in range(100_000)) + "]}",
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
    ids=["long name", "often repeated", "one key often", "many people", "deep"],
)
def test_a_list_made_to_be_slow_is_hidden_all_the_same(written: str) -> None:
    shown = masked_and_back(written.encode())
    assert "三丰".encode() not in shown
    assert b"45010119800000001X" not in shown


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*IDENTITY, "x", "setlinfo"]) | st.text(), inner, max_size=6)
    ),
    max_leaves=30,
)


@given(st.dictionaries(st.sampled_from([*IDENTITY, "setlinfo", "a"]), json_values), st.booleans())
def test_any_json_comes_back_exactly_and_its_mask_is_json(document: dict[str, Any], escaped: bool) -> None:
    json.loads(masked_and_back(json.dumps(document, ensure_ascii=escaped).encode(errors="surrogatepass")))


def test_demo_lists_come_back_exactly_and_still_decode() -> None:
    generator = Generator(case_mix(), seed=7)
    for index in range(60):
        content = msgspec.json.encode(generator.make(index).body)
        assert not decode(masked_and_back(content)).defects


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(StoreError, match="不是有效的 JSON"):
        VAULT.mask(b'{"setlinfo":{"psn_name":[')


@given(st.text(min_size=1), st.sampled_from(list(IDENTITY.values())))
def test_at_least_half_of_a_value_is_hidden(text: str, kept: tuple[int, int]) -> None:
    mask = mask_text(text, *kept)
    assert len(mask) == len(text)
    assert sum(one == "*" for one in mask) >= len(text) / 2


def test_the_same_list_gives_the_same_bytes_and_a_worker_has_the_same_vault(patient: dict[str, Any]) -> None:
    content = json.dumps(patient).encode()
    there = pickle.loads(pickle.dumps(VAULT))  # noqa: S301
    assert there.mask(content) == VAULT.mask(content)
    assert "0001" not in repr(VAULT)


def test_a_changed_byte_is_noticed(patient: dict[str, Any]) -> None:
    masked = VAULT.mask(json.dumps(patient).encode())
    other = VAULT.mask(b'{"setlinfo":{"psn_name":"\xe7\x8e\x8b"}}')
    damaged = masked.identity[:-1] + bytes([masked.identity[-1] ^ 1])
    for payload, identity in ((masked.payload, damaged), (other.payload, masked.identity)):
        with pytest.raises(StoreError, match="解不开"):
            VAULT.reveal(payload, identity)


def test_a_list_corrected_while_masked_gets_its_identity_back(patient: dict[str, Any]) -> None:
    patient["evidence"] = [{"kind": "exam", "name": "CT", "value": "患者张三丰，肺炎"}]
    masked = VAULT.mask(json.dumps(patient, ensure_ascii=False).encode())
    worked_on = json.loads(unmasked_payload(masked.payload))
    worked_on["setlinfo"]["adm_way"] = "2"
    worked_on["setlinfo"]["coner_tel"] = "13900000000"
    whole = json.loads(VAULT.restore(json.dumps(worked_on).encode(), masked.payload, masked.identity))
    patient["setlinfo"]["adm_way"] = "2"
    patient["setlinfo"]["coner_tel"] = "13900000000"
    assert whole == patient


def test_numbers_with_the_same_mask_come_back_each_in_its_place(patient: dict[str, Any]) -> None:
    patient["own_node"] = [
        {"a": PERSON["hi_no"]},
        {"a": PERSON["psn_no"]},
        {"a": f"联系{PERSON['coner_tel']}"},
    ]
    masked = VAULT.mask(json.dumps(patient).encode())
    assert len(PERSON["hi_no"]) == len(PERSON["psn_no"])

    def restored(document: dict[str, Any]) -> Any:
        return json.loads(VAULT.restore(json.dumps(document).encode(), masked.payload, masked.identity))

    shown = json.loads(unmasked_payload(masked.payload))
    assert restored(shown) == patient
    # The form hands in with an envelope, and in its own order, what may have come without.
    assert restored({"infno": "4101", "input": shown}) == {"infno": "4101", "input": patient}
    shown["own_node"][2]["a"] += "，已核对"
    assert restored(shown)["own_node"][2]["a"] == f"联系{PERSON['coner_tel']}，已核对"
    shown["own_node"].pop(0)
    with pytest.raises(StoreError, match="可能是几个不同的号码"):
        restored(shown)
    shown["own_node"].pop(0)
    assert restored(shown)["own_node"] == [{"a": f"联系{PERSON['coner_tel']}，已核对"}]


def test_person_keys_are_the_same_for_the_same_person_and_none_for_a_placeholder(
    patient: dict[str, Any],
) -> None:
    keys = VAULT.person_keys(decode(json.dumps(patient).encode()))
    again = VAULT.people(PERSON["hi_no"], PERSON["certno"].lower(), f" {PERSON['psn_no']} ")
    assert keys == again
    assert len(set(keys)) == 3
    assert replace(VAULT, key=bytes(32)).people(PERSON["hi_no"])[0] != keys[0]
    assert VAULT.people("-", "000000", None, "12345") == (b"",) * 4
    assert split_people(join_people((b"", keys[1], b""))) == (b"", keys[1], b"")


def test_the_key_is_made_once_and_only_the_owner_reads_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", identity_key=SecretStr(""))
    vault = Vault.open(settings)
    path = settings.home / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Vault.open(settings) == vault
    assert list(settings.home.iterdir()) == [path]
    path.write_text("kein Schlüssel")
    with pytest.raises(StoreError, match=r"identity\.key.*64 个十六进制字符"):
        Vault.open(settings)


def test_two_processes_make_one_key(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from api.settings import Settings; from api.store.vault import Vault;"
        "print(Vault.open(Settings(home=Path(sys.argv[1]))).key.hex())"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "home")], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert len({one.communicate(timeout=120)[0] for one in running}) == 1


def test_a_wrong_or_lost_key_is_refused(database: Database, store_settings: Settings) -> None:
    vault = Vault.open(store_settings, database)
    assert Vault.open(store_settings, database) == vault
    other = store_settings.model_copy(update={"identity_key": SecretStr("ab" * 32)})
    with pytest.raises(StoreError, match=rf"QINGDAN_IDENTITY_KEY.*{vault.fingerprint}") as caught:
        Vault.open(other, database)
    assert "abab" not in str(caught.value)
    key = store_settings.home / KEY_FILE
    kept = key.read_bytes()
    key.unlink()
    with pytest.raises(StoreError, match="没有密钥文件"):
        Vault.open(store_settings, database)
    assert not key.exists()
    key.write_bytes(kept)
    assert Vault.open(store_settings, database) == vault
