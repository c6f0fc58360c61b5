"""OPRF outputs in pieces, so that an epoch writes those of its new identities alone (protocol.md, 3 step 2)."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table; the next linkage moves what the settings hold, which is locked, into it."""
    op.create_table(
        "outputs",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("outputs", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
