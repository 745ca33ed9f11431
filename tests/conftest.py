"""What all tests share: property tests have no time limit, and in CI they look at the same examples each run."""

from __future__ import annotations

import os

from hypothesis import settings

# A busy machine is no fault of the code; what takes how long is measured in benchmarks/.
settings.register_profile("qingdan", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("qingdan")

pytest_plugins = ["tests.databases", "tests.loaded"]
