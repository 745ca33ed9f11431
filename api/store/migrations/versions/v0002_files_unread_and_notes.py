"""Of a run: how many whole files could not be read, and what is to be known of how its input was read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("rejected_files", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("run", sa.Column("notes", sa.Text(), nullable=False, server_default=sa.text("''")))
    # A file that could not be read stands among the rejects without a line.
    op.execute(
        "UPDATE run SET rejected_files = "
        "(SELECT count(*) FROM reject WHERE reject.run_id = run.id AND reject.line = 0)"
    )
