"""Keep compiled schemes on disk: MessagePack beside a digest, keyed by the tables and by this code."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from grouper.compiled import Bits, CompiledScheme
from grouper.scheme import COLUMNS, CodeSets, Scheme
from models.pack import Pack, PackError, write_atomically
from models.system_errors import reason_of

Row = TypeVar("Row", bound=Hashable)

_MAGIC = b"qingdan-scheme\n"
_DIGEST_SIZE = hashlib.sha256().digest_size
_CODE = ("cache.py", "compiled.py", "formula.py", "scheme.py")
"""The modules that decide what a compiled scheme looks like."""


class _Stored(msgspec.Struct, array_like=True):
    """Codes and table names by their number in ``names``; integers of any size as bytes."""

    key: bytes
    names: list[str]
    sets: dict[str, list[int]]
    complications: list[tuple[int, str, int]]
    exclusions: list[tuple[list[int], list[int]]]
    """(exclusion tables, the principal diagnoses that exactly these name)."""
    principal_rows: list[tuple[bytes, bytes, list[int]]]
    principal: dict[str, int]
    other_rows: list[tuple[bytes, int, int]]
    other: dict[str, int]
    main_rows: list[tuple[bytes, bytes]]
    main: dict[str, int]
    procedure_rows: list[bytes]
    procedures: dict[str, int]


def load_compiled(pack: Pack, folder: Path | None = None) -> CompiledScheme:
    """The compiled scheme of ``pack``, from ``folder`` when it holds one for the same tables and code.

    A file that is missing, outdated or damaged is written anew; a folder that cannot be written to
    only costs time. Raises PackError for a scheme that cannot be compiled.
    """
    if folder is None:
        return CompiledScheme(Scheme.from_pack(pack))
    path = folder / f"{pack.id}-{pack.manifest.version}.scheme"
    key = _key(pack)
    stored = _read(path, key)
    if stored is not None:
        code_sets, bits = _unpack(stored)
        return CompiledScheme(Scheme.from_pack(pack, code_sets), bits)
    compiled = CompiledScheme(Scheme.from_pack(pack))
    payload = msgspec.msgpack.encode(_pack(compiled, key))
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _MAGIC + hashlib.sha256(payload).digest() + payload)
    return compiled


def _key(pack: Pack) -> bytes:
    """A digest of the tables as they lie on disk and of the modules that compile them."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    try:
        for path in [*(pack.table_path(table) for table in COLUMNS), *(here / name for name in _CODE)]:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise PackError(f"{error.filename}：无法读取（{reason_of(error)}）") from error
    return digest.digest()


def _read(path: Path, key: bytes) -> _Stored | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    payload = content[len(_MAGIC) + _DIGEST_SIZE :]
    if content[: len(_MAGIC) + _DIGEST_SIZE] != _MAGIC + hashlib.sha256(payload).digest():
        return None
    try:
        stored = msgspec.msgpack.decode(payload, type=_Stored)
    except msgspec.MsgspecError:
        return None
    return stored if stored.key == key else None


def _pack(compiled: CompiledScheme, key: bytes) -> _Stored:
    code_sets, bits = compiled.scheme.code_sets, compiled.bits
    names: dict[str, int] = {}

    def number(name: str) -> int:
        return names.setdefault(name, len(names))

    def numbers(group: Iterable[str]) -> list[int]:
        return [number(name) for name in sorted(group)]

    naming: dict[frozenset[str], list[int]] = {}
    for code, tables in sorted(code_sets.exclusions.items()):
        naming.setdefault(tables, []).append(number(code))
    principal_rows, principal = _distinct(bits.principal)
    other_rows, other = _distinct(bits.other)
    main_rows, main = _distinct(bits.main)
    procedure_rows, procedures = _distinct(bits.other_procedure)
    return _Stored(
        key=key,
        sets={name: numbers(codes) for name, codes in code_sets.sets.items()},
        complications=[
            (number(code), level, number(table)) for code, (level, table) in code_sets.complications.items()
        ],
        exclusions=[(numbers(tables), principals) for tables, principals in naming.items()],
        principal_rows=[
            (_to_bytes(entries), _to_bytes(word), numbers(tables)) for entries, word, tables in principal_rows
        ],
        principal=principal,
        other_rows=[(_to_bytes(word), level, number(table)) for word, level, table in other_rows],
        other=other,
        main_rows=[(_to_bytes(entries), _to_bytes(word)) for entries, word in main_rows],
        main=main,
        procedure_rows=[_to_bytes(word) for word in procedure_rows],
        procedures=procedures,
        names=list(names),
    )


def _unpack(stored: _Stored) -> tuple[CodeSets, Bits]:
    names = stored.names
    exclusions: dict[str, frozenset[str]] = {}
    for tables, principals in stored.exclusions:
        shared = frozenset([names[table] for table in tables])
        exclusions.update((names[principal], shared) for principal in principals)
    code_sets = CodeSets(
        {name: frozenset([names[code] for code in codes]) for name, codes in stored.sets.items()},
        {names[code]: (level, names[table]) for code, level, table in stored.complications},
        exclusions,
    )
    principal_rows = [
        (_from_bytes(entries), _from_bytes(word), frozenset([names[table] for table in tables]))
        for entries, word, tables in stored.principal_rows
    ]
    other_rows = [(_from_bytes(word), level, names[table]) for word, level, table in stored.other_rows]
    main_rows = [(_from_bytes(entries), _from_bytes(word)) for entries, word in stored.main_rows]
    procedure_rows = [_from_bytes(word) for word in stored.procedure_rows]
    return code_sets, Bits(
        {code: principal_rows[row] for code, row in stored.principal.items()},
        {code: other_rows[row] for code, row in stored.other.items()},
        {code: main_rows[row] for code, row in stored.main.items()},
        {code: procedure_rows[row] for code, row in stored.procedures.items()},
    )


def _distinct(values: Mapping[str, Row]) -> tuple[list[Row], dict[str, int]]:
    """The different values, and for each code the number of its value."""
    rows: dict[Row, int] = {}
    numbers = {code: rows.setdefault(values[code], len(rows)) for code in sorted(values)}
    return list(rows), numbers


def _to_bytes(bits: int) -> bytes:
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _from_bytes(content: bytes) -> int:
    return int.from_bytes(content, "little")
