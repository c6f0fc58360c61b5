"""The recipient's side of the outcomes, without I/O (protocol.md, 4.5, 4.6 and 5.1).

Order: (1) ``presented`` goes to the coordinator, policy by policy, once a manifest; (2) combined chunks
come back, each place once and in order, and are opened and checked; (3) when all are there,
``eligible`` names the slots of a linear policy, and ``shares`` are the recipient's of everything
that feeds a circuit.  Of a linear policy the recipient learns the AND of the other departments'
conditions for the slots that it presented, whatever its own conditions say; of a sum that is opened
into shares nothing: its words are uniform.  Left to the caller: decryption (``open_chunk`` runs in a
pool), the stream, the circuits, and the result's files.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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
from veilmatch_node.frozen import FrozenAnswers
from veilmatch_policy.manifest import Manifest
from veilmatch_policy.plan import Fails
from veilmatch_policy.program import Members

_WORD = np.uint64(2**40 - 1)


@dataclass(frozen=True)
class Eligible:
    """A policy's eligible slots, ascending; for household policies with their households' labels."""

    slots: NDArray[np.intp]
    labels: NDArray[np.uint32] | None = None


class Recipient:
    """Checks opened chunks, finds the eligible slots of linear policies, keeps the shares of the others."""

    def __init__(
        self, manifest: Manifest, *, agreement: AgreementKey, key: PrivateKey, answers: FrozenAnswers
    ) -> None:
        """Derive the check keys.

        ``agreement`` and ``key`` are this node's keys in the manifest, ``answers`` what the job froze of
        its data.
        """
        draft = manifest.draft
        if key.public != manifest.paillier():
            raise KeyRefusedError("the manifest names another Paillier key than this job's")
        self.key = key
        self.plan = manifest.plan
        self._answers = answers
        self._chunks = key.public.layout.chunks(draft.padded, draft.chunk_ciphertexts)
        self._checks = {
            outcome.index: RecipientChecks.derive(
                outcome.contributors,
                {name: agreement.agree(manifest.agreement(name)) for name in outcome.contributors},
                recipient=draft.recipient,
                manifest=manifest.digest,
            )
            for outcome in draft.outcomes
        }
        self._places = [(index, chunk) for index in self._checks for chunk in range(len(self._chunks))]
        self._admitted = 0
        self._opened = 0
        self._residues = ResidueGuard(key.public)
        # Of an answer, where the sum is 0; of any other term, this party's share.
        self._zero: dict[int, NDArray[np.bool_]] = {}
        self._shares: dict[int, NDArray[np.uint64]] = {}
        for number, term in enumerate(self.plan.terms):
            if term.opened == "answer":
                self._zero[number] = np.zeros(draft.padded, dtype=np.bool_)
            else:
                self._shares[number] = self._own_words(number)

    @property
    def presented(self) -> Mapping[int, NDArray[np.bool_]]:
        """Step 1: whom each policy asks about, by its number; shape (padded,)."""
        return self._answers.presented

    @property
    def places(self) -> int:
        """How many chunks come back."""
        return len(self._places)

    def admit(self, outcome: int, chunk: int, ciphertexts: bytes) -> None:
        """Step 2, before decryption: refuse a chunk out of place or with randomness seen before.

        Raises CiphertextError.
        """
        if self._admitted == len(self._places) or (outcome, chunk) != self._places[self._admitted]:
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
        outcome, chunk = self._places[self._opened]
        # 4.5: the check slots first; nothing is read from a chunk that fails.
        self._checks[outcome].verify(words, outcome, chunk)
        people = self._chunks[chunk]
        opened = self.key.public.layout.gather(words, people.stop - people.start)
        if outcome in self._zero:  # 4.6: zero where every department's claims hold
            self._zero[outcome][people] = opened == 0
        else:  # 5.1: this party's share, its own amounts added
            self._shares[outcome][people] += opened
            self._shares[outcome][people] &= _WORD
        self._opened += 1

    def eligible(self, policy: int) -> Eligible:
        """Step 3: the eligible slots of a linear policy.  Raises JobRefusedError before the last chunk."""
        self._require_all()
        planned = self.plan.policies[policy]
        if planned.answer is None:
            raise JobRefusedError("job", "a circuit decides this policy", "run its circuit")
        # 4.6: zero in every department, among the slots presented, where the own conditions hold.
        holds = self._zero[planned.answer] & self._answers.presented[policy]
        if planned.own is not None:
            holds &= self._answers.own[policy, 0]
        return Eligible(np.flatnonzero(holds))

    def members(self, policy: int, decided: Members) -> Eligible:
        """Step 3: the eligible slots of a policy that a circuit decided, of those that were presented."""
        slots = np.flatnonzero(self._answers.presented[policy])[decided.eligible]
        labels = None if decided.labels is None else decided.labels[decided.eligible]
        return Eligible(slots, labels)

    def shares(self) -> Mapping[int, NDArray[np.uint64]]:
        """Step 3: this party's shares by term, words modulo 2**40, shape (padded,).  As ``eligible``."""
        self._require_all()
        return self._shares

    def own(self, policy: int, claim: int) -> NDArray[np.bool_]:
        """This department's own claim of a circuit's policy: its input, shape (padded,)."""
        return self._answers.own[policy, claim]

    def _require_all(self) -> None:
        if self._opened != len(self._places):
            raise JobRefusedError(
                "job", "the coordinator concluded before all chunks were there", "submit the job again"
            )

    def _own_words(self, number: int) -> NDArray[np.uint64]:
        """What this department itself adds to a term; a failing claim adds 1, whatever it is it is not 0."""
        part = self.plan.terms[number].part(self.plan.recipient)
        if part is None:
            return np.zeros(self._answers.padded, dtype=np.uint64)
        values = self._answers.terms[number]
        return (~values).astype(np.uint64) if isinstance(part, Fails) else values.copy()
