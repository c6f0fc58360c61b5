"""Release 0.1.0: the tables as it made them, without a mark of their version."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "chunks",
        sa.Column("manifest_sha256", sa.LargeBinary, nullable=False),
        sa.Column("outcome", sa.Integer, nullable=False),
        sa.Column("chunk", sa.Integer, nullable=False),
        sa.Column("ciphertexts", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("manifest_sha256", "outcome", "chunk"),
    )
    op.create_table(
        "counts",
        sa.Column("epoch", sa.LargeBinary, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("epoch", "content"),
    )
    op.create_table(
        "desk_debits",
        sa.Column("manifest_sha256", sa.LargeBinary, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("what", sa.String, nullable=False),
        sa.Column("receiver", sa.String, nullable=False),
        sa.Column("units", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("epoch", sa.LargeBinary, nullable=False),
        sa.Column("day", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("manifest_sha256", "kind", "what", "receiver"),
    )
    op.create_table(
        "desk_decisions",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("decided", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("policy", sa.String, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("revokes", sa.LargeBinary),
        sa.Column("statement", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "desk_drafts",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("draft", sa.LargeBinary, nullable=False),
        sa.Column("statement", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "desk_others",
        sa.Column("content", sa.String, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("statement", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("content", "digest"),
    )
    op.create_table(
        "desk_requests",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("policy", sa.Integer, nullable=False),
        sa.Column("draft", sa.LargeBinary, nullable=False),
        sa.Column("received", sa.String, nullable=False),
        sa.Column("rule", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "desk_uses",
        sa.Column("approval", sa.LargeBinary, nullable=False),
        sa.Column("manifest_sha256", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("approval", "manifest_sha256"),
    )
    op.create_table(
        "epochs",
        sa.Column("context", sa.LargeBinary, nullable=False),
        sa.Column("statement", sa.LargeBinary, nullable=False),
        sa.Column("padded", sa.Integer, nullable=False),
        sa.Column("people", sa.LargeBinary),
        sa.PrimaryKeyConstraint("context"),
    )
    op.create_table(
        "evaluations",
        sa.Column("requester", sa.String, nullable=False),
        sa.Column("epoch", sa.LargeBinary, nullable=False),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("requester", "epoch", "batch"),
    )
    op.create_table(
        "jobs",
        sa.Column("manifest_sha256", sa.LargeBinary, nullable=False),
        sa.Column("manifest", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("expires", sa.String, nullable=False),
        sa.Column("secrets", sa.LargeBinary),
        sa.Column("answers", sa.LargeBinary),
        sa.PrimaryKeyConstraint("manifest_sha256"),
        sa.UniqueConstraint("key"),
    )
    op.create_table(
        "linked",
        sa.Column("context", sa.LargeBinary, nullable=False),
        sa.Column("tags", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("context"),
    )
    op.create_table(
        "requests",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "sequences",
        sa.Column("direction", sa.String, nullable=False),
        sa.Column("peer", sa.String, nullable=False),
        sa.Column("last", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("direction", "peer"),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
