"""Every reference case groups as the independent implementation grouped it."""

from __future__ import annotations

import pytest

from tests.grouper.schemes import SCHEMES, reference_cases, scheme
from tests.shared import needs_shared


@needs_shared
@pytest.mark.parametrize(("name", "number"), list(zip(SCHEMES, (5000, 5000, 1500), strict=True)))
def test_reference_cases_agree(name: str, number: int) -> None:
    grouper = scheme(name)
    cases = reference_cases(name)
    differing = {
        case_id: (expected, result.code)
        for case_id, case, expected in cases
        if (result := grouper.group(case)).code != expected
    }
    assert differing == {}
    assert len(cases) == number
