"""Masks who a list is about and keeps the true values encrypted, so that lists are worked on without them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import zip_longest
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from api.settings import Settings
from api.store.database import Database, StoreError
from api.store.tables import Property
from models.system_errors import reason_of
from models.wire import Received

KEY_FILE = "identity.key"
KEY_BYTES = 32
PERSON_KEY_BYTES = 12
SHORTEST_IDENTIFIER = 6
"""An identifier of fewer characters names nobody."""
LEVEL = 1
"""Of zlib: a list shrinks to about a third; a higher level takes three times as long for a tenth less."""
MAX_PAYLOAD = 512 << 20
"""Bytes of one list, decompressed; no list that is read is nearly as large."""

# Of a number nothing is shown. An identity number is area, birth date, order and check digit: the area and
# the birth date stand in the list, so the check digit alone would leave some forty numbers to try; insurance
# and person numbers often are the identity number.
_NAME, _NUMBER, _PHONE, _PROVINCE, _NOTHING = (1, 0), (0, 0), (0, 1), (2, 0), (0, 0)
IDENTITY: dict[str, tuple[int, int]] = {
    "psn_name": _NAME,
    "certno": _NUMBER,
    "psn_no": _NUMBER,
    "hi_no": _NUMBER,
    "curr_addr": _PROVINCE,
    "emp_name": _NOTHING,
    "emp_addr": _PROVINCE,
    "emp_tel": _PHONE,
    "poscode": _NOTHING,
    "coner_name": _NAME,
    "coner_addr": _PROVINCE,
    "coner_tel": _PHONE,
    # the names that interface 4103 and hospitals' exports give the same
    "emp_poscode": _NOTHING,
    "tel": _PHONE,
    "mob": _PHONE,
}
"""Fields of setlinfo that say who the patient is, with how many characters stay in front and at the end.

出生日期, 性别 and 民族 stay, rules and groups need them; 患者证件类别 is a kind, not a number; 就诊ID, 结算ID
and 病案号 name the stay inside the hospital, which is how a list is found again.
"""
_REPEATED = frozenset({"psn_name", "certno", "psn_no", "hi_no", "coner_name", "coner_tel", "emp_tel"})
"""Values that are looked for in the rest of the list too: in remarks, results and fields of the hospital's own."""

_FIRST = "".join(sorted({name[0] for name in IDENTITY}))
# The look ahead passes over most of a list's quotes; without it the search takes half as long again.
_KEY = re.compile(f'"(?=[{_FIRST}])({"|".join(IDENTITY)})"'.encode())
_VALUE = re.compile(rb'\s*:\s*(?:(null|"")|"([^"\\]*+(?:\\.[^"\\]*+)*+)"|(-?[0-9][0-9.eE+-]*))', re.DOTALL)
_COLON = re.compile(rb"\s*:")
_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
_PLACEHOLDER = re.compile(r"(.)\1*|[^0-9A-Za-z]*", re.DOTALL)
_EDITS, _WHOLE = 0, 1
MOST_IDENTITIES = 100
"""Identity values in one list, and times that they are repeated: far more than any has. A list made to hold
thousands of them is not searched for each, it is hidden as a whole."""
_HIDDEN_AS_A_WHOLE = b'{"setlinfo":{}}'
_SHORTEST_REPEATED = 4
"""Bytes of a value below which finding it elsewhere says nothing. A Chinese character has three."""


class Masked(msgspec.Struct, frozen=True):
    """A list as it is stored: ``payload`` compressed and without identity, ``identity`` encrypted."""

    payload: bytes
    identity: bytes


