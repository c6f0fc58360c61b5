"""Masks, checks and noise: what stands in the slots beside the answers (protocol.md, 4.3 to 4.5).

A contributor adds one mask for each other contributor of the outcome and one for the
coordinator; the pair masks cancel in the sum over *all* contributors of the manifest, the
coordinator's are taken back by one ciphertext of its own, in the recipient's slots only.
Only the node adds a mask to its answers: one that the coordinator added to numbers without its
mask would show through the carry.

All sums are modulo 2**40.  Arrays of words are uint64 of shape (m, slots) as in ``packing``:
row i is ciphertext i of the chunk, the last column the check slot, the one before it padding.
The X25519 exchange is the caller's: ``shared`` is its 32-byte result, fresh for each job,
``manifest`` is H(manifest).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto.derive import derive_key
from veilmatch_crypto.errors import CheckError
from veilmatch_crypto.packing import Layout
from veilmatch_crypto.prg import WORD_MASK, words40


def mask_key(shared: bytes, manifest: bytes, one: str, other: str) -> bytes:
    """Derive the key of the masks between two members; the order of the names does not matter."""
    return derive_key(shared, context=manifest, label="mask", names=_lower_first(one, other))


def check_key(shared: bytes, manifest: bytes, contributor: str, recipient: str) -> bytes:
    """Derive the key of a contributor's check words, which it shares with the recipient alone."""
    return derive_key(shared, context=manifest, label="check", names=_lower_first(contributor, recipient))


def noise_key(secret: bytes, manifest: bytes) -> bytes:
    """Derive the key of a node's noise from a secret of the node that it shares with nobody."""
    return derive_key(secret, context=manifest, label="noise")


def blank_key(secret: bytes, manifest: bytes) -> bytes:
    """Derive the key of blanked slots from a secret of the coordinator that it shares with nobody."""
    return derive_key(secret, context=manifest, label="blank")


def answer_words(
    holds: NDArray[np.bool_], noise: bytes, layout: Layout, outcome: int, chunk: int
) -> NDArray[np.uint64]:
    """Turn one chunk's answers, shape (people,), into words: 0 where the condition holds, else noise.

    protocol.md, 4.3.  ``noise`` is the node's ``noise_key``: the noise of a slot is a function of
    it, the outcome and the slot, so asking twice gives the same words.  The padding slot always
    has noise: a coordinator that knew its sum could zero it, and a borrow from the last person's
    slot would run through it into the check slot (protocol.md, 4.2).
    """
    fails = layout.spread(~holds)
    fails[:, layout.padding_index] = True
    words = words40(noise, outcome, chunk, fails.size).reshape(fails.shape)
    words *= fails
    return words


