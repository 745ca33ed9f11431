"""A stored month of few lists: runs, and the report made of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.batch.conftest import (  # noqa: F401 -- fixtures are found by their names
    MONTH,
    Body,
    Site,
    bodies,
    command,
    compiled,
    lists_file,
    site,
)

LISTS = 40
FORMULA = '=HYPERLINK("http://example.invalid","x")'
NAME = "欧阳虚构"
Run = Callable[..., int]


def month_lists(count: int = LISTS) -> list[Body]:
    """Lists of which some have errors, one is hostile, and all have the same name."""
    found = bodies(count)
    for number, body in enumerate(found):
        stay = body["setlinfo"]
        stay["psn_name"] = NAME
        if number % 4 == 0:
            for name in ("medfee_sumamt", "gend", "dscg_way"):
                stay.pop(name, None)
    found[1]["setlinfo"]["chfpdr_code"] = FORMULA
    found[1]["setlinfo"]["adm_way"] = "<script>alert(1)</script>"
    found[2]["diseinfo"] = []
    return found


@pytest.fixture
def run_of(site: Site, tmp_path: Path, lists_file: Callable[..., Path]) -> Run:  # noqa: F811
    """Stores a run over lists and gives its number."""

    def make(lists: list[Body] | None = None, month: str = MONTH) -> int:
        path = lists_file(month_lists() if lists is None else lists, f"{month}.ndjson")
        run = site.run(path, month=month)
        assert run.state == "done"
        return run.id

    return make
