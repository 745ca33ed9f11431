"""What the store holds, for whoever looks after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlmodel import SQLModel

from api.settings import Settings
from api.store import audit, tables
from api.store.database import Database
from api.store.vault import KEY_FILE, Vault, known_key

COUNTED: Mapping[str, type[SQLModel]] = {
    "清单版本": tables.ListVersion,
    "批次": tables.Run,
    "质控结果": tables.Result,
    "问题": tables.FindingRow,
    "不能读取的行": tables.Reject,
    "已接受的问题": tables.AcceptedFinding,
    "已采纳的编码": tables.CodingHistory,
    "封存的月报": tables.SealedReport,
    "审计记录": tables.AuditEntry,
}


@dataclass(frozen=True)
class StoreState:
    """``counts``: rows by Chinese label; ``size``: bytes on the disk, None for a server; ``key``: the number of
    the key that identities are encrypted with, None before the first list."""

    counts: Mapping[str, int]
    size: int | None
    key: str | None
    audit: audit.Verified

    def key_state(self, settings: Settings) -> str:
        """What is to be said of the key (Chinese). Raises StoreError when the one that is there is another."""
        if self.key is None:
            return "还没有用过"
        Vault.check(settings, self.key)
        source = "QINGDAN_IDENTITY_KEY" if settings.identity_key.get_secret_value() else KEY_FILE
        return f"编号 {self.key}（{source}），与数据库相符"


def state_of(database: Database) -> StoreState:
    """Count and check everything. Raises StoreError."""
    with database.read() as connection:
        counts = {
            label: connection.execute(select(func.count()).select_from(model)).scalar_one()
            for label, model in COUNTED.items()
        }
        verified = audit.verify_chain(connection)
    size = None
    if database.file is not None:
        beside = (database.file, database.file.with_name(database.file.name + "-wal"))
        size = sum(one.stat().st_size for one in beside if one.exists())
    return StoreState(counts, size, known_key(database), verified)
