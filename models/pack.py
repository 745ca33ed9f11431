"""Data packs: a folder with ``pack.toml`` and CSV tables, found by kind, region and date."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from models.system_errors import reason_of

PROJECT_ROOT = Path(__file__).resolve().parent.parent
SHIPPED_PACKS = PROJECT_ROOT / "data"
MANIFEST_NAME = "pack.toml"
ACTIVE_NAME = "active.toml"
FORMAT = 1
MAX_MANIFEST_BYTES = 1024 * 1024
UNFINISHED = ".import-"
"""How the folder of an import begins while it is being written; a folder so named is never a pack."""
NONE_ACTIVE = ""
"""What ``active.toml`` says of a pack that was imported but is not yet to be used."""

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


def _encodable(text: str) -> str:
    """Refuse what a command line in another encoding leaves behind: it could not be written down."""
    text.encode()
    return text


Text = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_encodable)]


class PackError(Exception):
    """A pack cannot be read, checked or found; ``faults`` lists every reason in Chinese."""

    def __init__(self, *faults: str) -> None:
        super().__init__("；".join(faults))
        self.faults = faults


class TableManifest(BaseModel):
    """One CSV table of a pack: its file, content hash, number of rows and key columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.csv$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    rows: Annotated[int, Field(ge=0)]
    key: tuple[str, ...] = ()


class Manifest(BaseModel):
    """What a pack is, who published its facts, and when and where it holds.

    ``region`` is the leading digits of an administrative division code (``45`` = 广西), empty for
    the whole country. ``effective_from``/``effective_to`` are inclusive discharge dates.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Annotated[int, Field(ge=1, le=FORMAT)] = FORMAT
    id: Identifier
    kind: Identifier
    name: Text
    publisher: Text
    document: Text
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$")]
    region: Annotated[str, Field(pattern=r"^[0-9]{0,6}$")] = ""
    effective_from: date | None = None
    effective_to: date | None = None
    note: Annotated[str, AfterValidator(_encodable)] = ""
    requires: Mapping[str, str] = {}
    """What the pack stands on, by kind: ``{"icd10": "icd10-nhsa-2.0"}``."""
    parameters: Mapping[str, str | int | float | bool] = {}
    tables: Mapping[str, TableManifest]


_REASONS = {
    "missing": "缺少 {place}",
    "extra_forbidden": "没有 {place} 这一项，请检查拼写",
    "string_type": "{place} 应为文本，请加引号",
    "string_too_short": "{place} 不能为空",
    "string_pattern_mismatch": "{place} 的格式不符合要求",
    "date_type": "{place} 应为日期，如 2026-01-01",
    "date_parsing": "{place} 应为日期，如 2026-01-01",
    "date_from_datetime_parsing": "{place} 应为日期，如 2026-01-01",
    "less_than_equal": "{place} 太大：数据包由更新的程序写成，请升级本程序",
}


def _reason(kind: str, place: str) -> str:
    """A fault of a manifest by pydantic's type of it."""
    return _REASONS.get(kind, "{place} 不符合要求").format(place=place)


