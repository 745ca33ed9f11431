"""Where fields stand on the page."""

from __future__ import annotations

from collections import Counter

from models.pack import PackStore
from models.settlement_list import BACKING_NODES, FIELDS
from web.domains import Domains
from web.layout import DOMAIN_OF, LOOKUPS, SECOND_LINE, SECTIONS, WIDE


def test_every_field_of_the_stay_stands_on_the_page_once() -> None:
    placed = Counter(wire for part in SECTIONS for block in part.blocks for wire in block.fields)
    assert placed == Counter(list(FIELDS["setlinfo"]))


def test_every_repeating_node_has_one_table() -> None:
    placed = Counter(block.node for part in SECTIONS for block in part.blocks if block.node)
    assert placed == Counter(FIELDS.keys() - BACKING_NODES - {"setlinfo"})


def test_layout_names_only_fields_that_exist() -> None:
    known = {wire for fields in FIELDS.values() for wire in fields}
    assert known >= WIDE
    assert set(DOMAIN_OF) <= known
    for node, pairs in LOOKUPS.items():
        assert {wire for pair in pairs for wire in (pair.code, pair.name)} <= set(FIELDS[node])
    for node, wires in SECOND_LINE.items():
        assert set(wires) <= set(FIELDS[node])


def test_every_domain_the_layout_names_is_in_the_pack() -> None:
    domains = Domains.open(PackStore())
    for interface in ("4101", "4101A"):
        assert all(domains.get(key, interface) for key in DOMAIN_OF.values())


def test_the_interface_chooses_the_edition_of_a_domain() -> None:
    domains = Domains.open(PackStore())
    older, newer = domains.get("diag_type", "4101"), domains.get("diag_type", "4101A")
    assert older is not None
    assert newer is not None
    assert (older.name("2"), newer.name("2")) == ("西医其他诊断", "中医主病诊断")


def test_an_unconfirmed_domain_stays_open_to_other_values() -> None:
    ward = Domains.open(PackStore()).get("scs_cutd_ward_type", "4101")
    assert ward is not None
    assert not ward.menu