@dataclass(frozen=True)
class Vault:
    """The key of an installation and what is done with it. Small, immutable, picklable.

    Encryption is AES-SIV: the same list gives the same bytes, and a byte changed in either part is noticed.
    """

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")

    @classmethod
    def open(cls, settings: Settings, database: Database | None = None) -> Vault:
        """The key of the settings, else of the file, made on first use.

        With a ``database``, a key other than the one its lists are encrypted with is refused, and none is
        made for lists that exist already. Raises StoreError.
        """
        known = None if database is None else known_key(database)
        if known is not None:
            return cls.check(settings, known)
        vault = cls(_key_of(settings, may_make=True))
        if database is not None and (claimed := vault._claim(database)) != vault.fingerprint:
            return cls.check(settings, claimed)
        return vault

    @classmethod
    def check(cls, settings: Settings, known: str) -> Vault:
        """The key of the settings or of the file, which must be the one of this number. Raises StoreError."""
        vault = cls(_key_of(settings, may_make=False))
        if vault.fingerprint != known:
            given = settings.identity_key.get_secret_value()
            source = "QINGDAN_IDENTITY_KEY" if given else str(settings.home / KEY_FILE)
            raise StoreError(
                f"{source}：不是加密这个数据库中患者身份的密钥（密钥编号 {vault.fingerprint}，"
                f"应为 {known}）；请恢复原来的密钥，换了密钥就读不出已存的身份"
            )
        return vault

    @property
    def fingerprint(self) -> str:
        """A short public number of the key, from which nothing of it follows."""
        return self._derived(b"number", 8).hex()

    def mask(self, wire_json: bytes) -> Masked:
        """Take who the list is about out of its JSON. Raises StoreError when it is no JSON at all."""
        found = _edits(wire_json)
        if found is None:
            masked, secret = _mask_parsed(wire_json), (_WHOLE, wire_json)
        else:
            masked, edits = found
            secret = (_EDITS, edits)  # type: ignore[assignment]
        payload = zlib.compress(masked, LEVEL)
        return Masked(payload, self._cipher.encrypt(msgspec.msgpack.encode(secret), [payload]))

    def reveal(self, payload: bytes, identity: bytes) -> bytes:
        """The JSON exactly as it was given to ``mask``. Raises StoreError."""
        try:
            form, secret = msgspec.msgpack.decode(self._cipher.decrypt(identity, [payload]))
        except InvalidTag:
            raise StoreError(
                f"患者身份解不开：不是用现在的密钥（编号 {self.fingerprint}）加密的，或数据被改动过；"
                "请恢复原来的密钥，或从备份恢复数据库"
            ) from None
        if form == _WHOLE:
            assert isinstance(secret, bytes)  # noqa: S101 -- mask wrote it, and the cipher vouches for it
            return secret
        masked = unmasked_payload(payload)
        pieces: list[bytes] = []
        place = 0
        for start, length, original in secret:
            pieces += (masked[place:start], original)
            place = start + length
        pieces.append(masked[place:])
        return b"".join(pieces)

    def restore(self, corrected: bytes, payload: bytes, identity: bytes) -> bytes:
        """A list that was corrected while masked, with the true values of the version it was made from.

        A field that still shows its mask gets its value back, wherever its row stands now; one that was
        overwritten keeps what was written. Raises StoreError for a mask that may stand for several values, or for
        none: a list that was opened before it was masked anew must not keep stars for a name.
        """
        before = json.loads(unmasked_payload(payload))
        true = json.loads(self.reveal(payload, identity))
        document = json.loads(corrected)
        bare = _Restoring(before, true).value(_bare(document), _bare(before), _bare(true))
        whole = bare if _bare(document) is document else {**document, "input": bare}
        return json.dumps(whole, ensure_ascii=False).encode(errors="surrogatepass")

    def person_keys(self, received: Received) -> tuple[bytes, ...]:
        """Hashes of 医保编号, 证件号码 and 人员编号; b"" for what names nobody. The same all over the site."""
        stay = received.list.stay
        return self.people(stay.insurance_number, stay.certificate_number, stay.person_number)

    def people(self, *identifiers: str | None) -> tuple[bytes, ...]:
        """Hashes of identifiers, 12 bytes each; b"" for a placeholder such as ``-`` or ``000000``."""
        found = []
        for identifier in identifiers:
            text = (identifier or "").strip().upper()
            if len(text) < SHORTEST_IDENTIFIER or _PLACEHOLDER.fullmatch(text):
                found.append(b"")
            else:
                content = text.encode(errors="surrogatepass")
                found.append(blake2b(content, digest_size=PERSON_KEY_BYTES, key=self._person_key).digest())
        return tuple(found)

    def __getstate__(self) -> dict[str, Any]:
        return {"key": self.key}

    @cached_property
    def _cipher(self) -> AESSIV:
        return AESSIV(self._derived(b"identity", 64))

    @cached_property
    def _person_key(self) -> bytes:
        return self._derived(b"people", 32)

    def _derived(self, purpose: bytes, size: int) -> bytes:
        return blake2b(purpose, digest_size=size, key=self.key, person=b"qingdan").digest()

    def _claim(self, database: Database) -> str:
        """Write down that this key is the one, unless another process was faster; gives the one it is."""
        row = {"name": "vault_key", "value": self.fingerprint}
        insert = sqlite.insert if database.is_sqlite else postgresql.insert
        with database.begin() as connection:
            connection.execute(insert(Property).values(row).on_conflict_do_nothing())
        return known_key(database) or self.fingerprint


