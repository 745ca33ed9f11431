"""What a start loads: the parts that take long wait for the first request that needs them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import typer

import api.services.suggestion
from api.cli import COMMANDS, application
from api.settings import Settings
from api.state import Service
from coding.suggestion.context import CONFIDENT
from models.pack import PROJECT_ROOT
from web.suggestion import BOXES, trust

STARTED = """
import gc, json, sys
from pathlib import Path
import httpx
from api.cli import application
from api.settings import Settings
from tests.api.serving import running
import web.app

HEAVY = ("scipy", "sklearn", "lightgbm", "jieba", "skops", "rapidfuzz", "polars", "psycopg", "alembic", "dask")
loaded = lambda: [name for name in HEAVY if name in sys.modules]
application("serve")
imported = loaded()
with running(web.app.create_app(Settings(home=Path(sys.argv[1]), database_url=""))) as address:
    statuses = [httpx.get(address + path, timeout=120).status_code for path in ("/healthz", "/")]
    answered = loaded()
    frozen, collecting = gc.get_freeze_count(), gc.isenabled()
    said = httpx.post(address + "/api/v1/suggest", json={"text": "高血压病3级"}, timeout=120).json()
    suggested = loaded()
print(json.dumps({
    "imported": imported, "statuses": statuses, "answered": answered, "suggested": suggested, "frozen": frozen,
    "collecting": collecting, "frozen after": gc.get_freeze_count(), "mentions": len(said["mentions"]),
}))
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process of its own has loaded: as imported, as it answers, after the first suggestion."""
    home = tmp_path_factory.mktemp("home")
    found = subprocess.run(
        [sys.executable, "-c", STARTED, str(home)],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return dict(json.loads(found.stdout))


def test_a_service_answers_before_what_only_suggestion_needs_is_loaded(started: dict[str, Any]) -> None:
    assert started["imported"] == []
    assert started["statuses"] == [200, 200]
    assert started["answered"] == []


def test_the_first_suggestion_loads_it_and_answers(started: dict[str, Any]) -> None:
    assert {"scipy", "lightgbm"} <= set(started["suggested"])
    assert started["mentions"] == 1


def test_the_collector_works_but_leaves_the_packs_out_while_the_service_runs(started: dict[str, Any]) -> None:
    assert started["collecting"]
    assert started["frozen"] > 100_000
    assert started["frozen after"] == 0


def test_many_first_suggestions_open_one_suggestion_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Slow(api.services.suggestion.SuggestionService):
        def __init__(self, *given: Any) -> None:
            time.sleep(0.1)  # all the others ask meanwhile
            super().__init__(*given)
            made.append(self)

    monkeypatch.setattr(api.services.suggestion, "SuggestionService", Slow)
    service = Service(Settings(home=tmp_path))
    service.open()
    together = threading.Barrier(8)
    found = []

    def ask() -> None:
        together.wait()
        found.append(service.suggestion())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert found == made * 8


def test_the_page_calls_doubtful_what_the_suggester_does() -> None:
    assert [box.fair for box in BOXES] == [CONFIDENT] * len(BOXES)
    assert [trust(probability)[0] for probability in (CONFIDENT, CONFIDENT - 0.01)] == ["fair", "low"]


def test_each_command_is_found_by_its_name_alone() -> None:
    whole = typer.main.get_command(application()).commands  # type: ignore[attr-defined]
    assert list(whole) == list(COMMANDS)
    for name in COMMANDS:
        assert list(typer.main.get_command(application(name)).commands) == [name]  # type: ignore[attr-defined]