def amount_words(
    amounts: NDArray[np.uint64], noise: bytes, layout: Layout, outcome: int, chunk: int
) -> NDArray[np.uint64]:
    """Put one chunk's amounts, shape (people,), values below 2**40, into words (protocol.md, 5.1).

    The padding slot has noise, as in ``answer_words``.
    """
    words = layout.spread(amounts)
    words[:, layout.padding_index] = words40(noise, outcome, chunk, words.size).reshape(words.shape)[
        :, layout.padding_index
    ]
    return words


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ContributorMasks:
    """The keys of one contributor for the outcomes that have one list of contributors.

    ``adds`` and ``subtracts`` are the mask keys by what their stream is multiplied with, +1 or
    -1; ``check`` is the key of its check words.
    """

    adds: tuple[bytes, ...]
    subtracts: tuple[bytes, ...]
    check: bytes

    @classmethod
    def derive(
        cls,
        name: str,
        contributors: Sequence[str],
        shared: Mapping[str, bytes],
        *,
        coordinator: str,
        recipient: str,
        manifest: bytes,
    ) -> Self:
        """Derive the keys of ``name`` among the outcome's ``contributors``, in the manifest's order.

        Of a pair the earlier adds and the later subtracts; the coordinator's mask is added.
        ``shared`` gives the X25519 result with each other member by name.  Raises ValueError
        where ``name`` is not a contributor, or coordinator or recipient is one (its pair mask would
        be the coordinator's mask, and cancel it), and KeyError where a member is missing.
        """
        if coordinator in contributors or recipient in contributors or coordinator == recipient:
            raise ValueError("coordinator, recipient and contributors are different members")
        place = contributors.index(name)

        def key(other: str) -> bytes:
            return mask_key(shared[other], manifest, name, other)

        return cls(
            adds=(*(key(other) for other in contributors[place + 1 :]), key(coordinator)),
            subtracts=tuple(key(other) for other in contributors[:place]),
            check=check_key(shared[recipient], manifest, name, recipient),
        )

    def apply(self, answers: NDArray[np.uint64], outcome: int, chunk: int) -> NDArray[np.uint64]:
        """Mask one chunk: shape (m, slots) in and out, values below 2**40, the input untouched.

        Check words come on top of the answers' last column; all slots are masked, padding and
        check slots included.
        """
        masked = answers.copy()
        masked[:, -1] += words40(self.check, outcome, chunk, len(answers))
        # uint64 wraps modulo 2**64, a multiple of 2**40: one reduction at the end is enough.
        flat = masked.reshape(-1)
        for key in self.adds:
            flat += words40(key, outcome, chunk, flat.size)
        for key in self.subtracts:
            flat -= words40(key, outcome, chunk, flat.size)
        masked &= WORD_MASK
        return masked


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class CoordinatorMasks:
    """The coordinator's keys: one mask key a contributor of the outcome, and its blank key."""

    masks: tuple[bytes, ...]
    blank: bytes

    @classmethod
    def derive(
        cls,
        contributors: Sequence[str],
        shared: Mapping[str, bytes],
        secret: bytes,
        *,
        coordinator: str,
        manifest: bytes,
    ) -> Self:
        """Derive the keys; ``shared`` by contributor, ``secret`` the coordinator's own for this job."""
        return cls(
            masks=tuple(mask_key(shared[name], manifest, name, coordinator) for name in contributors),
            blank=blank_key(secret, manifest),
        )

    def own_words(self, recipient_slots: NDArray[np.bool_], outcome: int, chunk: int) -> NDArray[np.uint64]:
        """Compute the plaintext words of B, the one ciphertext that the coordinator multiplies in.

        ``recipient_slots``, shape (m, slots), is true where the recipient may read.  There and in
        the check slots B is minus the sum of the coordinator masks; in all other slots, padding
        included, a uniform word: what is opened is then always a sum of words that are uniform
        given their sum, and its carry says nothing (protocol.md, 4.4).
        """
        opened = recipient_slots.copy()
        opened[:, -2] = False
        opened[:, -1] = True
        taken_back = self._taken_back(opened.shape, outcome, chunk)
        blank = words40(self.blank, outcome, chunk, opened.size).reshape(opened.shape)
        return np.where(opened, taken_back, blank)

    def check_words(self, shape: tuple[int, int], outcome: int, chunk: int) -> NDArray[np.uint64]:
        """Compute the plaintext words of B, of ``shape`` (m, slots), for an outcome that is opened into shares.

        Minus the sum of the coordinator masks in the check slots, 0 elsewhere: the masks stay in, or
        the recipient would see the sum (protocol.md, 4.4 and 5.1).
        """
        words = np.zeros(shape, dtype=np.uint64)
        words[:, -1] = self._taken_back(shape, outcome, chunk)[:, -1]
        return words

    def share_words(self, shape: tuple[int, int], outcome: int, chunk: int) -> NDArray[np.uint64]:
        """Compute the coordinator's shares of what is opened under ``check_words``: same shape, below 2**40.

        Share and opened word add up to the contributors' sum modulo 2**40.
        """
        return self._taken_back(shape, outcome, chunk)

    def _taken_back(self, shape: tuple[int, int], outcome: int, chunk: int) -> NDArray[np.uint64]:
        """Minus the sum of the coordinator masks."""
        total = np.zeros(shape, dtype=np.uint64)
        flat = total.reshape(-1)
        for key in self.masks:
            flat -= words40(key, outcome, chunk, flat.size)
        total &= WORD_MASK
        return total


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class RecipientChecks:
    """The recipient's check keys, one a contributor of the outcome (protocol.md, 4.5)."""

    keys: tuple[bytes, ...]

    @classmethod
    def derive(
        cls, contributors: Sequence[str], shared: Mapping[str, bytes], *, recipient: str, manifest: bytes
    ) -> Self:
        """Derive the keys; ``shared`` gives the X25519 result with each contributor by name."""
        return cls(tuple(check_key(shared[name], manifest, name, recipient) for name in contributors))

    def verify(self, opened: NDArray[np.uint64], outcome: int, chunk: int) -> None:
        """Check one opened chunk, shape (m, slots), values below 2**40.

        Raises CheckError where a check slot does not hold the sum of the contributors' check
        words.  The message says no more than that: the ciphertexts' places in the chunk are in
        the exception's notes, for the local log.
        """
        expected = np.zeros(len(opened), dtype=np.uint64)
        for key in self.keys:
            expected += words40(key, outcome, chunk, len(opened))
        expected &= WORD_MASK
        wrong = np.flatnonzero(opened[:, -1] != expected)
        if wrong.size:
            error = CheckError("a check slot does not hold the sum that the contributors put there")
            error.add_note(f"outcome {outcome}, chunk {chunk}, ciphertexts {wrong.tolist()}")
            raise error


def _lower_first(one: str, other: str) -> tuple[str, str]:
    """Order two names by their UTF-8 bytes (which is the order of their code points)."""
    return (one, other) if one < other else (other, one)
