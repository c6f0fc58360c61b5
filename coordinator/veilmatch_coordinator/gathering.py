"""Waits for every contributor's copy of a chunk; memory stays bounded by a window of chunks.

Contributors run at different speeds.  Whoever is too far ahead waits in ``put``; gRPC's flow
control then holds its stream.
"""

import threading
from collections.abc import Iterator, Sequence

from veilmatch_coordinator.errors import JobError

WINDOW = 8  # chunks that a contributor may be ahead: 3 MB a contributor at 3072 bits


class Gathering:
    """Chunks of one outcome: put by one thread a contributor, taken in order by another."""

    def __init__(self, contributors: Sequence[str], chunks: int) -> None:
        self._contributors = tuple(contributors)
        self._chunks = chunks
        self._waiting: dict[int, dict[str, bytes]] = {}
        self._taken = 0
        self._failure: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, name: str, chunk: int, ciphertexts: bytes) -> None:
        """Bring one contributor's chunk; waits while it is more than a window ahead.

        Raises JobError for a chunk that came before or is none of the manifest's, and whatever
        ``fail`` was given.
        """
        with self._changed:
            if chunk >= self._chunks:
                raise self._unwanted(name)
            self._changed.wait_for(lambda: self._failure is not None or chunk < self._taken + WINDOW)
            if self._failure is not None:
                raise self._failure
            place = self._waiting.setdefault(chunk, {})
            if chunk < self._taken or name in place:
                raise self._unwanted(name)
            place[name] = ciphertexts
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Wake everybody that waits with this error; the first one stays."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def complete(self) -> Iterator[tuple[int, dict[str, bytes]]]:
        """Yield (chunk, ciphertexts by contributor in the manifest's order) as each becomes complete.

        Raises whatever ``fail`` was given.
        """
        for chunk in range(self._chunks):
            with self._changed:
                self._changed.wait_for(lambda: self._failure is not None or self._is_complete(chunk))  # noqa: B023  called here only
                if self._failure is not None:
                    raise self._failure
                parts = self._waiting.pop(chunk)
                self._taken = chunk + 1
                self._changed.notify_all()
            yield chunk, {name: parts[name] for name in self._contributors}

    @staticmethod
    def _unwanted(name: str) -> JobError:
        return JobError(f"job: {name} sent a chunk twice or one that was not asked for; check its release")

    def _is_complete(self, chunk: int) -> bool:
        return len(self._waiting.get(chunk, ())) == len(self._contributors)
