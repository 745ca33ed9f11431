"""Keep what a hospital has accepted: who, why, until when; nothing is ever rewritten or lost."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from models.pack import PackError, write_atomically
from models.system_errors import reason_of
from qc_rules.acceptance import Acceptance, Acceptances
from qc_rules.schema import RULE_CODE

FILE_NAME = "acceptances.ndjson"
MAX_TEXT = 200
MAX_REASON = 1000
MAX_KEPT = 200_000
"""Acceptances in one file: far more are a sign that a rule should be switched off."""


class AcceptanceError(PackError):
    """An acceptance cannot be made, found or kept; the reason is in Chinese."""


class NotAcceptedError(AcceptanceError):
    """There is no acceptance of that id."""


class NewAcceptance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked to be accepted, see Acceptance."""

    rule: str
    by: str
    reason: str
    until: date | None = None
    list_id: str = ""
    field: str = ""
    value: str = ""
    department: str = ""


class Withdrawal(msgspec.Struct, frozen=True):
    """That an acceptance no longer holds: by whom and when."""

    by: str
    at: datetime


class KeptAcceptance(msgspec.Struct, frozen=True, omit_defaults=True):
    """An acceptance as it is kept, with its withdrawal when it was withdrawn."""

    acceptance: Acceptance
    withdrawn: Withdrawal | None = None


class AcceptanceStore(Protocol):
    """Where acceptances are kept. Times are given by the caller."""

    def add(self, asked: NewAcceptance, now: datetime) -> Acceptance:
        """Keep a new one. Raises AcceptanceError."""
        ...

    def withdraw(self, acceptance_id: str, by: str, now: datetime) -> KeptAcceptance:
        """End one; one that is withdrawn already stays as it is. Raises AcceptanceError."""
        ...

    def all(self) -> list[KeptAcceptance]:
        """Every one in the order made, the withdrawn too. Raises AcceptanceError."""
        ...

    def holding(self, on: date) -> Acceptances:
        """Those that hold on a day. Raises AcceptanceError."""
        ...


class _Accept(msgspec.Struct, frozen=True, tag_field="event", tag="accept"):
    acceptance: Acceptance


class _Withdraw(msgspec.Struct, frozen=True, tag_field="event", tag="withdraw"):
    id: str
    by: str
    at: datetime


_decode = msgspec.json.Decoder(_Accept | _Withdraw).decode
_encode = msgspec.json.Encoder().encode


class AcceptanceFile:
    """Acceptances in one NDJSON file: a line for each that is made and for each that is withdrawn.

    A line is never changed. The file is replaced as a whole, so a reader and a power cut see it before
    or after, and writers wait for each other.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._kept: dict[str, KeptAcceptance] = {}
        self._holding: tuple[date, Acceptances] | None = None

    @classmethod
    def of(cls, home: Path) -> AcceptanceFile:
        """The file in the hospital's own folder."""
        return cls(home / FILE_NAME)

    def add(self, asked: NewAcceptance, now: datetime) -> Acceptance:
        _check(asked, now.date())
        with self._writing() as content:
            if len(self._kept) >= MAX_KEPT:
                raise AcceptanceError(f"已接受的问题超过 {MAX_KEPT} 条；经常接受的规则请在规则包里停用或改轻")
            made = Acceptance(
                id=f"A{len(self._kept) + 1:04d}", accepted_at=now, **msgspec.structs.asdict(asked)
            )
            self._write(content, _Accept(made))
        return made

    def withdraw(self, acceptance_id: str, by: str, now: datetime) -> KeptAcceptance:
        _check_text("by", by, MAX_TEXT)
        with self._writing() as content:
            found = self._kept.get(acceptance_id)
            if found is None:
                raise NotAcceptedError(
                    f"没有编号为“{acceptance_id[:40]}”的接受；清单见 qingdan rules accepted"
                )
            if found.withdrawn is None:
                found = msgspec.structs.replace(found, withdrawn=Withdrawal(by, now))
                self._write(content, _Withdraw(acceptance_id, by, now))
        return found

    def all(self) -> list[KeptAcceptance]:
        self._refresh()
        return list(self._kept.values())

    def holding(self, on: date) -> Acceptances:
        self._refresh()
        if self._holding is None or self._holding[0] != on:
            valid = (kept.acceptance for kept in self._kept.values() if kept.withdrawn is None)
            self._holding = on, Acceptances(valid, on)
        return self._holding[1]

    def _refresh(self) -> None:
        """Read the file when it is another one than last time."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._seen, self._kept, self._holding = None, {}, None
            return
        except OSError as error:
            raise AcceptanceError(f"{self.path}：无法读取（{reason_of(error)}）") from error
        seen = status.st_mtime_ns, status.st_size, status.st_ino
        if seen != self._seen:
            self._kept = _parse(self.path, self._read())
            self._seen, self._holding = seen, None

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise AcceptanceError(f"{self.path}：无法读取（{reason_of(error)}）") from error

    @contextmanager
    def _writing(self) -> Iterator[bytes]:
        """Hold the file alone; gives its content as it is now."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_name(f".{self.path.name}.lock").open("wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                content = self._read()
                self._kept, self._seen, self._holding = _parse(self.path, content), None, None
                yield content
        except OSError as error:
            raise AcceptanceError(f"{self.path}：无法写入（{reason_of(error)}）") from error

    def _write(self, content: bytes, event: _Accept | _Withdraw) -> None:
        if content and not content.endswith(b"\n"):
            content += b"\n"
        write_atomically(self.path, content + _encode(event) + b"\n")
        self._seen = None


def _parse(path: Path, content: bytes) -> dict[str, KeptAcceptance]:
    kept: dict[str, KeptAcceptance] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            event = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise AcceptanceError(
                f"{path} 第 {number} 行：不是接受记录（{error}）；请恢复这个文件的备份或改正这一行"
            ) from error
        if isinstance(event, _Accept):
            kept[event.acceptance.id] = KeptAcceptance(event.acceptance)
        elif event.id in kept:
            withdrawn = Withdrawal(event.by, event.at)
            kept[event.id] = msgspec.structs.replace(kept[event.id], withdrawn=withdrawn)
    return kept


def _check(asked: NewAcceptance, today: date) -> None:
    """Raises AcceptanceError with every fault of what is asked."""
    faults = []
    if not re.fullmatch(RULE_CODE, asked.rule):
        faults.append(f"规则编号“{asked.rule[:40]}”不符合要求，应如 CMP-001")
    for name in ("by", "reason", "list_id", "field", "value", "department"):
        try:
            limit = MAX_REASON if name in ("reason", "value") else MAX_TEXT
            _check_text(name, getattr(asked, name), limit, needed=name in ("by", "reason"))
        except AcceptanceError as error:
            faults += error.faults
    if asked.until is not None and asked.until < today:
        faults.append(f"有效期至 {asked.until}，早于今天 {today}")
    if faults:
        raise AcceptanceError(*faults)


_LABELS = {
    "by": "接受人",
    "reason": "理由",
    "list_id": "清单编号",
    "field": "字段",
    "value": "值",
    "department": "科室",
}


def _check_text(name: str, text: str, limit: int, *, needed: bool = True) -> None:
    label = _LABELS[name]
    if needed and not text.strip():
        raise AcceptanceError(f"{label}不能为空")
    if len(text) > limit:
        raise AcceptanceError(f"{label}不能超过 {limit} 个字符")
    if not text.isprintable():
        raise AcceptanceError(f"{label}里有不能显示的字符")