def join_people(keys: tuple[bytes, ...]) -> bytes:
    """Person keys as one column: 12 bytes each, zeros for b""."""
    return b"".join(key.ljust(PERSON_KEY_BYTES, b"\0") for key in keys)


def split_people(column: bytes) -> tuple[bytes, ...]:
    """The reverse of ``join_people``."""
    size = PERSON_KEY_BYTES
    parts = (column[place : place + size] for place in range(0, len(column), size))
    return tuple(b"" if part == bytes(size) else part for part in parts)


def unmasked_payload(payload: bytes) -> bytes:
    """The masked JSON of a stored payload. Raises StoreError when it is damaged."""
    try:
        content = zlib.decompressobj().decompress(payload, MAX_PAYLOAD)
    except zlib.error as error:
        raise StoreError("存储的清单已损坏；请从备份恢复数据库") from error
    return content


def mask_text(text: str, ahead: int, behind: int) -> str:
    """``text`` with stars between; a short one shows less: at least half of it is hidden."""
    ahead = min(ahead, len(text) // 2 if behind == 0 else len(text) // 4)
    behind = min(behind, len(text) // 4)
    hidden = len(text) - ahead - behind
    return text[:ahead] + "*" * hidden + (text[-behind:] if behind else "")


def _key_of(settings: Settings, *, may_make: bool) -> bytes:
    given = settings.identity_key.get_secret_value()
    if given:
        return bytes.fromhex(given)
    path = settings.home / KEY_FILE
    try:
        if not path.exists():
            if not may_make:
                raise StoreError(
                    f"{path}：没有密钥文件，而数据库里已有加密的患者身份；请从备份恢复这个文件，"
                    "或设置 QINGDAN_IDENTITY_KEY"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            _make_key(path)
        text = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}：身份密钥不能读写（{reason_of(error)}）") from error
    found = re.fullmatch(rb"\s*([0-9a-fA-F]{64})\s*", text)
    if not found:
        raise StoreError(f"{path}：不是身份密钥（应为 64 个十六进制字符）；请从备份恢复这个文件")
    return bytes.fromhex(found[1].decode())


def _make_key(path: Any) -> None:
    """Written beside and linked into place: of two processes one wins, and none reads half a key."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
            handle.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            return
    finally:
        part.unlink(missing_ok=True)


def known_key(database: Database) -> str | None:
    """The number of the key that the identities in this store are encrypted with; None before the first."""
    with database.read() as connection:
        found: str | None = connection.execute(
            select(Property.value).where(Property.name == "vault_key")  # type: ignore[call-overload]
        ).scalar()
    return found


def _edits(content: bytes) -> tuple[bytes, list[tuple[int, int, bytes]]] | None:
    """The masked JSON, and (place in it, length there, original bytes) of each change, in order.

    Looks only at the bytes: parsing a list takes as long as all rules. None when that would not be safe.
    """
    if b"\\u00" in content and _ESCAPED_ASCII.search(content):
        return None  # a name could be written as an escape
    changes: dict[int, tuple[bytes, bytes]] = {}
    repeated: dict[bytes, bytes] = {}
    for key in _KEY.finditer(content):
        name, after = key[1].decode(), key.end()
        found = _VALUE.match(content, after)
        if found is None:
            if _COLON.match(content, after):
                return None  # an object, an array, true: something nobody sends
        elif (text := found[2]) is not None:
            plain = _plain(text)
            if plain is None:
                return None
            mask = _quoted(mask_text(plain, *IDENTITY[name]))
            changes[found.start(2)] = (text, mask)
            if name in _REPEATED and len(text) >= _SHORTEST_REPEATED:
                repeated[text] = mask
        elif (number := found[3]) is not None:
            mask = _quoted(mask_text(number.decode(), *IDENTITY[name]))
            changes[found.start(3)] = (number, b'"' + mask + b'"')
            if len(number) >= SHORTEST_IDENTIFIER:
                repeated[number] = mask
        if len(changes) > MOST_IDENTITIES:
            return None
    for text in sorted(repeated, key=len, reverse=True):
        if (times := content.count(text)) > MOST_IDENTITIES:
            return None
        if times > 1:
            _mask_elsewhere(content, text, repeated[text], changes)
    pieces: list[bytes] = []
    edits = []
    place = written = 0
    for start in sorted(changes):
        original, mask = changes[start]
        written += start - place
        pieces += (content[place:start], mask)
        edits.append((written, len(mask), original))
        written += len(mask)
        place = start + len(original)
    pieces.append(content[place:])
    return b"".join(pieces), edits


def _mask_elsewhere(
    content: bytes, text: bytes, mask: bytes, changes: dict[int, tuple[bytes, bytes]]
) -> None:
    place = content.find(text)
    while place >= 0:
        end = place + len(text)
        if not any(start < end and place < start + len(old) for start, (old, _) in changes.items()):
            if _in_number(content, place, end):
                changes[place] = (text, b'"' + mask + b'"')
            else:
                changes[place] = (text, mask)
        place = content.find(text, end)


def _in_number(content: bytes, place: int, end: int) -> bool:
    """Whether these bytes are a whole number of the JSON, which only a text can replace."""
    return bool(re.fullmatch(rb"[\s:,\[]", content[place - 1 : place])) and bool(
        re.fullmatch(rb"[\s,}\]]", content[end : end + 1])
    )


def _plain(text: bytes) -> str | None:
    try:
        if b"\\" in text:
            return msgspec.json.decode(b'"' + text + b'"', type=str)
        return text.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _quoted(text: str) -> bytes:
    """``text`` as it stands between the quotes of JSON."""
    return msgspec.json.encode(text)[1:-1]


def _mask_parsed(content: bytes) -> bytes:
    """The same for a list of unusual writing: parsed, masked and written anew; the original is encrypted."""
    try:
        document = json.loads(content)
        texts: dict[str, str] = {}
        masked = _masked(document, texts)
        if len(texts) > MOST_IDENTITIES:
            return _HIDDEN_AS_A_WHOLE
        for text in sorted(texts, key=len, reverse=True):
            masked = _replaced(masked, text, texts[text])
        return json.dumps(masked).encode()
    except (ValueError, RecursionError) as error:
        raise StoreError("不是有效的 JSON，不能作为清单存储") from error


def _masked(value: Any, texts: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_masked(item, texts) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _hidden(name, item, texts) if name in IDENTITY else _masked(item, texts)
        for name, item in value.items()
    }


def _hidden(name: str, value: Any, texts: dict[str, str]) -> Any:
    if value is None or value == "":
        return value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _hidden(name, item, texts)
        return "*"
    text = str(value)
    mask = mask_text(text, *IDENTITY[name])
    if (
        name in _REPEATED
        and not isinstance(value, bool)
        and len(text.encode(errors="replace")) >= _SHORTEST_REPEATED
    ):
        texts[text] = mask
    return mask


def _replaced(value: Any, text: str, by: str) -> Any:
    if isinstance(value, str):
        return value.replace(text, by)
    if isinstance(value, list):
        return [_replaced(item, text, by) for item in value]
    if isinstance(value, dict):
        return {name: _replaced(item, text, by) for name, item in value.items()}
    return value


def _bare(document: Any) -> Any:
    """The list itself: the form hands in with the interface's envelope what may have come without."""
    inner = document.get("input") if isinstance(document, dict) else None
    return inner if isinstance(inner, dict) else document


class _Restoring:
    """Puts true values where masks stand. Two numbers may have the same mask: place and name tell them apart."""

    def __init__(self, masked: Any, true: Any) -> None:
        self.named: dict[tuple[str, str], list[Any]] = {}
        """True values by the name of their field and the text that shows in their place."""
        self.wholes: dict[str, list[Any]] = {}
        """The same by the text alone."""
        self.fields: dict[str, list[str]] = {}
        """True values of identity fields, which may have been named in a longer text."""
        self._learn(masked, true, "")
        # A mask is not part of a longer one.
        texts = sorted(self.fields, key=len, reverse=True)
        found = "|".join(map(re.escape, texts))
        self.within = re.compile(rf"(?<!\*)(?:{found})(?!\*)") if texts else None

    def _learn(self, masked: Any, true: Any, name: str) -> None:
        if isinstance(masked, dict) and isinstance(true, dict):
            for key, item in masked.items():
                self._learn(item, true.get(key), key)
        elif isinstance(masked, list) and isinstance(true, list):
            for item, original in zip(masked, true, strict=False):
                self._learn(item, original, "")
        elif isinstance(masked, str) and "*" in masked and masked != true:
            _add(self.named.setdefault((name, masked), []), true)
            _add(self.wholes.setdefault(masked, []), true)
            text = str(true)
            if name in _REPEATED and len(text.encode(errors="replace")) >= _SHORTEST_REPEATED:
                _add(self.fields.setdefault(masked, []), text)

    def value(self, corrected: Any, masked: Any, true: Any, name: str = "") -> Any:
        """``corrected`` with true values; ``masked`` and ``true`` stood in its place before."""
        if isinstance(corrected, dict):
            before, after = (one if isinstance(one, dict) else {} for one in (masked, true))
            return {
                key: self.value(item, before.get(key), after.get(key), key) for key, item in corrected.items()
            }
        if isinstance(corrected, list):
            masks, values = (one if isinstance(one, list) else [] for one in (masked, true))
            if len(masks) != len(corrected):
                masks, values = [], []  # some were added or taken out
            return [self.value(*row) for row in zip_longest(corrected, masks, values)]
        if not isinstance(corrected, str) or "*" not in corrected:
            return corrected
        if corrected in (masked, true):
            return true
        if originals := self.named.get((name, corrected)) or self.wholes.get(corrected):
            return _only(originals, corrected)
        if self.within is not None:
            corrected = self.within.sub(lambda found: _only(self.fields[found[0]], found[0]), corrected)
        if name in IDENTITY and "*" in corrected:
            raise StoreError(
                f"“{corrected[:40]}”是打码的样子，但与这份清单现在的打码不同；请重新打开清单再改，或写明原值"
            )
        return corrected


def _add(values: list[Any], value: Any) -> None:
    if value not in values:
        values.append(value)


def _only(values: list[Any], mask: str) -> Any:
    if len(values) > 1:
        raise StoreError(f"“{mask}”可能是几个不同的号码，不知道该还原成哪一个；请写明这一处的原值，或删去")
    return values[0]


def digest_of(wire_json: bytes) -> str:
    """SHA-256 of a list as received, hexadecimal."""
    return hashlib.sha256(wire_json).hexdigest()
