"""One field written twice in a list is refused by name where files and pasted texts are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.cli import run as command
from api.reading import SourceFile
from api.repeats import decode_unrepeated, refuse_repeats
from api.settings import Settings
from models.wire import DecodeError, decode
from web.forms import FormError, open_list

Body = dict[str, Any]


def written(body: Body, before: str = '"gend":', more: str = '"gend":"9",') -> bytes:
    """The list with something written once more in front of its first ``before``."""
    text = msgspec.json.encode(body).decode()
    assert before in text
    return text.replace(before, more + before, 1).encode()


@pytest.mark.parametrize(
    ("before", "more", "named"),
    [
        ('"gend":', '"gend":"9",', "“setlinfo.gend”（性别）写了 2 次，内容不同"),
        ('"gend":', '"gend":"8","gend" : "9",', "“setlinfo.gend”（性别）写了 3 次"),
        ('"gend":', '"gend":null,', "“setlinfo.gend”"),
        ('"gend":', '"gend"\t\n:"9",', "“setlinfo.gend”"),
        ('"gend":', '"\\u0067end":"9",', "“setlinfo.gend”"),
        ('"diag_code":', '"diag_code":"Z99.900",', "“diseinfo[0].diag_code”（诊断代码）写了 2 次"),
        ('"diseinfo":', '"diseinfo":[],', "“diseinfo”（出院诊断）写了 2 次"),
        ('"setlinfo":', '"own":{"a":[{"b":1,"b":2}]},', "“own.a[0].b”写了 2 次"),
        ('"setlinfo":', '"own":{"b":1,"b":2},"own":{"b":2},', "“own”写了 2 次"),
    ],
)
def test_a_repeated_key_is_named_with_its_remedy(example: Body, before: str, more: str, named: str) -> None:
    bare = written(example, before, more)
    for content, prefix in (
        (bare, ""),
        (b'{"infno":"4101","input":' + bare + b"}", "input."),
        (bare.replace(b'",', b'" ,\n'), ""),
    ):
        with pytest.raises(DecodeError) as refused:
            refuse_repeats(content)
        assert named.replace("“", f"“{prefix}", 1) in str(refused.value)
        assert "请在报文中合并或只保留一个" in str(refused.value)


def test_who_the_list_is_about_does_not_stand_in_the_message(example: Body) -> None:
    with pytest.raises(DecodeError) as refused:
        refuse_repeats(written(example, '"psn_name":', '"psn_name":"王某某",'))
    assert "人员姓名" in str(refused.value)
    assert "王某某" not in str(refused.value)
    assert example["setlinfo"]["psn_name"] not in str(refused.value)


def test_many_repeats_are_counted_and_strange_keys_shown_short(example: Body) -> None:
    more = "".join(f'"{key}":1,"{key}":2,' for key in ("a\\n\\ud800", "长" * 500, "c", "d", "e"))
    with pytest.raises(DecodeError) as refused:
        refuse_repeats(written(example, '"setlinfo":', more))
    message = str(refused.value)
    assert "“a··”写了 2 次" in message
    assert "等 5 处" in message
    assert len(message) < 300
    message.encode()


@pytest.mark.parametrize(
    "more",
    [
        '"gend":"1","gend":"1",',
        '"dscg_way_name":":\\":",',
        '"own":{"a":{"b":1},"c":[{"b":1},{"b":2},[{"b":1}]]},',
    ],
)
def test_nothing_is_refused_that_loses_nothing(example: Body, more: str) -> None:
    example["setlinfo"]["gend"] = "1"
    content = written(example, '"gend":', more)
    for one in (content, msgspec.json.format(content, indent=2)):
        assert decode_unrepeated(one) == decode(one)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a":1e999}', b"\xff", b'{"a":' * 50_000, b'"a"'])
def test_what_is_no_list_is_left_to_the_decoder(content: bytes) -> None:
    refuse_repeats(content)


def test_a_list_full_of_repeats_takes_no_longer_than_its_length() -> None:
    pairs = "".join(f'"k{key}":{turn},' for turn in (1, 2) for key in range(30_000))
    with pytest.raises(DecodeError, match="等 30000 处"):
        refuse_repeats(b"{" + pairs[:-1].encode() + b"}")


def test_files_name_the_line(tmp_path: Path, example: Body, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "month.ndjson"
    path.write_bytes(msgspec.json.encode(example) + b"\n" + written(example) + b"\n")
    items = list(SourceFile.open(path, Settings()).items())
    assert [item.received is None for item in items] == [False, True]
    assert "“setlinfo.gend”" in items[1].error
    array = tmp_path / "month.json"
    array.write_bytes(b"[" + written(example) + b"]")
    assert "“setlinfo.gend”" in next(iter(SourceFile.open(array, Settings()).items())).error
    assert command(["check", str(path), "--home", str(tmp_path)]) != 0
    said = "".join(capfd.readouterr()).replace("\n", "")  # a long line is wrapped
    assert "第 2 行" in said
    assert "“setlinfo.gend”（性别）写了 2 次" in said


def test_the_form_does_not_open_it(example: Body) -> None:
    with pytest.raises(FormError, match=r"“setlinfo\.gend”（性别）写了 2 次"):
        open_list(written(example))
    assert json.loads(written(example))["setlinfo"]["gend"] != "9"
