"""What the coordinator remembers of its queue: every submission, its policies, and what became of it."""

import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Integer, LargeBinary, Row, String, Table, delete, insert, select, update

from veilmatch_coordinator.queue import State, Submission
from veilmatch_coordinator.store.base import StorePart, metadata

_submissions = Table(
    "submissions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # the order of submission
    Column("job", String, nullable=False, unique=True),
    Column("operator", String, nullable=False),
    Column("policies", String, nullable=False),  # names, JSON
    Column("recipient", String, nullable=False),
    Column("key_bits", Integer, nullable=False),
    Column("submitted", String, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("exit_code", Integer, nullable=False),
    Column("waits_for", String, nullable=False),  # departments, JSON
    Column("waits_since", String),
    Column("next_try", String),
    Column("epoch", String, nullable=False),
    Column("started", String),
    Column("ended", String),
    Column("sources", LargeBinary, nullable=False),  # the policies' files, JSON
    Column("outcome", LargeBinary),  # of a complete job
)
_LISTS = frozenset({"policies", "waits_for"})
_TIMES = frozenset({"submitted", "waits_since", "next_try", "started", "ended"})
_told = tuple(_submissions.c[field.name] for field in fields(Submission))


class SubmissionState(StorePart):
    """The part of the store that the queue uses."""

    def add_submission(self, submission: Submission, sources: Sequence[bytes]) -> None:
        """Keep a new submission with its policies' files, which are UTF-8."""
        row = _row(submission) | {"sources": json.dumps([source.decode() for source in sources]).encode()}
        with self._engine.begin() as connection:
            connection.execute(insert(_submissions).values(row))

    def save_submission(self, submission: Submission, outcome: bytes | None = None) -> None:
        """Keep what became of a submission; ``outcome`` is what a complete job gave."""
        row = _row(submission) | ({} if outcome is None else {"outcome": outcome})
        with self._engine.begin() as connection:
            connection.execute(update(_submissions).where(_submissions.c.job == submission.job).values(row))

    def submission(self, job: str) -> Submission | None:
        """Return a submission, or None for a name that nobody was given, or that is forgotten."""
        with self._engine.begin() as connection:
            row = connection.execute(select(*_told).where(_submissions.c.job == job)).one_or_none()
        return None if row is None else _submission(row)

    def submissions(self, most: int) -> list[Submission]:
        """Return at most ``most``: those that have not ended first, then the newest."""
        order = (_submissions.c.ended.is_not(None), _submissions.c.number.desc())
        with self._engine.begin() as connection:
            rows = connection.execute(select(*_told).order_by(*order).limit(most)).all()
        return [_submission(row) for row in rows]

    def open_submissions(self) -> list[Submission]:
        """Return those that have not ended, in the order of their submission."""
        still = select(*_told).where(_submissions.c.ended.is_(None)).order_by(_submissions.c.number)
        with self._engine.begin() as connection:
            return [_submission(row) for row in connection.execute(still).all()]

    def sources(self, job: str) -> list[bytes]:
        """Return a submission's policies' files."""
        with self._engine.begin() as connection:
            kept: bytes = connection.execute(
                select(_submissions.c.sources).where(_submissions.c.job == job)
            ).scalar_one()
        return [source.encode() for source in json.loads(kept)]

    def outcome(self, job: str) -> bytes | None:
        """Return what a complete job gave; None where it is not complete."""
        with self._engine.begin() as connection:
            outcome: bytes | None = connection.scalar(
                select(_submissions.c.outcome).where(_submissions.c.job == job)
            )
        return outcome

    def forget_submissions(self, before: datetime) -> None:
        """Erase those that ended before a moment."""
        old = _submissions.c.ended < _moment(before)
        with self._engine.begin() as connection:
            connection.execute(delete(_submissions).where(old))


def _row(submission: Submission) -> dict[str, object]:
    return {field.name: _cell(field.name, getattr(submission, field.name)) for field in fields(submission)}


def _cell(name: str, value: Any) -> object:
    if name in _LISTS:
        return json.dumps(value)
    if name in _TIMES and value is not None:
        return _moment(value)
    return value


def _submission(row: Row[Any]) -> Submission:
    values = {name: _value(name, cell) for name, cell in row._mapping.items()}  # noqa: SLF001  public, and documented so
    return Submission(**values)


def _value(name: str, cell: Any) -> Any:
    if name in _LISTS:
        return tuple(json.loads(cell))
    if name in _TIMES and cell is not None:
        return datetime.fromisoformat(cell)
    return State(cell) if name == "state" else cell


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")  # always UTC: such texts sort by time
