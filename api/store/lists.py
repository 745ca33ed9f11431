"""Versions of lists in the store: what is new becomes a further version, nothing is overwritten."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import msgspec
from sqlalchemy import Connection, bindparam, func, select, text
from sqlalchemy.engine import Row
from sqlmodel import col

from api.store import audit
from api.store.bulk import insert_rows
from api.store.database import StoreError
from api.store.tables import ListVersion
from api.store.vault import Vault, digest_of, join_people, unmasked_payload
from models.wire import Received, decode

KEY_LIMIT = 200
"""Characters of a list's key; PostgreSQL indexes no text of several kilobytes."""
_IMPORTED, _CORRECTED = "run ", "correction of v"
"""Beginnings of ``origin``: read from a file by that run, or corrected by a person from that version."""
_WRITING_LISTS = 0x51_44_00_02
"""PostgreSQL advisory lock: of two runs that bring the same new list only one gives it its number."""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """What is known of one version without opening it. ``received_at`` has its time zone."""

    list_key: str
    version: int
    list_id: str
    interface: str
    digest: str
    department: str
    doctor: str
    discharged: datetime | None
    received_at: datetime
    received_by: str
    origin: str


def import_origin(run_id: int) -> str:
    """``origin`` of a version that a run has read from its input."""
    return f"{_IMPORTED}{run_id}"


def corrections(connection: Connection, keys: Iterable[str]) -> set[tuple[str, int]]:
    """The versions (key, number) of these lists that a person made, not a file that was read."""
    found = connection.execute(_CORRECTIONS, {"keys": sorted(set(keys))})
    return {(row[0], row[1]) for row in found}


def list_key(received: Received, digest: str) -> str:
    """How a list is found again: institution and 就诊ID, else 结算ID, else 病案号; see ListVersion.

    What is impossibly long is shortened to its hash, so that two such lists stay two.
    """
    stay = received.list.stay
    own = stay.visit_id or stay.settlement_id or stay.record_number
    key = f"{stay.institution_code or ''}/{own.strip()}" if own and own.strip() else f"#{digest[:24]}"
    if len(key) <= KEY_LIMIT and key.isprintable():
        return key
    return "~" + hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def version_row(
    received: Received,
    wire_json: bytes,
    vault: Vault,
    *,
    at: datetime,
    by: str,
    origin: str,
) -> dict[str, Any]:
    """The row of a list as ``store_versions`` takes it: masked, with its key, digest and people."""
    masked = vault.mask(wire_json)
    digest = digest_of(wire_json)
    stay = received.list.stay
    return {
        "list_key": list_key(received, digest),
        "list_id": stay.visit_id or stay.settlement_id or stay.record_number or "",
        "interface": received.interface,
        "digest": digest,
        "payload": masked.payload,
        "identity": masked.identity,
        "people": join_people(vault.person_keys(received)),
        "institution": stay.institution_code or "",
        "department": stay.hospital_discharge_department or stay.discharge_department or "",
        "doctor": stay.physician_code or stay.physician_name or "",
        "admitted": stay.admission_time,
        "discharged": stay.discharge_time,
        "received_at": at,
        "received_by": by,
        "origin": origin,
        "unread_values": received.unread_values,
    }


