"""What the data officer is asked: requests, each with the newest draft that asked for it (protocol.md, 7)."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Engine, Integer, LargeBinary, String, Table, delete, func, select

from veilmatch_node.errors import RuleError
from veilmatch_node.store.base import metadata
from veilmatch_transport import insert_once, upsert

MOST_REQUESTS = 1000  # that a desk keeps: whoever asks is not who reads

_requests = Table(
    "desk_requests",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("request", LargeBinary, nullable=False),
    Column("policy", Integer, nullable=False),  # its number in the draft
    Column("draft", LargeBinary, nullable=False),  # its SHA-256
    Column("received", String, nullable=False),
    Column("rule", String, nullable=False),
)
_drafts = Table(
    "desk_drafts",
    metadata,
    # Once for all of a job's policies.
    Column("digest", LargeBinary, primary_key=True),
    Column("draft", LargeBinary, nullable=False),
    Column("statement", LargeBinary, nullable=False),  # of its epoch
)


@dataclass(frozen=True)
class StoredRequest:
    """A request as it came (JSON): the draft that asked, its epoch's statement, which of its policies it is.

    ``rule`` is why it could not be granted at once.
    """

    digest: bytes
    request: bytes
    policy: int
    draft: bytes
    statement: bytes
    received: datetime
    rule: str


class DeskRequests:
    """The part of the desk's store that requests use.  Every method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep_request(self, request: StoredRequest) -> bool:
        """Keep a request with the newest draft that asked for it, and when; whether it, or its rule, is a new one.

        Raises RuleError where `MOST_REQUESTS` are kept already.
        """
        row = {
            "digest": request.digest,
            "request": request.request,
            "policy": request.policy,
            "draft": hashlib.sha256(request.draft).digest(),
            "received": request.received.isoformat(timespec="microseconds"),
            "rule": request.rule,
        }
        with self._engine.begin() as connection:
            known = connection.scalar(select(_requests.c.rule).where(_requests.c.digest == request.digest))
            kept = connection.scalar(select(func.count()).select_from(_requests)) or 0
            if known is None and kept >= MOST_REQUESTS:
                raise RuleError(
                    "desk-full",
                    "approval",
                    f"{kept} requests were made already",
                    "ask the node's owner to make room",
                )
            upsert(connection, _requests, row)
            draft = {"digest": row["draft"], "draft": request.draft, "statement": request.statement}
            insert_once(connection, _drafts, draft)
            connection.execute(delete(_drafts).where(_drafts.c.digest.not_in(select(_requests.c.draft))))
        return known != request.rule

    def requests(self) -> list[StoredRequest]:
        """Return all requests, the newest first."""
        with self._engine.begin() as connection:
            joined = select(_requests, _drafts.c.draft.label("bytes"), _drafts.c.statement).where(
                _requests.c.draft == _drafts.c.digest
            )
            rows = connection.execute(joined.order_by(_requests.c.received.desc())).all()
        return [
            StoredRequest(
                row.digest,
                row.request,
                row.policy,
                row.bytes,
                row.statement,
                datetime.fromisoformat(row.received),
                row.rule,
            )
            for row in rows
        ]
