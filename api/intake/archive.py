"""Unpacks a zip member by member into a place of its own, within limits that no honest export reaches."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import msgspec

from api.reading import FileRefusedError, system_reason
from api.settings import MIB

MAX_MEMBERS = 10_000
MAX_UNPACKED = 16 * 1024 * MIB
"""Bytes of all members together."""
MAX_RATIO = 250
RATIO_FROM = 64 * MIB
"""A member may unpack to at most this many times its packed size, looked at from this many bytes on: a
table of empty columns reaches 60."""
CHUNK = MIB
WORKPLACE = "unpacking"
"""Folder of the site in which members are unpacked: beside the data, not in memory as /tmp may be."""
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError)
_JUNK = re.compile(r"(?:^|/)(?:__MACOSX/|\.(?!\.)|~\$)|(?:^|/)(?:Thumbs\.db|desktop\.ini)$", re.IGNORECASE)


class Member(msgspec.Struct, frozen=True):
    """A file in an archive: its name as a person knows it, its size, and why it is not read (Chinese)."""

    name: str
    size: int
    position: int
    fault: str = ""


def is_junk(name: str) -> bool:
    """Whether a file is what systems and spreadsheets leave beside the data."""
    return bool(_JUNK.search(name))


def is_workbook(path: Path) -> bool:
    """Whether a zip is a workbook. Raises FileRefusedError when it is no readable zip."""
    with _opened(path) as archive:
        names = set(archive.namelist())
    return "[Content_Types].xml" in names or any(name.startswith("xl/") for name in names)


def members(path: Path) -> tuple[Member, ...]:
    """The files in the archive, by name. Raises FileRefusedError."""
    with _opened(path) as archive:
        infos = archive.infolist()
        if len(infos) > MAX_MEMBERS:
            raise FileRefusedError(path, f"压缩包内有 {len(infos)} 个文件，超过上限 {MAX_MEMBERS} 个")
        found, seen = [], set()
        for position, info in enumerate(infos):
            name = _name(info)
            if info.is_dir() or is_junk(name):
                continue
            fault = _fault(name, info) or ("压缩包内有两个同名的文件" if name in seen else "")
            seen.add(name)
            found.append(Member(name, info.file_size, position, fault))
    total = sum(member.size for member in found)
    if total > MAX_UNPACKED:
        raise FileRefusedError(
            path, f"解压后有 {total // MIB} MB，超过上限 {MAX_UNPACKED // MIB} MB；请分成几个压缩包"
        )
    return tuple(sorted(found, key=lambda member: (member.name, member.position)))


@contextmanager
def unpacked(path: Path, member: Member, home: Path) -> Iterator[Path]:
    """The member as a file of its own, gone afterwards.

    Raises FileRefusedError: caused by an OSError when the disk failed, else for a damaged or hostile member.
    """
    place = _workplace(path, home)
    try:
        target = place / f"member{PurePosixPath(member.name).suffix[:16]}"
        try:
            _unpack(path, member, target)
        except _DAMAGE as error:
            raise FileRefusedError(path, f"解压不出来，内容已损坏或加密（{error}）；请重新压缩") from error
        except OSError as error:
            raise FileRefusedError(path, f"解压中断（{system_reason(error)}）") from error
        yield target
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _unpack(path: Path, member: Member, target: Path) -> None:
    with _opened(path) as archive:
        info = archive.infolist()[member.position]
        written = 0
        with archive.open(info) as source, target.open("xb") as sink:
            while chunk := source.read(CHUNK):
                written += len(chunk)
                if written > info.file_size:
                    raise FileRefusedError(path, "解压后的长度与目录不符，疑似恶意构造")
                if written > RATIO_FROM and written > info.compress_size * MAX_RATIO:
                    raise FileRefusedError(
                        path, f"压缩比超过 {MAX_RATIO} 倍，疑似压缩炸弹；确是正常数据时请解压后再提交"
                    )
                sink.write(chunk)


def _workplace(path: Path, home: Path) -> Path:
    """A new folder for one member; what a process that is gone has left is removed."""
    try:
        shared = home / WORKPLACE
        shared.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in shared.iterdir():
            owner = leftover.name.partition("-")[0]
            if owner.isdigit() and not _alive(int(owner)):
                shutil.rmtree(leftover, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=shared))
    except OSError as error:
        raise FileRefusedError(path, f"没有地方解压（{home / WORKPLACE}：{system_reason(error)}）") from error


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise FileRefusedError(path, f"无法读取（{system_reason(error)}）") from error
    except _DAMAGE as error:
        raise FileRefusedError(
            path, "压缩包（zip、xlsx）不完整或已损坏；请重新复制、另存为 .xlsx 或重新压缩"
        ) from error
    with archive:
        yield archive


def _name(info: zipfile.ZipInfo) -> str:
    """The name in the directory; without the UTF-8 mark it is GBK on Chinese systems."""
    if info.flag_bits & 0x800:
        return info.filename
    raw = info.filename.encode("cp437", "replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.filename


def _fault(name: str, info: zipfile.ZipInfo) -> str:
    if info.flag_bits & 0x1:
        return "是加密的，请解密后重新压缩"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "是链接，不读取链接指向的内容"
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "文件名指向压缩包以外的位置，不读取"
    return ""
