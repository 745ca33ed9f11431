"""Opens the store, SQLite or PostgreSQL, brings its tables up to date, and says in Chinese what fails."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from api.settings import Settings
from models.pack import PackError
from models.system_errors import reason_of

FILE_NAME = "qingdan.sqlite"
MIGRATIONS = Path(__file__).resolve().parent / "migrations"
HEAD = "0004"
"""The newest revision of the tables, so that an up-to-date store opens without loading Alembic."""
BUSY_SECONDS = 30
"""How long a writer waits for another one; a part of a batch is written in less than a second."""
CONNECT_SECONDS = 10
_UPGRADE_LOCK = 0x51_44_00_01
"""PostgreSQL advisory lock held while the tables are made or changed."""
_BEGIN = "qingdan_begin"
"""Option of a connection: with which statement its SQLite transaction begins."""


class StoreError(PackError):
    """The store cannot be opened, read or written; the reason (Chinese) says what to do."""


@dataclass(frozen=True)
class Database:
    """An open store. ``name``: the file, or the server's address without password.

    Usable from many threads. A process that was forked must open its own.
    """

    engine: Engine
    name: str

    @classmethod
    def open(cls, settings: Settings) -> Database:
        """The store of this installation, made when there is none, its tables up to date.

        Raises StoreError when it cannot be reached, made or upgraded, or a newer program made it.
        """
        database = cls.connect(settings)
        try:
            database.upgrade()
        except BaseException:
            database.dispose()
            raise
        return database

    @classmethod
    def connect(cls, settings: Settings) -> Database:
        """The store as it is, its tables not looked at. Raises StoreError."""
        address = settings.database_url.get_secret_value()
        database = _postgresql(address) if address else _sqlite(settings.home / FILE_NAME)
        # A command that ends, or fails, leaves no open connection behind.
        weakref.finalize(database, database.engine.dispose)
        return database

    @staticmethod
    def exists(settings: Settings) -> bool:
        """Whether there is a store already; a server is taken to have one."""
        return bool(settings.database_url.get_secret_value()) or (settings.home / FILE_NAME).exists()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for a server."""
        return Path(self.name) if self.is_sqlite else None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A writing transaction: committed at the end, rolled back when anything is raised.

        With SQLite it holds the only right to write from its beginning, so that what it reads stays true.
        Raises StoreError.
        """
        with (
            self._said(),
            self.engine.connect().execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A reading transaction that sees one state of the store from beginning to end. Raises StoreError."""
        options: dict[str, Any] = (
            {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        )
        with self._said(), self.engine.connect().execution_options(**options) as connection:
            yield connection

    def revision(self) -> str:
        """The revision of the tables; "" when there are none. Raises StoreError."""
        with self.read() as connection:
            return _revision(connection)

    def upgrade(self) -> None:
        """Bring the tables up to date; another process that does the same is waited for. Raises StoreError."""
        if self.revision() == HEAD:
            return
        with self._alone(), self.begin() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _UPGRADE_LOCK})
            if _revision(connection) != HEAD:
                self._migrate(connection)

    def backup(self, path: Path) -> None:
        """A copy of the SQLite store as one file, also while others write. ``path`` is new or empty.

        Raises StoreError, for a server too: it has its own tools for that.
        """
        if not self.is_sqlite:
            raise StoreError("数据库在 PostgreSQL 上，请用它自己的工具备份，如 pg_dump --format=custom")
        with self._said(), self.engine.connect().execution_options(**{_BEGIN: ""}) as connection:
            connection.exec_driver_sql("VACUUM INTO ?", (str(path),))

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def _migrate(self, connection: Connection) -> None:
        from alembic import command  # noqa: PLC0415 -- takes a tenth of a second and is rarely needed
        from alembic.config import Config  # noqa: PLC0415
        from alembic.script import ScriptDirectory  # noqa: PLC0415

        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        found = _revision(connection)
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if found and found not in known:
            raise StoreError(
                f"{self.name}：数据库是更新版本的程序建立的（结构版本 {found}，本程序到 {HEAD}），"
                "请升级程序；为防损坏，没有打开"
            )
        command.upgrade(config, "head")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of the SQLite file: its journal mode cannot be set by two at once."""
        if self.file is None:
            yield
            return
        try:
            with self.file.with_name(f".{self.file.name}.lock").open("wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise StoreError(f"{self.name}：不能写入（{reason_of(error)}）") from error

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if (reason := _reason(error)) is None:
                raise
            # Without the cause: it repeats the statement and its values, and the server's address.
            raise StoreError(f"{self.name}：{reason}") from None


class LazyDatabase:
    """The store of an installation, opened when it is first needed, once for all threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._opened: Database | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Database:
        """The open store. Raises StoreError."""
        with self._lock:
            if self._opened is None:
                self._opened = Database.open(self.settings)
            return self._opened

    def exists(self) -> bool:
        """Whether there is a store already, see Database.exists."""
        return self._opened is not None or Database.exists(self.settings)

    def writable(self) -> bool:
        """Whether something can be kept: a server is taken to be, of a folder its rights are looked at."""
        if self.settings.database_url.get_secret_value():
            return True
        folder = self.settings.home
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return os.access(folder, os.W_OK)

    def dispose(self) -> None:
        """Close every connection; the next use opens it again."""
        with self._lock:
            if self._opened is not None:
                self._opened.dispose()
                self._opened = None


