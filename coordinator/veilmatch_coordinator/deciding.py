"""The circuits of a job, carried between registrar, dealer, recipient and coordinator (protocol.md, 5).

Order: the registrar tells who lives with whom; the dealer, told the sizes, sends the seeds; the
recipient gets its own; then one round after the other, while the dealer's corrections stream in.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from veilmatch_coordinator.circuits import Circuits
from veilmatch_coordinator.client import Conversation, OpenTask
from veilmatch_coordinator.combination import Combiner
from veilmatch_coordinator.errors import JobError
from veilmatch_crypto import AgreementKey, CryptoError, Sealed, circuit_key, open_seed
from veilmatch_policy.directory import Directory
from veilmatch_policy.manifest import Manifest
from veilmatch_policy.program import Counts, in_lockstep

_LABEL_BYTES = 4  # of a household's label on the wire


class Deciding:
    """Runs the circuits of one manifest, once."""

    def __init__(
        self, manifest: Manifest, combiner: Combiner, agreement: AgreementKey, directory: Directory
    ) -> None:
        """Take the parts; ``agreement`` is the coordinator's key in the manifest."""
        self._manifest = manifest
        self._combiner = combiner
        self._agreement = agreement
        self._directory = directory
        self.households: int | None = None

    def run(
        self, conversation: Conversation, recipient: OpenTask, presented: Sequence[NDArray[np.bool_]]
    ) -> Mapping[int, Counts]:
        """Run them: the counts of policies that reveal one, by the policy's number.

        ``presented`` by policy, shape (padded,); afterwards ``households`` is how many there are, where a
        policy asks about them.  Raises JobError, or NodeFailedError naming the node.
        """
        manifest, plan = self._manifest, self._manifest.plan
        if plan.dealer is None:
            raise JobError("job: nobody deals for its circuits; submit it again")
        labels = self._labels(conversation)
        circuits = Circuits(plan, self._combiner, presented, labels)
        self.households = circuits.households or None
        dealer = conversation.deal(plan.dealer, manifest.digest, circuits.households, circuits.presented)
        own, recipients = dealer.seeds()
        try:
            seed = open_seed(
                Sealed.from_bytes(own),
                plan.dealer,
                self._directory.coordinator,
                manifest=manifest.digest,
                key=self._agreement,
                dealer_identity=self._directory.identity(plan.dealer),
            )
            key = circuit_key(
                seed, manifest.digest, households=circuits.households, presented=circuits.presented
            )
            recipient.begin_circuits(recipients, circuits.households)
            results = in_lockstep(circuits.decide(key, dealer.corrections()), recipient.round)
        except CryptoError as error:
            raise JobError(f"job: its circuit cannot go on ({error}); check the parties' releases") from None
        return {number: result for number, result in results.items() if isinstance(result, Counts)}

    def _labels(self, conversation: Conversation) -> NDArray[np.uint32] | None:
        """Who lives with whom, by slot; None where no policy asks about households."""
        registrar, padded = self._manifest.plan.registrar, self._manifest.draft.padded
        if registrar is None:
            return None
        labels = conversation.households(registrar, self._manifest.digest, _LABEL_BYTES * padded)
        if len(labels) != _LABEL_BYTES * padded:
            raise JobError(
                f"job: {registrar} did not say of every slot whose household it is; check its release"
            )
        by_slot = np.frombuffer(labels, "<u4")
        sizes = np.unique(by_slot[by_slot != 0], return_counts=True)[1]
        if sizes.max(initial=0) > self._manifest.plan.household_at_most:
            # The range of a total and the noise of a count rest on it (protocol.md, 5.1 and 5.5).
            raise JobError(f"job: {registrar} has larger households than it declared; check its release")
        return by_slot