class PackRef(msgspec.Struct, frozen=True):
    """The name a result gives to a pack that it used; ``sha256`` is the hash of the manifest."""

    kind: str
    id: str
    version: str
    name: str
    publisher: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Pack:
    """An installed pack: its manifest and the folder that holds its tables."""

    manifest: Manifest
    folder: Path
    sha256: str

    @classmethod
    def load(cls, folder: Path) -> Pack:
        """Read the manifest in ``folder``; tables are read when asked for. Raises PackError."""
        path = folder / MANIFEST_NAME
        try:
            if path.stat().st_size > MAX_MANIFEST_BYTES:
                raise PackError(f"{path}：清单超过 {MAX_MANIFEST_BYTES} 字节，不是数据包清单")
            raw = path.read_bytes()
        except OSError as error:
            raise PackError(f"{path}：无法读取数据包清单（{reason_of(error)}）") from error
        try:
            manifest = Manifest.model_validate(tomllib.loads(raw.decode("utf-8")))
        except UnicodeDecodeError as error:
            raise PackError(f"{path}：清单不是 UTF-8 编码") from error
        except tomllib.TOMLDecodeError as error:
            raise PackError(f"{path}：清单不是有效的 TOML（{error}）") from error
        except ValidationError as error:
            raise PackError(
                *(
                    f"{path}：{_reason(fault['type'], '.'.join(map(str, fault['loc'])))}"
                    for fault in error.errors()
                )
            ) from error
        return cls(manifest, folder, hashlib.sha256(raw).hexdigest())

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def kind(self) -> str:
        return self.manifest.kind

    @property
    def ref(self) -> PackRef:
        m = self.manifest
        return PackRef(m.kind, m.id, m.version, m.name, m.publisher, self.sha256)

    def table_path(self, table: str) -> Path:
        """Where the CSV of ``table`` lies. Raises PackError for a table the pack does not have."""
        entry = self.manifest.tables.get(table)
        if entry is None:
            raise PackError(f"数据包 {self.id} 没有数据表 {table}")
        return self.folder / entry.file

    def rows(self, table: str) -> list[dict[str, str]]:
        """The rows of ``table`` in file order, every value a string. Raises PackError."""
        columns, rows = self.table(table)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def columns(self, table: str) -> tuple[str, ...]:
        """The column names of ``table`` in file order. Raises PackError."""
        return self.table(table)[0]

    def records(self, table: str, *columns: str) -> list[tuple[str, ...]]:
        """The values of ``columns`` in each row of ``table``, in file order. Raises PackError."""
        found, rows = self.table(table)
        missing = [column for column in columns if column not in found]
        if missing:
            raise PackError(f"{self.table_path(table)}：缺少列 {'、'.join(missing)}")
        if columns == found:
            return [tuple(row) for row in rows]
        positions = [found.index(column) for column in columns]
        return [tuple([row[position] for position in positions]) for row in rows]

    def table(self, table: str) -> tuple[tuple[str, ...], list[list[str]]]:
        """The columns and the rows of ``table`` in file order, every value a string.

        Raises PackError when the file is not the one that the manifest describes.
        """
        path, entry = self.table_path(table), self.manifest.tables[table]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise PackError(f"{path}：无法读取（{reason_of(error)}）") from error
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise PackError(f"{path}：内容与清单中的 sha256 不一致，文件被改动或不完整")
        try:
            header, *rows = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
        except (ValueError, csv.Error) as error:
            raise PackError(f"{path}：不是有效的 UTF-8 CSV（{error}）") from error
        if any(len(row) != len(header) for row in rows):
            raise PackError(f"{path}：有的行与表头的列数不同")
        if len(rows) != entry.rows:
            raise PackError(f"{path}：清单写 {entry.rows} 行，实有 {len(rows)} 行")
        missing = [column for column in entry.key if column not in header]
        if missing:
            raise PackError(f"{path}：缺少关键列 {'、'.join(missing)}")
        return tuple(header), rows

    def verify(self) -> list[str]:
        """Every way in which the tables differ from the manifest; empty when all is well."""
        faults: list[str] = []
        for name in self.manifest.tables:
            try:
                self.table(name)
            except PackError as error:
                faults.extend(error.faults)
        return faults


@dataclass(frozen=True, slots=True)
class BrokenPack:
    """A folder that should hold a pack and does not: left out of the store, and reported."""

    folder: Path
    faults: tuple[str, ...]


