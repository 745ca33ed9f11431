"""What clears a review answers the evidence that there is."""

from __future__ import annotations

import msgspec

from api.services.month.ranking import UP, rank
from api.services.month.records import Value
from api.services.month.result import CrossFinding
from models.report import Finding
from tests.api.report.test_content import PLAIN

LOW = Finding(
    rule="FRD-011", title="费用倍率", severity="warn", path="", field="", value="", message="费用低于标准",
    advice="", basis="",
)  # fmt: skip


def test_a_low_cost_is_not_cleared_by_a_complication_that_raises_nothing() -> None:
    record = msgspec.structs.replace(
        PLAIN, file=0, value=Value(1.0, 100_000), without=Value(1.0, 100_000), multiple=0.3
    )
    cross = CrossFinding("1", "批次 1", 1, "", "", 0, LOW)
    (row,), _, _ = rank([record], ["批次 1"], [], [], [cross])
    assert row.direction == UP
    assert "没有合并症抬高病组" in row.effect_text
    assert "合并症" not in row.clears
    assert "费用低有原因" in row.clears
    raised = msgspec.structs.replace(
        record, raising=("E11.900",), without=Value(0.5, 50_000), without_drg="FU25"
    )
    (row,), _, _ = rank([raised], ["批次 1"], [], [], [cross])
    assert "病历中有 E11.900 的诊断依据" in row.clears
