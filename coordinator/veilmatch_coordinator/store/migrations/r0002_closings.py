"""Parties that are still to be told that a job is over: closing is tried until all were."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "closings",
        sa.Column("manifest_sha256", sa.LargeBinary, nullable=False),
        sa.Column("node", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("manifest_sha256", "node"),
    )
