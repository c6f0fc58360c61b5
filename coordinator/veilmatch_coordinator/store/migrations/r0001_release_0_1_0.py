"""Release 0.1.0: the tables as it made them, without a mark of their version."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "combined",
        sa.Column("manifest_sha256", sa.LargeBinary, nullable=False),
        sa.Column("outcome", sa.Integer, nullable=False),
        sa.Column("chunk", sa.Integer, nullable=False),
        sa.Column("blank", sa.LargeBinary, nullable=False),
        sa.Column("product", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("manifest_sha256", "outcome", "chunk"),
    )
    op.create_table(
        "counts",
        sa.Column("epoch", sa.LargeBinary, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("result", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("epoch", "content"),
    )
    op.create_table(
        "epochs",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("statement", sa.LargeBinary, nullable=False),
        sa.Column("padded", sa.Integer, nullable=False),
        sa.Column("seconds", sa.String, nullable=False),
        sa.Column("linked", sa.String, nullable=False),
        sa.Column("claims", sa.LargeBinary),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("statement"),
    )
    op.create_table(
        "jobs",
        sa.Column("manifest_sha256", sa.LargeBinary, nullable=False),
        sa.Column("manifest", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("presented", sa.LargeBinary),
        sa.PrimaryKeyConstraint("manifest_sha256"),
        sa.UniqueConstraint("key"),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("value", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "slots",
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("node", sa.String, nullable=False),
        sa.Column("people", sa.Integer, nullable=False),
        sa.Column("slots", sa.LargeBinary),
        sa.PrimaryKeyConstraint("epoch", "node"),
    )
    op.create_table(
        "submissions",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("job", sa.String, nullable=False),
        sa.Column("operator", sa.String, nullable=False),
        sa.Column("policies", sa.String, nullable=False),
        sa.Column("recipient", sa.String, nullable=False),
        sa.Column("key_bits", sa.Integer, nullable=False),
        sa.Column("submitted", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("exit_code", sa.Integer, nullable=False),
        sa.Column("waits_for", sa.String, nullable=False),
        sa.Column("waits_since", sa.String),
        sa.Column("next_try", sa.String),
        sa.Column("epoch", sa.String, nullable=False),
        sa.Column("started", sa.String),
        sa.Column("ended", sa.String),
        sa.Column("sources", sa.LargeBinary, nullable=False),
        sa.Column("outcome", sa.LargeBinary),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("job"),
    )
