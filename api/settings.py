"""Every setting of the program: read once from the environment, documented in docs/settings.md."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.pack import PROJECT_ROOT, PackStore

ENV_PREFIX = "QINGDAN_"
MIB = 1024 * 1024


DATABASE_URL = "DATABASE_URL"
"""The name without prefix under which many platforms give the address of the database."""


class SettingsError(ValueError):
    """A setting has an impossible value; the message (Chinese) names the variable and the remedy."""


def _is_database_url(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"(postgres(ql)?(\+psycopg)?://\S+)?", value.get_secret_value()):
        raise ValueError
    return value


def _is_key(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"([0-9a-fA-F]{64})?", value.get_secret_value()):
        raise ValueError
    return value


class Settings(BaseSettings):
    """What an installation can choose. Each field is the environment variable QINGDAN_<NAME>."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="ignore")

    home: Annotated[Path, AfterValidator(Path.absolute)] = PROJECT_ROOT / "var"
    region: Annotated[str, Field(pattern=r"^[0-9]{0,6}$")] = ""
    scheme: Annotated[str, Field(pattern=r"^[a-z0-9._-]{0,64}$")] = ""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    root_path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
    body_limit: Annotated[int, Field(ge=1024, le=64 * MIB)] = 2 * MIB
    line_limit: Annotated[int, Field(ge=1024, le=64 * MIB)] = 4 * MIB
    workbook_limit: Annotated[int, Field(ge=MIB, le=2048 * MIB)] = 256 * MIB
    upload_limit: Annotated[int, Field(ge=MIB, le=64 * 1024 * MIB)] = 4096 * MIB
    job_workers: Annotated[int, Field(ge=0, le=256)] = 0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    database_url: Annotated[SecretStr, AfterValidator(_is_database_url)] = SecretStr("")
    identity_key: Annotated[SecretStr, AfterValidator(_is_key)] = SecretStr("")

    @model_validator(mode="before")
    @classmethod
    def _database_of_the_platform(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("database_url") is None and os.environ.get(DATABASE_URL):
            return {**values, "database_url": os.environ[DATABASE_URL]}
        return values

    def store(self) -> PackStore:
        """The packs of this installation: shipped and imported. Raises PackError."""
        return PackStore(site=self.home / "packs")


def load_settings(**given: Any) -> Settings:
    """The settings of this process; what is ``given`` and not None wins over the environment.

    Raises SettingsError.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            name = str(fault["loc"][0])
            source = f"参数 --{name.replace('_', '-')}" if given.get(name) is not None else ""
            # What holds a password or a key is not repeated.
            shown = "" if name in SECRET else f"“{fault['input']}”"
            faults.append(
                f"{source or f'环境变量 {ENV_PREFIX}{name.upper()}'} 的值{shown}无效，应为：{EXPECTED[name]}"
            )
        raise SettingsError("；".join(faults)) from error


EXPECTED = {
    "home": "文件夹路径",
    "region": "行政区划代码的前几位数字（最多 6 位），如 45",
    "scheme": "分组方案的数据包编号，如 chs-drg-2.0",
    "host": "监听的地址，如 127.0.0.1",
    "port": "1 到 65535 之间的端口号",
    "root_path": "以 / 开头、不以 / 结尾的路径前缀，如 /qingdan",
    "body_limit": "1024 到 67108864 之间的字节数",
    "line_limit": "1024 到 67108864 之间的字节数",
    "workbook_limit": "1048576 到 2147483648 之间的字节数",
    "upload_limit": "1048576 到 68719476736 之间的字节数",
    "job_workers": "0 到 256 之间的进程数，0 为处理器数减一",
    "log_level": "debug、info、warning、error 之一",
    "database_url": "PostgreSQL 的地址，如 postgresql://用户:密码@主机:5432/qingdan（也可写在环境变量 DATABASE_URL）",
    "identity_key": "64 个十六进制字符，如 openssl rand -hex 32 的输出",
}
"""What each setting may hold, for the message when it holds something else."""

SECRET = frozenset({"database_url", "identity_key"})
"""Settings whose value never appears in a message."""
