"""Files of lists, whatever they hold."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.reading import FileRefusedError, Item, SourceFile
from api.settings import MIB, Settings

SETTINGS = Settings(line_limit=64 * 1024, workbook_limit=MIB)


def items(path: Path, content: bytes, settings: Settings = SETTINGS) -> list[Item]:
    path.write_bytes(content)
    return list(SourceFile.open(path, settings).items())


def names(found: list[Item]) -> list[str | None]:
    return [item.received.list.stay.patient_name if item.received else None for item in found]


def line(example: dict[str, Any]) -> bytes:
    return msgspec.json.encode(example)


def test_one_list_on_many_lines(tmp_path: Path, example: dict[str, Any]) -> None:
    for content in (line(example), msgspec.json.format(line(example), indent=4)):
        found = items(tmp_path / "list.json", content)
        assert names(found) == ["示例患者"]
        assert SourceFile.open(tmp_path / "list.json", SETTINGS).single


def test_a_list_is_the_same_bytes_in_a_file_of_its_own_as_on_a_line(
    tmp_path: Path, example: dict[str, Any]
) -> None:
    found = []
    for name, content in (
        ("list.json", b" " + line(example) + b"\r\n"),
        ("list.ndjson", line(example) + b"\n"),
    ):
        (tmp_path / name).write_bytes(content)
        found += [raw.content for raw in SourceFile.open(tmp_path / name, SETTINGS).raw()]
    assert found == [line(example)] * 2


def test_lines_keep_their_numbers_through_blank_lines_and_carriage_returns(
    tmp_path: Path, example: dict[str, Any]
) -> None:
    content = b"\xef\xbb\xbf" + line(example) + b"\r\n\r\n  \n" + line(example) + b"\r\n" + line(example)
    for name in ("month.ndjson", "month.json", "month.txt"):
        found = items(tmp_path / name, content)
        assert [item.line for item in found] == [1, 4, 5]
        assert names(found) == ["示例患者"] * 3


BAD_LINES = (b"{", b'{"setlinfo": {}', b"[]", b"null", b"\x00\x01", b"{}", b"]]", b"nonsense")


@pytest.mark.parametrize(
    ("name", "bad", "place"),
    [
        (name, bad, place)
        for name, bad, place in itertools.product(("month.ndjson", "month.json"), BAD_LINES, range(3))
        # A .json file that begins with [ is an array.
        if (name, bad, place) != ("month.json", b"[]", 0)
    ],
)
def test_a_bad_line_costs_only_itself(
    tmp_path: Path, example: dict[str, Any], name: str, bad: bytes, place: int
) -> None:
    lines = [line(example), line(example)]
    lines.insert(place, bad)
    found = items(tmp_path / name, b"\n".join(lines))
    assert [item.line for item in found] == [1, 2, 3]
    assert [item.received is None for item in found] == [number == place for number in range(3)]
    assert found[place].error


def test_a_line_over_the_limit_is_named_and_the_next_one_read(
    tmp_path: Path, example: dict[str, Any]
) -> None:
    long = b'{"setlinfo":"' + b"x" * SETTINGS.line_limit * 3 + b'"}'
    found = items(tmp_path / "month.ndjson", long + b"\n" + line(example) + b"\n" + long)
    assert [item.line for item in found] == [1, 2, 3]
    assert str(len(long) + 1) in found[0].error
    assert names(found) == [None, "示例患者", None]


def test_gb18030_is_read_and_mixed_files_line_by_line(tmp_path: Path, example: dict[str, Any]) -> None:
    utf8 = line(example)
    chinese = utf8.decode().encode("gb18030")
    assert names(items(tmp_path / "a.ndjson", chinese + b"\n" + chinese)) == ["示例患者"] * 2
    assert names(items(tmp_path / "a.json", chinese)) == ["示例患者"]
    broken = utf8[:-2] + b"\xff\xff" + utf8[-2:]
    found = items(tmp_path / "b.ndjson", b"\n".join((utf8, chinese, broken, utf8)))
    assert names(found) == ["示例患者", "示例患者", None, "示例患者"]
    assert "编码" in found[2].error


def test_an_array_of_lists(tmp_path: Path, example: dict[str, Any]) -> None:
    found = items(tmp_path / "month.json", b"[" + line(example) + b",\n{}," + line(example) + b"]")
    assert names(found) == ["示例患者", None, "示例患者"]
    with pytest.raises(FileRefusedError, match="数组"):
        items(tmp_path / "cut.json", b"[" + line(example) + b",")
    with pytest.raises(FileRefusedError, match="NDJSON"):
        items(tmp_path / "huge.json", b"[" + b" " * SETTINGS.line_limit * 17)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "空"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "xlsx"),
        (b"\x1f\x8b\x08\0", "解压"),
        ("{}".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04 not a zip", "xlsx"),
        (b"hello", "JSON"),
        (b'{\n"setlinfo": {}\n', "JSON"),
        (b"{" + b" " * 70_000 + b"}", "NDJSON"),
    ],
)
def test_a_file_that_cannot_be_lists_is_refused_with_its_name(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(FileRefusedError, match=reason) as caught:
        items(tmp_path / "thing.json", content)
    assert "thing.json" in str(caught.value)


def test_paths_that_are_no_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path, "文件夹"),
        (tmp_path / "pipe", "普通文件"),
        (tmp_path / "none", "没有这个文件"),
        (tmp_path / "none" / "list.json", "没有这个文件"),
        (Path("x\0y"), "文件名无效"),
        (tmp_path / ("x" * 300), "无法读取"),
    ):
        with pytest.raises(FileRefusedError, match=reason):
            SourceFile.open(path, SETTINGS)


def test_reading_lines_tells_how_far_it_is(tmp_path: Path, example: dict[str, Any]) -> None:
    path = tmp_path / "month.ndjson"
    path.write_bytes((line(example) + b"\r\n\n") * 5)
    taken: list[int] = []
    list(SourceFile.open(path, SETTINGS).items(taken.append))
    assert sum(taken) == path.stat().st_size
