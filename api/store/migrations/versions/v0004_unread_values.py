"""Of a version of a list: how many of its values cannot be read, whatever rules a hospital has switched off."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # What is there already was not counted.
    op.add_column("list_version", sa.Column("unread_values", sa.Integer(), nullable=True))
