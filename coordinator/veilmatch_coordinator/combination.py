"""The coordinator's side of a linear outcome, without I/O (protocol.md, 4.4).

For each chunk: every contributor's ciphertexts, multiplied, times exactly one ciphertext B of the
coordinator's own.  Rounds: the recipient presents its slots once; then chunks in any order, each
once.  The coordinator learns nothing: it has no key.  Left to the caller: keeping B's bytes
before the product leaves (4.7), encryption of B (``combine`` runs in a pool), and streams.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilmatch_coordinator.errors import JobError
from veilmatch_crypto import (
    AgreementKey,
    CiphertextError,
    CoordinatorMasks,
    PublicKey,
    ResidueGuard,
    encrypt_chunk,
    multiply_chunks,
)
from veilmatch_policy.manifest import Manifest


@dataclass(frozen=True)
class Combined:
    """B's ciphertexts and the product that goes to the recipient."""

    blank: bytes
    product: bytes


class Combiner:
    """Prepares B's words and checks contributions for one manifest."""

    def __init__(
        self, manifest: Manifest, *, coordinator: str, agreement: AgreementKey, secret: bytes
    ) -> None:
        """Derive the masks.

        ``agreement`` is the coordinator's key in the manifest, ``secret`` 32 bytes that it shares
        with nobody: the key of the blanked slots.
        """
        self.key = manifest.paillier()
        draft = manifest.draft
        self.outcome = draft.outcomes[0].index
        self.contributors = draft.outcomes[0].contributors
        self._masks = CoordinatorMasks.derive(
            self.contributors,
            {name: agreement.agree(manifest.agreement(name)) for name in self.contributors},
            secret,
            coordinator=coordinator,
            manifest=manifest.digest,
        )
        self.chunks = self.key.layout.chunks(draft.padded, draft.chunk_ciphertexts)
        self.ciphertexts = self.key.layout.ciphertexts_for(draft.padded)
        self._residues = ResidueGuard(self.key)
        self._presented: NDArray[np.bool_] | None = None

    def present(self, slots: NDArray[np.bool_], own: NDArray[np.bool_], at_most: int | None) -> None:
        """Take the slots that the recipient asks about, shape (padded,), before the first chunk.

        ``own`` are the slots of its own people in the epoch, ``at_most`` is the policy's ceiling.
        Raises JobError for a slot that is not its own, or for more than the ceiling.
        """
        if (slots & ~own).any():
            raise JobError(
                "job: the recipient presents slots that are not its own people's; check its release"
            )
        count = int(np.count_nonzero(slots))
        if at_most is not None and count > at_most:
            raise JobError(
                "job: the recipient presents more people than among_at_most allows; correct the policy"
            )
        self._presented = slots

    def own_words(self, chunk: int) -> NDArray[np.uint64]:
        """Return the words of B for a chunk, shape (ciphertexts, slots): 4.4."""
        if self._presented is None:
            raise JobError("job: the recipient has presented no slots yet; submit the job again")
        return self._masks.own_words(
            self.key.layout.spread(self._presented[self.chunks[chunk]]), self.outcome, chunk
        )

    def admit(self, name: str, chunk: int, ciphertexts: bytes) -> None:
        """Check one contribution: its size, and that its randomness was never seen under this key.

        Raises JobError naming the contributor; the place is in the exception's notes.
        """
        layout = self.key.layout
        people = self.chunks[chunk]
        if len(ciphertexts) != layout.ciphertexts_for(people.stop - people.start) * layout.ciphertext_bytes:
            raise JobError(
                f"job: {name} sent a chunk of another size than the manifest gives; check its release"
            )
        self._admit(
            ciphertexts,
            f"job: {name} sent ciphertexts that are malformed or repeat randomness; check its release",
        )

    def admit_own(self, combined: Combined) -> None:
        """Check B and the product likewise."""
        self._admit(
            combined.blank + combined.product,
            "job: the coordinator's own ciphertexts repeat randomness; stop",
        )

    def _admit(self, ciphertexts: bytes, text: str) -> None:
        try:
            self._residues.admit(ciphertexts)
        except CiphertextError as error:
            refused = JobError(text)
            for note in getattr(error, "__notes__", ()):
                refused.add_note(note)
            raise refused from error


def combine(
    key: PublicKey, contributions: Mapping[str, bytes], words: NDArray[np.uint64], expected: int
) -> Combined:
    """Encrypt B and multiply everything: a pure function, for any executor.

    ``words`` are ``Combiner.own_words``; ``expected`` is how many ciphertexts the job makes in all.
    """
    blank = encrypt_chunk(key, words, expected)
    return Combined(blank, multiply_chunks(key, [*contributions.values(), blank]))
