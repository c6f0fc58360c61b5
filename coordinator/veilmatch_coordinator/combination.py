"""The coordinator's side of the outcomes, without I/O (protocol.md, 4.4 and 5.1).

For each chunk: every contributor's ciphertexts, multiplied, times exactly one ciphertext B of the
coordinator's own.  Rounds: the recipient presents its slots once; then chunks in any order, each
once.  Of what is opened into shares, the coordinator's are the masks that it leaves in.  It learns
nothing: it has no key.  Left to the caller: keeping B's bytes
before the product leaves (4.7), encryption of B (``combine`` runs in a pool), and streams.
"""

from collections.abc import Mapping, Sequence
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
        self.plan = manifest.plan
        self.padded = draft.padded
        self.outcomes = {outcome.index: outcome for outcome in draft.outcomes}
        self._masks = {
            outcome.index: CoordinatorMasks.derive(
                outcome.contributors,
                {name: agreement.agree(manifest.agreement(name)) for name in outcome.contributors},
                secret,
                coordinator=coordinator,
                manifest=manifest.digest,
            )
            for outcome in draft.outcomes
        }
        self.chunks = self.key.layout.chunks(draft.padded, draft.chunk_ciphertexts)
        self.ciphertexts = len(self.outcomes) * self.key.layout.ciphertexts_for(draft.padded)
        self._residues = ResidueGuard(self.key)
        self._presented: Sequence[NDArray[np.bool_]] | None = None

    @property
    def places(self) -> list[tuple[int, int]]:
        """(outcome, chunk) of everything that is combined, in order."""
        return [(outcome, chunk) for outcome in self.outcomes for chunk in range(len(self.chunks))]

    def places_of(self, name: str) -> list[tuple[int, int]]:
        """(outcome, chunk) of everything that a contributor sends, in order."""
        return [place for place in self.places if name in self.outcomes[place[0]].contributors]

    def present(self, policies: Sequence[NDArray[np.bool_]]) -> None:
        """Take the slots that the recipient asks about, policy by policy, shape (padded,), before the first chunk.

        Whose slots they are was checked before.  Raises JobError for more than a policy's ceiling.
        """
        for planned, slots in zip(self.plan.policies, policies, strict=True):
            at_most = planned.policy.among_at_most
            if at_most is not None and int(np.count_nonzero(slots)) > at_most:
                raise JobError(
                    "job: the recipient presents more people than among_at_most allows; correct the policy"
                )
        self._presented = policies

    def own_words(self, outcome: int, chunk: int) -> NDArray[np.uint64]:
        """Return the words of B for a chunk, shape (ciphertexts, slots): 4.4."""
        masks, layout, people = self._masks[outcome], self.key.layout, self.chunks[chunk]
        if self.outcomes[outcome].opened == "shares":
            shape = (layout.ciphertexts_for(people.stop - people.start), layout.slots)
            return masks.check_words(shape, outcome, chunk)
        if self._presented is None:
            raise JobError("job: the recipient has presented no slots yet; submit the job again")
        asking = next(
            policy for policy, planned in enumerate(self.plan.policies) if planned.answer == outcome
        )
        return masks.own_words(layout.spread(self._presented[asking][people]), outcome, chunk)

    def share(self, term: int) -> NDArray[np.uint64]:
        """Return the coordinator's share of a term by slot, shape (padded,): 5.1."""
        share = np.zeros(self.padded, dtype=np.uint64)
        if term not in self._masks:  # the recipient's alone
            return share
        layout = self.key.layout
        for chunk, people in enumerate(self.chunks):
            count = people.stop - people.start
            words = self._masks[term].share_words((layout.ciphertexts_for(count), layout.slots), term, chunk)
            share[people] = layout.gather(words, count)
        return share

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

    ``words`` are ``Combiner.own_words``; ``expected`` is about how many ciphertexts a worker makes in the job.
    """
    blank = encrypt_chunk(key, words, expected)
    return Combined(blank, multiply_chunks(key, [*contributions.values(), blank]))
