"""Share Translation: a shared vector is brought into an order that only the coordinator knows.

protocol.md, 5.2; Chase, Ghosh, Poburinnaya, "Secret-Shared Shuffle", ASIACRYPT 2020, with a dealer
in the place of its oblivious transfers.  For each direction of a job the dealer and the coordinator draw a
permutation P; for each vector the dealer and the recipient draw masks u and v.  The dealer sends the
coordinator P(u) - v, the recipient sends it the share plus u, and

    coordinator: P(share plus u) - (P(u) - v) + P(own share)        recipient: -v

add up to the vector in the order of P, which the recipient does not know.  The step from there to the
coordinator's order, S, is uniform to whoever does not know P: it goes to the recipient in the clear, once.

All three run the program in lockstep, as in ``circuit``: ``arrange`` of their class, once a
direction, then ``words`` or ``bits`` for each vector.  A person and vector costs 5 bytes from the dealer and
5 from the recipient (a bit each for ``bits``), a person and direction 4 from the coordinator.
"""

from abc import ABC, abstractmethod
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto.circuit import Steps
from veilmatch_crypto.errors import CircuitError
from veilmatch_crypto.prg import KeyedStream, permutation
from veilmatch_crypto.triples import CoordinatorRandomness, DealerRandomness, RecipientRandomness
from veilmatch_crypto.vectors import BITS, WORDS, Kind, chunks, require_bytes

_S = TypeVar("_S", np.uint64, np.bool_)

_INDEX_BYTES = 4  # S on the wire: uint32, little-endian; epochs have fewer than 2**32 slots


class Translation(ABC):
    """One direction, arranged: translates any number of vectors into the coordinator's order."""

    def __init__(self, people: int) -> None:
        """Translate vectors of ``people`` elements; objects come from ``arrange``."""
        self._people = people

    def words(self, share: NDArray[np.uint64]) -> Steps[NDArray[np.uint64]]:
        """Translate a vector of words below 2**40, shared modulo 2**40: shares, shape (people,), in and out.

        What goes in and comes out at the dealer means nothing.  Raises ValueError where ``share``
        has another shape, CircuitError where the peer's bodies or the corrections do not have their
        lengths.
        """
        return self._translate(WORDS, self._checked(share))

    def bits(self, share: NDArray[np.bool_]) -> Steps[NDArray[np.bool_]]:
        """Translate a vector of bits, shared under XOR; otherwise as ``words``."""
        return self._translate(BITS, self._checked(share))

    @abstractmethod
    def _translate(self, kind: Kind[_S], share: NDArray[_S]) -> Steps[NDArray[_S]]: ...

    def _checked(self, share: NDArray[_S]) -> NDArray[_S]:
        if share.shape != (self._people,):
            raise ValueError(f"a vector has shape ({self._people},), not {share.shape}")
        return share


class RecipientTranslation(Translation):
    """The recipient's part: masks its shares; learns S, which is uniform."""

    def __init__(self, randomness: RecipientRandomness, places: NDArray[np.intp]) -> None:
        """Use the masks of ``randomness`` and S, ``places``."""
        super().__init__(len(places))
        self._stream = randomness.stream
        self._places = places

    @classmethod
    def arrange(cls, randomness: RecipientRandomness, people: int) -> Steps[Self]:
        """Receive S for vectors of ``people`` elements.

        Raises CircuitError where what the coordinator sends is not a permutation of range(people).
        """
        places = np.empty(people, dtype=np.intp)
        for part in chunks(people):
            body = yield b""
            require_bytes(body, _INDEX_BYTES * (part.stop - part.start))
            places[part] = np.frombuffer(body, dtype="<u4")
        if not _permutes(places):
            raise CircuitError("the order that the coordinator sent is not a permutation")
        return cls(randomness, places)

    def _translate(self, kind: Kind[_S], share: NDArray[_S]) -> Steps[NDArray[_S]]:
        u = kind.draw(self._stream, self._people)
        v = kind.draw(self._stream, self._people)
        masked = kind.add(share, u)
        for part in chunks(self._people):
            require_bytes((yield kind.pack(masked[part])), 0)
        return kind.subtract(np.zeros_like(v), v).take(self._places)


class CoordinatorTranslation(Translation):
    """The coordinator's part: knows the order; sees the recipient's shares only under u."""

    def __init__(
        self, randomness: CoordinatorRandomness, permuted: NDArray[np.intp], places: NDArray[np.intp]
    ) -> None:
        """Use the corrections of ``randomness``, P, ``permuted``, and S, ``places``."""
        super().__init__(len(places))
        self._randomness = randomness
        self._permuted = permuted
        self._places = places

    @classmethod
    def arrange(cls, randomness: CoordinatorRandomness, order: NDArray[np.integer]) -> Steps[Self]:
        """Draw P and send S: element ``order[i]`` of each vector will come to place i.

        Raises ValueError where ``order``, shape (people,), is not a permutation of range(people),
        CircuitError where the peer sends something in these rounds.
        """
        if not _permutes(order):
            raise ValueError("an order is a permutation of range(people)")
        people = len(order)
        permuted = _draw_permutation(randomness.stream, people)
        place = np.empty(people, dtype=np.intp)
        place[permuted] = np.arange(people)
        places = place.take(order)
        for part in chunks(people):
            require_bytes((yield places[part].astype("<u4").tobytes()), 0)
        return cls(randomness, permuted, places)

    def _translate(self, kind: Kind[_S], share: NDArray[_S]) -> Steps[NDArray[_S]]:
        total = np.empty_like(share)
        correction = np.empty_like(share)
        for part in chunks(self._people):
            count = part.stop - part.start
            masked = kind.unpack((yield b""), count)
            total[part] = kind.add(masked, share[part])
            dealt = self._randomness.corrections(kind.packed_bytes(count))
            correction[part] = kind.unpack(dealt, count)
        return kind.subtract(total.take(self._permuted), correction).take(self._places)


class DealerTranslation(Translation):
    """The dealer's part: yields P(u) - v, in as many rounds as the parties have; knows no share."""

    def __init__(self, randomness: DealerRandomness, permuted: NDArray[np.intp]) -> None:
        """Deal from ``randomness`` under P, ``permuted``."""
        super().__init__(len(permuted))
        self._stream = randomness.recipient_stream
        self._permuted = permuted

    @classmethod
    def arrange(cls, randomness: DealerRandomness, people: int) -> Steps[Self]:
        """Draw P for vectors of ``people`` elements; these rounds take no corrections."""
        permuted = _draw_permutation(randomness.coordinator_stream, people)
        for _ in chunks(people):
            yield b""
        return cls(randomness, permuted)

    def _translate(self, kind: Kind[_S], share: NDArray[_S]) -> Steps[NDArray[_S]]:
        u = kind.draw(self._stream, self._people)
        v = kind.draw(self._stream, self._people)
        correction = kind.subtract(u.take(self._permuted), v)
        for part in chunks(self._people):
            yield kind.pack(correction[part])
        return share


def _draw_permutation(stream: KeyedStream, count: int) -> NDArray[np.intp]:
    return permutation(stream.words64(4).tobytes(), count)


def _permutes(order: NDArray[np.integer]) -> bool:
    """Whether ``order``, shape (n,), holds each of range(n) once."""
    count = len(order)
    if count and not 0 <= int(order.min()) <= int(order.max()) < count:
        return False
    seen = np.zeros(count, dtype=np.bool_)
    seen[order] = True
    return bool(seen.all())