def store_versions(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Store the lists of a part, and give the version of each row.

    A list that is already there with the same digest keeps its version, the newest of those; any other is
    a new version. Two rows of one key in the same part follow each other.
    """
    if not rows:
        return []
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITING_LISTS})
    found = connection.execute(_KNOWN, {"keys": sorted({row["list_key"] for row in rows})})
    known: dict[tuple[str, str], int] = {}
    newest: dict[str, int] = {}
    for key, version, digest in found:
        known[key, digest] = max(version, known.get((key, digest), 0))
        newest[key] = max(version, newest.get(key, 0))
    new: list[dict[str, Any]] = []
    versions = []
    for row in rows:
        key, digest = row["list_key"], row["digest"]
        if (key, digest) not in known:
            version = known[key, digest] = newest[key] = newest.get(key, 0) + 1
            new.append({**row, "version": version})
        versions.append(known[key, digest])
    insert_rows(connection, ListVersion, new)
    return versions


def latest(connection: Connection, keys: Iterable[str]) -> dict[str, int]:
    """The newest version of each list that is stored, by key."""
    found = connection.execute(_LATEST, {"keys": sorted(set(keys))})
    return {row[0]: row[1] for row in found}


def forms(
    connection: Connection, wanted: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], tuple[str, int | None]]:
    """Of each of these versions, which are stored: 4101 or 4101A, and its ``unread_values``."""
    asked = set(wanted)
    found = connection.execute(_FORMS, {"keys": sorted({key for key, _ in asked})})
    return {(row[0], row[1]): (row[2], row[3]) for row in found if (row[0], row[1]) in asked}


def history(connection: Connection, key: str) -> list[StoredVersion]:
    """Every version of one list, the oldest first."""
    rows = connection.execute(
        select(*_SHOWN).where(col(ListVersion.list_key) == key).order_by(col(ListVersion.version))
    )
    return [StoredVersion(*row) for row in rows]


def open_masked(connection: Connection, key: str, version: int | None = None) -> tuple[int, bytes]:
    """The version (the newest when none is named) and its JSON with masked identity. Raises StoreError."""
    row = _row(connection, key, version)
    return row.version, unmasked_payload(row.payload)


def open_revealed(
    connection: Connection,
    vault: Vault,
    key: str,
    version: int | None = None,
    *,
    who: str,
    why: str,
    at: datetime,
) -> tuple[int, bytes]:
    """The same with the patient's identity, exactly as received; that it was seen is in the audit log.

    Needs a writing transaction. Raises StoreError.
    """
    row = _row(connection, key, version)
    content = vault.reveal(row.payload, row.identity)
    audit.record(connection, who, "reveal", f"{key} v{row.version}", why, at)
    return row.version, content


def reveal_many(
    connection: Connection, vault: Vault, wanted: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], bytes]:
    """The JSON as received of many versions, for checking them again; nobody sees them, nothing is logged.

    Raises StoreError.
    """
    pairs = sorted(set(wanted))
    rows = connection.execute(_CONTENTS, {"keys": sorted({key for key, _ in pairs})})
    asked = set(pairs)
    found = {
        (row.list_key, row.version): vault.reveal(row.payload, row.identity)
        for row in rows
        if (row.list_key, row.version) in asked
    }
    if missing := asked - found.keys():
        key, version = min(missing)
        raise StoreError(f"数据库里没有清单 {key} 的第 {version} 版")
    return found


def save_version(
    connection: Connection,
    vault: Vault,
    key: str,
    corrected: bytes,
    *,
    base: int,
    who: str,
    at: datetime,
    why: str = "",
) -> int:
    """Keep a corrected list as a new version, and give its number (the same when nothing changed).

    ``corrected``: the whole list as JSON; fields that still show a mask get the true value of version
    ``base`` back. Raises StoreError when someone has saved another version since ``base``, or when the
    correction would make it another list; DecodeError when it is none.
    """
    newest = _row(connection, key, None)
    if newest.version != base:
        raise StoreError(
            f"清单 {key} 已被 {newest.received_by or '他人'} 存为第 {newest.version} 版，"
            f"您改的是第 {base} 版；请打开最新一版再改"
        )
    whole = vault.restore(corrected, newest.payload, newest.identity)
    received = decode(whole)
    row = version_row(received, whole, vault, at=at, by=who, origin=f"{_CORRECTED}{base}")
    if row["list_key"] != key and not key.startswith("#"):
        raise StoreError(
            f"医疗机构编号、就诊ID、结算ID 或病案号改了（{key} → {row['list_key']}），"
            "就成了另一份清单；请改回，或作为新清单录入"
        )
    (version,) = store_versions(connection, [{**row, "list_key": key}])
    if version != base:
        audit.record(connection, who, "correct", f"{key} v{version}", why, at)
    return version


def restored(connection: Connection, vault: Vault, key: str, version: int, corrected: bytes) -> bytes:
    """A list being corrected (JSON), fields that show their mask with the value of ``version`` again.

    For checking it; nobody sees it, nothing is logged. Raises StoreError.
    """
    row = _row(connection, key, version)
    return vault.restore(corrected, row.payload, row.identity)


def same_content(one: bytes, other: bytes) -> bool:
    """Whether two JSON texts hold the same list, however they are written."""
    return bool(msgspec.json.decode(one) == msgspec.json.decode(other))


_SHOWN = (
    col(ListVersion.list_key),
    col(ListVersion.version),
    col(ListVersion.list_id),
    col(ListVersion.interface),
    col(ListVersion.digest),
    col(ListVersion.department),
    col(ListVersion.doctor),
    col(ListVersion.discharged),
    col(ListVersion.received_at),
    col(ListVersion.received_by),
    col(ListVersion.origin),
)
_IN_KEYS = col(ListVersion.list_key).in_(bindparam("keys", expanding=True))
_KNOWN = select(col(ListVersion.list_key), col(ListVersion.version), col(ListVersion.digest)).where(_IN_KEYS)
_FORMS = select(
    col(ListVersion.list_key),
    col(ListVersion.version),
    col(ListVersion.interface),
    col(ListVersion.unread_values),
).where(_IN_KEYS)
_LATEST = (
    select(col(ListVersion.list_key), func.max(ListVersion.version))
    .where(_IN_KEYS)
    .group_by(col(ListVersion.list_key))
)
_CORRECTIONS = select(col(ListVersion.list_key), col(ListVersion.version)).where(
    _IN_KEYS, col(ListVersion.origin).startswith(_CORRECTED)
)
_CONTENTS = select(
    col(ListVersion.list_key),
    col(ListVersion.version),
    col(ListVersion.payload),
    col(ListVersion.identity),
).where(_IN_KEYS)


def _row(connection: Connection, key: str, version: int | None) -> Row[*tuple[Any, ...]]:
    table = col(ListVersion.list_key), col(ListVersion.version)
    asked = select(
        *table, col(ListVersion.payload), col(ListVersion.identity), col(ListVersion.received_by)
    ).where(table[0] == key)
    if version is not None:
        asked = asked.where(table[1] == version)
    found = connection.execute(asked.order_by(table[1].desc()).limit(1)).first()
    if found is None:
        which = "" if version is None else f"的第 {version} 版"
        raise StoreError(f"数据库里没有清单 {key}{which}；编号是“机构编号/就诊ID”，见批次的结果")
    return cast("Row[*tuple[Any, ...]]", found)
