"""Pages of the work list and totals of a run are found in indices, however many findings the run has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_finding_rule", "finding")
    only_open = sa.text("accepted = ''")
    for name, columns in (
        ("ix_finding_open", ["run_id", "number", "position", "rule", "field", "severity", "accepted"]),
        ("ix_finding_rule", ["run_id", "rule", "number", "field", "position", "severity", "accepted"]),
    ):
        op.create_index(
            name, "finding", columns, unique=False, sqlite_where=only_open, postgresql_where=only_open
        )
    op.create_index(
        "ix_result_shown",
        "result",
        ["run_id", "number", "department", "doctor", "verdict", "list_id", "reason", "cost", "expected"],
        unique=False,
    )