class PackStore:
    """The packs of this installation: those shipped, and those a hospital imported.

    ``shipped`` is read-only. ``site`` holds ``<id>/<version>/pack.toml`` for each import and
    ``active.toml`` (id = "version"), which is replaced atomically. Without an entry there, the
    version of an id that holds is the one that was published last. Opening reads manifests only. A
    pack that cannot be read is listed in ``broken``; the others go on working.
    """

    def __init__(self, shipped: Path = SHIPPED_PACKS, site: Path | None = None) -> None:
        self.shipped = shipped
        self.site = site
        self.broken: tuple[BrokenPack, ...] = ()
        self._packs: dict[tuple[str, str], Pack] = {}
        self._active: dict[str, str] = {}
        self.reload()

    def reload(self) -> None:
        """Look at the folders again. Raises PackError when ``active.toml`` cannot be read."""
        found: dict[tuple[str, str], Pack] = {}
        broken: list[BrokenPack] = []
        for folder in self._folders():
            try:
                pack = Pack.load(folder)
                self._check_place(pack, found)
            except PackError as error:
                broken.append(BrokenPack(folder, error.faults))
                continue
            found[pack.id, pack.manifest.version] = pack
        active = self._read_active()
        self._packs, self.broken, self._active = found, tuple(broken), active

    def _folders(self) -> Iterator[Path]:
        if self.shipped.is_dir():
            for path in sorted(self.shipped.rglob(MANIFEST_NAME)):
                if not _hidden(path, self.shipped):
                    yield path.parent
        if self.site is not None and self.site.is_dir():
            yield from sorted(
                folder
                for folder in self.site.glob("*/*")
                if folder.is_dir() and not _hidden(folder, self.site)
            )

    def _check_place(self, pack: Pack, found: Mapping[tuple[str, str], Pack]) -> None:
        """An id and version stand once, and a site pack lies where its id and version say."""
        version = pack.manifest.version
        twin = found.get((pack.id, version))
        if twin is not None:
            raise PackError(f"{pack.folder}：数据包 {pack.id} {version} 已在 {twin.folder}，重复的不使用")
        if self.site is not None and pack.folder == self.site / pack.folder.parent.name / pack.folder.name:
            expected = self.site / pack.id / version
            if pack.folder != expected:
                raise PackError(f"{pack.folder}：清单写的是 {pack.id} {version}，应放在 {expected}")

    def _read_active(self) -> dict[str, str]:
        if self.site is None:
            return {}
        path = self.site / ACTIVE_NAME
        if not path.is_file():
            return {}
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise PackError(f"{path}：不是有效的 TOML（{error}）；删除后重新启用各数据包") from error
        return {key: str(value) for key, value in content.items()}

    def all(self) -> list[Pack]:
        """Every installed pack, by kind, id and version."""
        return sorted(self._packs.values(), key=lambda p: (p.kind, p.id, _version_key(p.manifest.version)))

    def versions(self, pack_id: str) -> list[Pack]:
        """The installed versions of one pack, oldest first."""
        return [pack for pack in self.all() if pack.id == pack_id]

    def get(self, pack_id: str, version: str | None = None) -> Pack:
        """The active version of a pack, or the version asked for. Raises PackError."""
        versions = self.versions(pack_id)
        if not versions:
            known = "、".join(sorted({pack.id for pack in self.all()}))
            raise PackError(
                f"没有数据包 {pack_id}；已安装的有：{known or '（无）'}{self._broken_hint(pack_id)}"
            )
        wanted = self._active.get(pack_id) if version is None else version
        if wanted is None:
            return versions[-1]
        for pack in versions:
            if pack.manifest.version == wanted:
                return pack
        known = "、".join(pack.manifest.version for pack in versions)
        if wanted == NONE_ACTIVE:
            raise PackError(
                f"数据包 {pack_id} 尚未启用；已安装的版本：{known}，请用 qingdan packs activate 启用"
            )
        raise PackError(
            f"数据包 {pack_id} 没有版本 {wanted}；已安装的版本：{known}{self._broken_hint(pack_id)}"
        )

    def _broken_hint(self, pack_id: str) -> str:
        faults = [fault for one in self.broken if pack_id in one.folder.parts[-2:] for fault in one.faults]
        return f"（有损坏的数据包：{'；'.join(faults)}）" if faults else ""

    def is_active(self, pack: Pack) -> bool:
        active = self._active.get(pack.id)
        return pack.manifest.version == (active if active is not None else self.get(pack.id).manifest.version)

    def active(self, kind: str) -> list[Pack]:
        """The active pack of every id of ``kind``; an id that is not yet to be used has none.

        Raises PackError when the version in use is broken: another one must not step in unseen.
        """
        ids = sorted({pack.id for pack in self._packs.values() if pack.kind == kind})
        return [self.get(pack_id) for pack_id in ids if self._active.get(pack_id) != NONE_ACTIVE]

    def pack_for(self, kind: str, region: str = "", on: date | None = None) -> Pack:
        """The active pack of ``kind`` that holds in ``region`` on ``on``. Raises PackError.

        The most specific region wins, then the pack that came into force last, then one that was
        imported here over one that is shipped. ``on`` is the discharge date; None means no date
        restriction.
        """
        candidates = [
            pack
            for pack in self.active(kind)
            if region.startswith(pack.manifest.region) and _in_force(pack.manifest, on)
        ]
        if not candidates:
            where = f"地区 {region}" if region else "全国"
            when = f"、出院日期 {on.isoformat()}" if on else ""
            raise PackError(f"没有适用于{where}{when}的 {kind} 数据包；请用 qingdan packs import 导入")
        return max(
            candidates,
            key=lambda pack: (
                len(pack.manifest.region),
                pack.manifest.effective_from or date.min,
                self.site is not None and pack.folder.is_relative_to(self.site),
                pack.id,
            ),
        )

    def activate(self, pack_id: str, version: str) -> Pack:
        """Make ``version`` the one in use, atomically. Raises PackError and changes nothing."""
        with self._writing() as site:
            pack = self.get(pack_id, version)
            faults = pack.verify()
            if faults:
                raise PackError(*faults)
            self._choose(site, pack_id, version)
        return pack

    def install(self, pack_id: str, version: str, write: Callable[[Path], Pack]) -> Pack:
        """Let ``write`` fill a new hidden folder of the site, then show it as ``pack_id`` ``version``.

        The version in use stays in use until ``activate``; when this is interrupted, nothing is seen.
        Raises PackError for a version that is there already.
        """
        with self._writing() as site:
            if (pack_id, version) in self._packs or (site / pack_id / version).exists():
                raise PackError(
                    f"数据包 {pack_id} 的版本 {version} 已经安装；内容有变时请换一个版本号（--version）"
                )
            hidden = site / f"{UNFINISHED}{os.getpid()}"
            try:
                written = write(hidden)
                if (written.id, written.manifest.version) != (pack_id, version):
                    raise PackError(f"写出的数据包是 {written.id} {written.manifest.version}")
                faults = written.verify()
                if faults:
                    raise PackError(*faults)
                if pack_id not in self._active:
                    used = self.versions(pack_id)
                    self._choose(site, pack_id, used[-1].manifest.version if used else NONE_ACTIVE)
                folder = site / pack_id / version
                folder.parent.mkdir(exist_ok=True)
                hidden.rename(folder)
                _flush_folder(folder.parent)
            finally:
                shutil.rmtree(hidden, ignore_errors=True)
            pack = Pack.load(folder)
            self._packs[pack_id, version] = pack
        return pack

    @contextmanager
    def _writing(self) -> Iterator[Path]:
        """Hold the site folder alone, seen as it is now and rid of what a killed import left behind."""
        if self.site is None:
            raise PackError("没有本院数据包目录，不能导入或切换版本；请设置 QINGDAN_HOME")
        try:
            self.site.mkdir(parents=True, exist_ok=True)
            with (self.site / ".lock").open("wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                for leftover in self.site.glob(f"{UNFINISHED}*"):
                    shutil.rmtree(leftover, ignore_errors=True)
                self.reload()
                yield self.site
        except OSError as error:
            raise PackError(f"{self.site}：无法写入本院数据包目录（{reason_of(error)}）") from error

    def _choose(self, site: Path, pack_id: str, version: str) -> None:
        chosen = {**self._active, pack_id: version}
        lines = "".join(f'"{key}" = "{value}"\n' for key, value in sorted(chosen.items()))
        write_atomically(site / ACTIVE_NAME, lines.encode())
        self._active = chosen


def _hidden(folder: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in folder.relative_to(root).parts)


def _flush_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _version_key(version: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[._-]", version))


def _in_force(manifest: Manifest, on: date | None) -> bool:
    if on is None:
        return True
    starts, ends = manifest.effective_from, manifest.effective_to
    return (starts is None or starts <= on) and (ends is None or on <= ends)


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path``, flush it to the disk, then put it in its place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _write_flushed(temporary, content)
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _write_flushed(path: Path, content: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def write_pack(
    folder: Path,
    fields: Mapping[str, object],
    tables: Mapping[str, tuple[Sequence[str], Sequence[str], Iterable[Sequence[str]]]],
) -> Pack:
    """Write a pack into the new ``folder``: manifest ``fields``, and per table (columns, key, rows).

    Rows are written as they come. The same input gives the same bytes. Raises PackError, also for a
    value with a carriage return.
    """
    folder.mkdir(parents=True, exist_ok=False)
    entries = {}
    for name, (columns, key, rows) in tables.items():
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(columns)
        count = 0
        for row in rows:
            writer.writerow(row)
            count += 1
        content = buffer.getvalue().encode()
        if b"\r" in content:  # the csv module writes it unquoted and then cannot read it back
            raise PackError(f"数据表 {name} 的值含有回车符")
        file = f"{name}.csv"
        _write_flushed(folder / file, content)
        entries[name] = {
            "file": file,
            "sha256": hashlib.sha256(content).hexdigest(),
            "rows": count,
            "key": list(key),
        }
    lines = [
        f"{key} = {_toml_value(value)}" for key, value in fields.items() if not isinstance(value, Mapping)
    ]
    sections = {key: value for key, value in fields.items() if isinstance(value, Mapping)}
    sections |= {f"tables.{name}": entry for name, entry in entries.items()} or {"tables": {}}
    for section, content_of_section in sections.items():
        lines += ["", f"[{section}]"]
        lines += [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in content_of_section.items()]
    _write_flushed(folder / MANIFEST_NAME, ("\n".join(lines) + "\n").encode())
    return Pack.load(folder)


def _toml_key(key: object) -> str:
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _toml_value(text)


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\u{ord(found.group()):04x}", text) + '"'
