"""The shipped suggesters, opened once for all tests of suggestion."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from coding.names import System
from coding.suggestion.assembly import ModelStore, open_suggester
from coding.suggestion.suggest import Suggester
from models.pack import PROJECT_ROOT, PackStore

SHARED = PROJECT_ROOT.parent / "shared" / "data"
NOWHERE = Path("/nonexistent/qingdan-models")


@lru_cache(maxsize=2)
def shipped(system: System) -> Suggester:
    """The suggester of the shipped model; tests must not teach it anything."""
    return open_suggester(PackStore(), system, ModelStore(NOWHERE))
