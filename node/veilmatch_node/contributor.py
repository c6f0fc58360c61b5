"""The contributor's side of an outcome, without I/O (protocol.md, 4.3 to 4.5, and 5.1).

Roles: a contributor, the other contributors, the coordinator and the recipient.  Rounds: one;
what leaves is one chunk of masked words after another.  A chunk's words are a function of the
manifest, the node's secrets of the job and the answers frozen at its start: asking again cannot
give others (4.7).  Who learns what: protocol.md, 8; from one contribution alone, nobody anything.
Left to the caller: encryption, and keeping each ciphertext before it leaves.
"""

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto import AgreementKey, ContributorMasks, amount_words, answer_words, noise_key
from veilmatch_node.frozen import FrozenAnswers
from veilmatch_policy.manifest import Manifest


class Contributor:
    """Makes the words that one node contributes to the outcomes of one manifest."""

    def __init__(
        self,
        manifest: Manifest,
        name: str,
        *,
        coordinator: str,
        agreement: AgreementKey,
        noise_secret: bytes,
        answers: FrozenAnswers,
    ) -> None:
        """Derive the job's keys.

        ``agreement`` is this node's key in the manifest, ``noise_secret`` 32 bytes that it shares
        with nobody, ``answers`` what the job froze of its data.
        """
        draft = manifest.draft
        self.key = manifest.paillier()
        self._answers = answers
        self._noise = noise_key(noise_secret, manifest.digest)
        self._chunks = self.key.layout.chunks(draft.padded, draft.chunk_ciphertexts)
        self._masks: dict[int, ContributorMasks] = {}
        for outcome in draft.outcomes:
            if name in outcome.contributors:
                others = {*outcome.contributors, draft.recipient, coordinator} - {name}
                self._masks[outcome.index] = ContributorMasks.derive(
                    name,
                    outcome.contributors,
                    {other: agreement.agree(manifest.agreement(other)) for other in others},
                    coordinator=coordinator,
                    recipient=draft.recipient,
                    manifest=manifest.digest,
                )

    @property
    def expected(self) -> int:
        """How many ciphertexts this node makes under this manifest."""
        return len(self._masks) * self.key.layout.ciphertexts_for(self._answers.padded)

    def places(self) -> list[tuple[int, int]]:
        """Return (outcome, chunk) of everything that this node contributes, in the order of sending."""
        return [(outcome, chunk) for outcome in self._masks for chunk in range(len(self._chunks))]

    def words(self, outcome: int, chunk: int) -> NDArray[np.uint64]:
        """Return one chunk's masked words, shape (ciphertexts, slots), values below 2**40."""
        values = self._answers.terms[outcome][self._chunks[chunk]]
        if (
            values.dtype == np.bool_
        ):  # 4.3: zero where the claims hold, else noise from a key of this node alone
            words = answer_words(values, self._noise, self.key.layout, outcome, chunk)
        else:  # 5.1: amounts
            words = amount_words(values, self._noise, self.key.layout, outcome, chunk)
        # 4.4 and 4.5: pair masks, the coordinator's mask, check words.
        return self._masks[outcome].apply(words, outcome, chunk)
