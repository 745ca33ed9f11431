"""What all tests share: property tests have no time limit, and in CI they look at the same examples each run."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import settings

# A busy machine is no fault of the code; what takes how long is measured in benchmarks/.
settings.register_profile("qingdan", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("qingdan")

pytest_plugins = ["tests.databases", "tests.loaded"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of several tests with one id xdist runs one and says nothing of the others."""
    if twice := [name for name, times in Counter(item.nodeid for item in items).items() if times > 1]:
        raise pytest.UsageError(f"several tests have the same id: {', '.join(twice)}")
