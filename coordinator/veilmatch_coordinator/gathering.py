"""Waits for every contributor's copy of a chunk; memory stays bounded by a window of chunks.

Contributors run at different speeds.  Whoever is too far ahead waits in ``put``; gRPC's flow
control then holds its stream.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence

from veilmatch_coordinator.errors import JobError

Place = tuple[int, int]  # outcome and chunk

WINDOW = 8  # chunks that a contributor may be ahead: 3 MB a contributor at 3072 bits


class Gathering:
    """Chunks of a job's outcomes: put by one thread a contributor, taken in order by another."""

    def __init__(self, places: Sequence[Place], contributors: Mapping[int, Sequence[str]]) -> None:
        """Wait for ``places``, in their order; ``contributors`` by outcome, in the manifest's order."""
        self._places = tuple(places)
        self._number = {place: number for number, place in enumerate(self._places)}
        self._contributors = {outcome: tuple(names) for outcome, names in contributors.items()}
        self._waiting: dict[Place, dict[str, bytes]] = {}
        self._taken = 0
        self._failure: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, name: str, place: Place, ciphertexts: bytes) -> None:
        """Bring one contributor's chunk; waits while it is more than a window ahead.

        Raises JobError for a chunk that came before or is none of the manifest's, and whatever
        ``fail`` was given.
        """
        with self._changed:
            number = self._number.get(place)
            if number is None or name not in self._contributors[place[0]]:
                raise self._unwanted(name)
            self._changed.wait_for(lambda: self._failure is not None or number < self._taken + WINDOW)
            if self._failure is not None:
                raise self._failure
            parts = self._waiting.setdefault(place, {})
            if number < self._taken or name in parts:
                raise self._unwanted(name)
            parts[name] = ciphertexts
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Wake everybody that waits with this error; the first one stays."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def complete(self) -> Iterator[tuple[Place, dict[str, bytes]]]:
        """Yield (place, ciphertexts by contributor in the manifest's order) as each becomes complete.

        Raises whatever ``fail`` was given.
        """
        for number, place in enumerate(self._places):
            with self._changed:
                self._changed.wait_for(lambda: self._failure is not None or self._is_complete(place))  # noqa: B023  called here only
                if self._failure is not None:
                    raise self._failure
                parts = self._waiting.pop(place)
                self._taken = number + 1
                self._changed.notify_all()
            yield place, {name: parts[name] for name in self._contributors[place[0]]}

    @staticmethod
    def _unwanted(name: str) -> JobError:
        return JobError(f"job: {name} sent a chunk twice or one that was not asked for; check its release")

    def _is_complete(self, place: Place) -> bool:
        return len(self._waiting.get(place, ())) == len(self._contributors[place[0]])
