"""The recipient's side of a linear outcome, without I/O (protocol.md, 4.5 and 4.6).

Order: (1) ``presented`` goes to the coordinator, once a manifest; (2) combined chunks come back,
each place once and in order, and are opened and checked; (3) when all are there, ``eligible``
names the slots.  The recipient learns the AND of the other departments' conditions for the slots
that it presented, whatever its own conditions say, and nothing about any other slot.  Left to the
caller: decryption (``open_chunk`` runs in a pool), the stream, and the result's files.
"""

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto import (
    AgreementKey,
    CheckError,
    CiphertextError,
    KeyRefusedError,
    PrivateKey,
    RecipientChecks,
    ResidueGuard,
)
from veilmatch_node.errors import JobRefusedError
from veilmatch_policy.manifest import Manifest


class Recipient:
    """Checks opened chunks and finds the eligible slots of one manifest."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        agreement: AgreementKey,
        key: PrivateKey,
        presented: NDArray[np.bool_],
        own: NDArray[np.bool_],
    ) -> None:
        """Derive the check keys.

        ``agreement`` and ``key`` are this node's keys in the manifest; ``presented`` are the slots
        of its ``among``, ``own`` those where its own conditions hold, both shape (padded,).
        """
        draft = manifest.draft
        if key.public != manifest.paillier():
            raise KeyRefusedError("the manifest names another Paillier key than this job's")
        self.key = key
        self.presented = presented
        self._own = own
        self._holds = presented & own
        self._outcome = draft.outcomes[0].index
        contributors = draft.outcomes[0].contributors
        shared = {name: agreement.agree(manifest.agreement(name)) for name in contributors}
        self._checks = RecipientChecks.derive(
            contributors, shared, recipient=draft.recipient, manifest=manifest.digest
        )
        self._chunks = key.public.layout.chunks(draft.padded, draft.chunk_ciphertexts)
        self._admitted = 0
        self._opened = 0
        self._residues = ResidueGuard(key.public)

    @property
    def chunks(self) -> int:
        """How many chunks come back."""
        return len(self._chunks)

    def admit(self, outcome: int, chunk: int, ciphertexts: bytes) -> None:
        """Step 2, before decryption: refuse a chunk out of place or with randomness seen before.

        Raises CiphertextError.
        """
        if (outcome, chunk) != (self._outcome, self._admitted) or chunk >= len(self._chunks):
            raise CiphertextError("a combined chunk came twice, out of order, or was not asked for")
        people = self._chunks[chunk]
        layout = self.key.public.layout
        if len(ciphertexts) != layout.ciphertexts_for(people.stop - people.start) * layout.ciphertext_bytes:
            raise CiphertextError(
                "a combined chunk has another number of ciphertexts than the manifest gives"
            )
        self._residues.admit(ciphertexts)
        self._admitted += 1

    def take(self, words: NDArray[np.uint64]) -> None:
        """Step 2, after decryption: check the next chunk's words, shape (ciphertexts, slots), and read them.

        Raises CheckError where a check slot does not hold what the contributors put there: the
        job ends, and this manifest is never opened again.
        """
        if self._opened >= self._admitted:
            raise CheckError("words were opened that were not admitted")
        # 4.5: the check slots first; nothing is read from a chunk that fails.
        self._checks.verify(words, self._outcome, self._opened)
        # 4.6: zero in every department, among the slots presented, where the own conditions hold.
        people = self._chunks[self._opened]
        sums = self.key.public.layout.gather(words, people.stop - people.start)
        self._holds[people] &= sums == 0
        self._opened += 1

    def eligible(self) -> NDArray[np.intp]:
        """Step 3: the eligible slots, ascending.  Raises JobRefusedError before the last chunk."""
        if self._opened != len(self._chunks):
            raise JobRefusedError(
                "job", "the coordinator concluded before all chunks were there", "submit the job again"
            )
        return np.flatnonzero(self._holds)
