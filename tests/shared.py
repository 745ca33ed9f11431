"""Where the shared fact tables lie, for the tests that compare with them."""

from __future__ import annotations

import pytest

from models.pack import PROJECT_ROOT

SHARED = PROJECT_ROOT.parent / "shared"
needs_shared = pytest.mark.skipif(
    not (SHARED / "data").is_dir(), reason="the shared fact tables are not beside the project (../shared)"
)
