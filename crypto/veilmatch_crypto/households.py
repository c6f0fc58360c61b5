"""Households: the order in which a household's total is a sum of prefixes (protocol.md, 5.2).

Households stand by size, the largest first.  The j-th members of all households that have one form
*layer* j: in the order of the households, hence a prefix of them.  The vector of everybody is layer
0, layer 1 and so on, one after the other, so that sums over members are sums of slices.
"""

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto.prg import WORD_MASK, permutation

_Scalar = TypeVar("_Scalar", bound=np.generic)

_FIRST_SINGLE = 1 << 32  # labels of registered households are below


class Layers:
    """How many households have more than j members, for j from 0: all that recipient and dealer learn."""

    def __init__(self, counts: tuple[int, ...]) -> None:
        """Check ``counts``: at least one, none above the one before it, the last above 0; else ValueError."""
        if not counts or counts[-1] < 1 or any(one < other for one, other in pairwise(counts)):
            raise ValueError("layers of households do not grow, and none is empty")
        self.counts = counts
        self.households = counts[0]
        self.people = sum(counts)
        ends = tuple(accumulate(counts))
        self._slices = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]

    def total(self, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Sum words below 2**40, shape (people,), over members, modulo 2**40: shape (households,)."""
        return self._join(np.add, words) & WORD_MASK

    def parity(self, bits: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """XOR bits, shape (people,), over members: shape (households,)."""
        return self._join(np.bitwise_xor, bits)

    def spread(self, values: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Copy each household's value, shape (households,), to its members: shape (people,)."""
        self._require(values, self.households)
        return np.concatenate([values[:count] for count in self.counts])

    def _join(self, add: np.ufunc, vector: NDArray[_Scalar]) -> NDArray[_Scalar]:
        self._require(vector, self.people)
        joined = vector[self._slices[0]].copy()
        for layer, count in zip(self._slices[1:], self.counts[1:], strict=True):
            add(joined[:count], vector[layer], out=joined[:count])
        return joined

    @staticmethod
    def _require(vector: NDArray[_Scalar], size: int) -> None:
        if vector.shape != (size,):
            raise ValueError(f"a vector has shape ({size},), not {vector.shape}")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class HouseholdOrder:
    """The coordinator's order: ``order``, shape (people,), the slot at each place, and its ``layers``.

    ``order`` translates a vector by slot into one by household, ``back`` the other way.
    """

    order: NDArray[np.intp]
    layers: Layers

    @property
    def back(self) -> NDArray[np.intp]:
        """The place of each slot, shape (people,)."""
        place = np.empty_like(self.order)
        place[self.order] = np.arange(len(place))
        return place

    @classmethod
    def draw(cls, labels: NDArray[np.uint32], key: bytes) -> Self:
        """Order the slots by household; ``labels``, shape (people,), by slot, 0 for a household of one's own.

        ``key``, 32 bytes that serve this and nothing else, decides the order of households of one
        size and of the members of each.  ValueError where there is no slot.
        """
        people = len(labels)
        if not people:
            raise ValueError("there is no household order of no slots")
        shuffled = permutation(key, people)
        household = labels[shuffled].astype(np.uint64)
        single = household == 0
        household[single] = np.arange(_FIRST_SINGLE, _FIRST_SINGLE + int(single.sum()), dtype=np.uint64)
        # Stable: the members of a household, and first members of different ones, stay as shuffled.
        gathered = np.argsort(household, kind="stable")
        grouped = household[gathered]
        firsts = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1])))
        sizes = np.diff(firsts, append=people)

        ranking = np.lexsort((gathered[firsts], -sizes))
        rank = np.empty_like(ranking)
        rank[ranking] = np.arange(len(ranking))
        member = np.arange(people) - np.repeat(firsts, sizes)  # the j of its layer
        counts = np.bincount(member)
        places = (np.cumsum(counts) - counts)[member] + np.repeat(rank, sizes)
        order = np.empty(people, dtype=np.intp)
        order[places] = shuffled[gathered]
        return cls(order, Layers(tuple(counts.tolist())))
