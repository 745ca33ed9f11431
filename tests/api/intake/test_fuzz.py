"""Whatever bytes a table holds: no row is lost, none is given twice, and every fault is said in Chinese."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.intake.source import FileRefusedError, Incoming, open_source
from api.settings import Settings
from models.wire import DecodeError, decode

quick = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
CHINESE = re.compile(r"[\u4e00-\u9fff]")
HEADER = ("A11", "A48", "C03C", "C04N", "A26", "D01")

pieces = st.sampled_from(
    [b",", b'"', b'""', b"\n", b"\r\n", b"\r", b"\t", b"=", b"\x00", b"\xff", b"\xef\xbb\xbf", "甲".encode(), "甲".encode("gbk"),
     b"I10.x00", b"-", b"2026-01-05", b"A11,C03C", b"{", b"["]
)  # fmt: skip
noise = st.lists(pieces | st.binary(max_size=6), max_size=40).map(b"".join)
cells = st.text(st.characters(codec="gb18030", exclude_characters="\0\r"), max_size=12)


def read(path: Path, home: Path) -> list[Incoming]:
    return list(open_source(path, Settings(home=home, line_limit=4096)).items())


def read_or_refuse(path: Path, home: Path) -> tuple[list[Incoming], str]:
    """The lists, or what the refusal says."""
    try:
        return read(path, home), ""
    except FileRefusedError as refusal:
        return [], str(refusal)


def fault_of(item: Incoming) -> str:
    """What is wrong with the item, found by reading it or by decoding the list."""
    if item.content is None:
        return item.error
    try:
        decode(item.content)
    except DecodeError as error:
        return str(error)
    return ""


@quick
@given(noise=noise, header=st.sampled_from([b"", b"A11,C03C\n", b"title\nA11;A48;C03C\n"]))
def test_any_bytes_give_lists_or_say_why_not(tmp_path: Path, noise: bytes, header: bytes) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(header + noise)
    items, refusal = read_or_refuse(path, tmp_path)
    assert not refusal or CHINESE.search(refusal)
    lines = [item.line for item in items]
    assert lines == sorted(set(lines))
    assert lines == [] or lines[-1] <= (header + noise).count(b"\n") + 1
    for item in items:
        assert (item.content is None) == bool(item.error)
        fault = fault_of(item)
        assert not fault or CHINESE.search(fault)


@quick
@given(
    rows=st.lists(st.lists(cells, min_size=len(HEADER), max_size=len(HEADER)), min_size=1, max_size=8),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "gb18030"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_every_row_that_a_spreadsheet_writes_is_read(
    tmp_path: Path, rows: list[list[str]], encoding: str, quoting: int
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow(HEADER)
    marked = [[f"甲{number}", *row[1:]] for number, row in enumerate(rows)]
    writer.writerows(marked)
    path = tmp_path / "x.csv"
    path.write_bytes(out.getvalue().encode(encoding))
    items = read(path, tmp_path)
    named = [decode(item.content).list.stay.patient_name for item in items if item.content]
    assert named == [row[0] for row in marked]


@quick
@given(damage=st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=3)), max_size=4))
def test_damage_in_one_row_leaves_the_others(tmp_path: Path, damage: list[tuple[int, bytes]]) -> None:
    """Only bytes of row 3 of 5 are changed, to anything but line breaks: the rows around it are read."""
    rows = [f"甲{n},M{n},I10.x00,高血压,某路{n}号,1{n}.5".encode() for n in range(5)]
    broken = bytearray(rows[2] * 3)[:200]
    for place, content in damage:
        broken[place % len(broken) : place % len(broken) + len(content)] = content
    rows[2] = bytes(broken).replace(b"\n", b" ").replace(b"\r", b" ")
    path = tmp_path / "x.csv"
    path.write_bytes(b"\n".join((",".join(HEADER).encode(), *rows)))
    items = read(path, tmp_path)
    found = {item.line: item for item in items}
    for line in (2, 3, 5, 6):
        content = found[line].content
        assert content is not None
        assert decode(content).list.stay.record_number == f"M{line - 2}"


@pytest.mark.parametrize("name", ["x.ndjson", "x.parquet", "x.zip", "x.xlsx"])
@quick
@given(
    content=st.sampled_from([b"PAR1", b"PK\x03\x04", b"", b"{", b"\x93NUMPY"]).flatmap(
        lambda m: noise.map(lambda n: m + n)
    )
)
def test_any_bytes_under_any_name(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    items, refusal = read_or_refuse(path, tmp_path)
    assert not refusal or CHINESE.search(refusal)
    assert all((item.content is None) == bool(item.error) for item in items)
