"""Settings: from the environment, documented, checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api.settings import ENV_PREFIX, EXPECTED, SECRET, Settings, SettingsError, load_settings
from models.pack import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "settings.md"


def test_every_setting_is_documented_with_its_default_and_no_other_is() -> None:
    rows = dict(re.findall(rf"^\| `{ENV_PREFIX}(\w+)` \| (.*?) \|", PAGE.read_text(), re.MULTILINE))
    fields = Settings.model_fields
    assert list(rows) == [name.upper() for name in fields]
    for name, field in fields.items():
        default = field.default.get_secret_value() if name in SECRET else field.default
        if name != "home" and default != "":
            assert rows[name.upper()].startswith(f"`{default}`"), name
        if default == "":
            assert rows[name.upper()].startswith("空"), name


def test_every_setting_has_its_error_text() -> None:
    assert set(EXPECTED) == set(Settings.model_fields)


def test_the_environment_sets_and_an_argument_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QINGDAN_PORT", "9000")
    monkeypatch.setenv("QINGDAN_HOME", str(tmp_path))
    assert load_settings().port == 9000
    assert load_settings(port=9001, region=None).port == 9001
    assert load_settings().home == tmp_path


@pytest.mark.parametrize("name", sorted(set(Settings.model_fields) - {"home", "host"} - SECRET))
def test_an_impossible_value_names_the_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{ENV_PREFIX}{name.upper()}", "？")
    with pytest.raises(SettingsError, match=f"{ENV_PREFIX}{name.upper()}.*？.*应为") as caught:
        load_settings()
    assert EXPECTED[name] in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("QINGDAN_DATABASE_URL", "mysql://user:geheim@host/db"),
        ("DATABASE_URL", "mysql://user:geheim@host/db"),
        ("QINGDAN_IDENTITY_KEY", "geheim"),
    ],
)
def test_a_wrong_secret_is_refused_without_being_repeated(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=r"QINGDAN_\w+ 的值无效，应为") as caught:
        load_settings()
    assert "geheim" not in str(caught.value)


def test_the_database_of_the_platform_is_used_unless_another_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QINGDAN_DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:geheim@platform/db")
    settings = load_settings()
    assert settings.database_url.get_secret_value() == "postgresql://user:geheim@platform/db"
    assert "geheim" not in repr(settings)
    monkeypatch.setenv("QINGDAN_DATABASE_URL", "postgres://own/db")
    assert load_settings().database_url.get_secret_value() == "postgres://own/db"


def test_the_limits_in_the_error_texts_are_those_that_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("port", "body_limit", "line_limit", "workbook_limit"):
        low, high = (int(number) for number in re.findall(r"\d+", EXPECTED[name])[:2])
        for value, good in ((low, True), (high, True), (low - 1, False), (high + 1, False)):
            monkeypatch.setenv(f"{ENV_PREFIX}{name.upper()}", str(value))
            if good:
                assert getattr(load_settings(), name) == value
            else:
                with pytest.raises(SettingsError):
                    load_settings()
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}")
