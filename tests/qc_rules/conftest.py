"""The shipped rules over the shipped tables, loaded once for all tests of this folder."""

import pytest

from models.pack import PackStore
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet, national_pack


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference.load(PackStore())


@pytest.fixture(scope="session")
def rules(reference: Reference) -> RuleSet:
    return RuleSet.load([national_pack()], reference)