def _revision(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def _sqlite(path: Path) -> Database:
    """One file in WAL mode: readers do not wait for the writer.

    ``synchronous=FULL``: what the page or the command has said is stored outlives a power cut. It costs
    one flush a transaction, and a batch has one transaction a part.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)
    except OSError as error:
        raise StoreError(f"{path}：不能建立数据库（{reason_of(error)}）") from error
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        # Python's own handling of transactions would leave changes of tables outside of them.
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            f"journal_size_limit={64 << 20}",
            f"cache_size=-{32 << 10}",
            # In pages of 4 KiB. A part of a batch writes half of this; the default would copy the pages of
            # indices into the file after each part.
            "wal_autocheckpoint=8000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if statement := connection.get_execution_options().get(_BEGIN, "BEGIN"):
            connection.exec_driver_sql(statement)

    return Database(engine, str(path))


def _postgresql(address: str) -> Database:
    try:
        url = make_url(address).set(drivername="postgresql+psycopg")
        # The query may hold a password too and is not shown.
        shown = url.set(query={}).render_as_string(hide_password=True).replace("+psycopg", "")
        engine = create_engine(
            url,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"connect_timeout": CONNECT_SECONDS, "application_name": "qingdan"},
        )
    except (ArgumentError, ValueError) as error:
        raise StoreError(
            "数据库地址（QINGDAN_DATABASE_URL 或 DATABASE_URL）写法有误，"
            "应如 postgresql://用户:密码@主机:5432/qingdan；密码中的 @ : / 等字符要写成 %40 %3A %2F"
        ) from error.__cause__
    return Database(engine, shown)


_SQLITE_REASONS = (
    ("SQLITE_FULL", "磁盘已满，没有写入；请腾出空间后再试"),
    ("SQLITE_BUSY", f"数据库正被另一个程序占用，等了 {BUSY_SECONDS} 秒；请稍后再试，或结束占用它的程序"),
    ("SQLITE_LOCKED", "数据库正被另一个程序占用；请稍后再试"),
    ("SQLITE_READONLY", "数据库是只读的；请检查文件和文件夹的权限、磁盘是否只读"),
    ("SQLITE_CANTOPEN", "数据库打不开；请检查文件夹是否存在、有没有读写权限"),
    ("SQLITE_PERM", "没有权限打开数据库；请检查文件的权限"),
    ("SQLITE_NOTADB", "不是 SQLite 数据库，或文件已损坏；请恢复备份"),
    ("SQLITE_CORRUPT", "数据库文件已损坏；请恢复备份"),
    ("SQLITE_IOERR", "磁盘读写出错，没有写入；请检查磁盘空间、配额和磁盘本身"),
)
_POSTGRESQL_REASONS = (
    ("53100", "数据库服务器的磁盘已满，没有写入；请腾出空间后再试"),
    ("53300", "数据库服务器的连接数已满；请稍后再试，或调大 max_connections"),
    ("25006", "数据库是只读的（备库，或账号只有读权限）；请改用可写的数据库"),
    ("42501", "数据库账号没有所需的权限；请授予建表和读写的权限"),
    ("55P03", "数据正被另一个程序占用；请稍后再试"),
    ("40P01", "与另一个程序互相等待，没有写入；请再试一次"),
    ("40001", "与另一个程序同时修改，没有写入；请再试一次"),
    ("57P", "数据库服务器正在关闭或重启；请稍后再试"),
    ("57014", "数据库取消了这次操作（超时）；请稍后再试"),
    ("53", "数据库服务器资源不足，没有写入；请稍后再试"),
    ("08", "与数据库服务器的连接断开；请检查网络和服务器"),
    ("58", "数据库服务器读写磁盘出错；请检查服务器"),
    ("XX", "数据库服务器内部出错；请查看它的日志"),
)
_CONNECTING_REASONS = (
    ("password authentication failed", "用户名或密码不对"),
    ("no password supplied", "没有给出密码"),
    ("no pg_hba.conf entry", "服务器不允许从本机连接"),
    ("does not exist", "服务器上没有这个数据库或用户"),
    ("Connection refused", "服务器没有运行，或端口不对"),
    ("timeout", "服务器没有应答"),
    ("resolve", "找不到这个主机名"),
    ("Name or service", "找不到这个主机名"),
    ("No such file", "服务器没有运行，或套接字文件夹不对"),
)


def _reason(error: DBAPIError) -> str | None:
    """What failed, in Chinese; None for what is a mistake of the program (a violated constraint)."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", "")
        return next((reason for begins, reason in _SQLITE_REASONS if name.startswith(begins)), None)
    state = getattr(cause, "sqlstate", None) or ""
    if state:
        return next((reason for begins, reason in _POSTGRESQL_REASONS if state.startswith(begins)), None)
    if type(cause).__name__ not in ("OperationalError", "ConnectionTimeout"):
        return None
    why = next((chinese for english, chinese in _CONNECTING_REASONS if english in str(cause)), "")
    if error.connection_invalidated and not why:
        return "与数据库服务器的连接断开；请检查网络和服务器"
    return f"连接不上数据库{f'（{why}）' if why else ''}；请检查地址、账号和服务器是否运行"
