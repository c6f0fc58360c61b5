"""Openings that can be taken up again, and results that are written after a crash (protocol.md, 4.7)."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table and the column; what was being opened is never opened again."""
    op.add_column("jobs", sa.Column("results", sa.LargeBinary))
    op.create_table(
        "products",
        sa.Column("manifest_sha256", sa.LargeBinary, nullable=False),
        sa.Column("outcome", sa.Integer, nullable=False),
        sa.Column("chunk", sa.Integer, nullable=False),
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("manifest_sha256", "outcome", "chunk"),
    )
    # Release 0.1.0 opened once, ever, its circuits included, and kept no hash of what it had opened.
    op.execute("UPDATE jobs SET state = 'failed' WHERE state = 'opening'")
