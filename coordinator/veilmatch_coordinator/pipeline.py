"""Contributions in, products out: the streaming part of a job (protocol.md, 4.4 to 4.6).

One thread a contributor puts its chunks into the gathering; one thread combines what is complete
and sends it to the recipient; one reads what the recipient says it opened.  Each waits only for
what it needs, so encryption, combination and opening overlap.
"""

import threading
import time
from collections import deque
from concurrent.futures import Executor, Future
from functools import partial

import numpy as np
from numpy.typing import NDArray

from veilmatch_coordinator.client import ContributeTask, Conversation, OpenTask
from veilmatch_coordinator.combination import Combined, Combiner, combine
from veilmatch_coordinator.errors import JobError
from veilmatch_coordinator.evidence import JobEvidence
from veilmatch_coordinator.gathering import Gathering, Place
from veilmatch_coordinator.linking import Progress
from veilmatch_coordinator.parallel import in_parallel
from veilmatch_coordinator.slots import VALUE_BYTES, check_claims
from veilmatch_coordinator.store import CoordinatorStore, StoredChunk, StoredEpoch
from veilmatch_crypto import IdentityKey, SignatureRefusedError, verify
from veilmatch_policy.directory import Directory
from veilmatch_policy.manifest import Manifest, signed_combined, signed_contribution

_UNDER_WAY = 8  # chunks in combination: a pool's workers have work, memory stays bounded


class Pipeline:
    """Runs one manifest's contributions through to the recipient, once."""

    def __init__(
        self,
        manifest: Manifest,
        combiner: Combiner,
        *,
        identity: IdentityKey,
        directory: Directory,
        store: CoordinatorStore,
        executor: Executor,
        evidence: JobEvidence,
        progress: Progress,
        epoch: StoredEpoch,
    ) -> None:
        """Take the parts; ``epoch`` is the linked epoch that the manifest names."""
        self._manifest = manifest
        self._combiner = combiner
        self._identity = identity
        self._directory = directory
        self._store = store
        self._executor = executor
        self._evidence = evidence
        self._progress = progress
        self._epoch = epoch
        contributors = {index: outcome.contributors for index, outcome in combiner.outcomes.items()}
        self._gathering = Gathering(combiner.places, contributors)
        self._admitting = threading.Lock()  # the residues of all contributors are one set
        self.seconds: dict[str, float] = {"contribute": 0.0, "combine": 0.0, "open": 0.0}

    def run(self, conversation: Conversation, recipient: OpenTask) -> list[NDArray[np.bool_]]:
        """Run until the recipient has opened the last chunk; the first failure ends everything.

        Returns the slots that the recipient presented, policy by policy, shape (padded,).  Raises JobError,
        or NodeFailedError naming the node.
        """
        bitmaps = [self._presented(recipient, number) for number in range(len(self._manifest.policies))]
        self._store.present(self._manifest.digest, b"".join(bitmaps))
        presented = [_slots(bitmap, self._manifest.draft.padded) for bitmap in bitmaps]
        self._combiner.present(presented)
        started = time.monotonic()
        names = self._manifest.plan.contributors
        contributors = {name: conversation.contribute(name, self._manifest.digest) for name in names}

        def stop(error: BaseException) -> None:
            self._gathering.fail(error)
            conversation.abort(error)

        calls = {name: partial(self._collect, name, task, started) for name, task in contributors.items()}
        calls["combine"] = partial(self._combine, recipient)
        calls["open"] = partial(self._follow, recipient)
        in_parallel(calls, on_failure=stop)
        self.seconds["open"] = time.monotonic() - started - self.seconds["contribute"]
        return presented

    def _presented(self, recipient: OpenTask, policy: int) -> bytes:
        """Whom one policy asks about; only the recipient's own people can be."""
        draft = self._manifest.draft
        size = -(-draft.padded // 8)
        people = self._epoch.people[draft.recipient]
        claimed = self._epoch.claims is not None
        bitmap, claims = recipient.presented(policy, size, VALUE_BYTES * people if claimed else 0)
        if len(bitmap) != size:
            raise JobError(
                "job: the recipient presented another number of slots than the epoch has; check its release"
            )
        slots = _slots(bitmap, draft.padded)
        if self._epoch.claims is not None:
            check_claims(draft.recipient, self._epoch.claims, np.flatnonzero(slots), claims, people=people)
        elif (slots & ~self._epoch.own_slots(draft.recipient)).any():
            raise JobError(
                "job: the recipient presents slots that are not its own people's; check its release"
            )
        return bitmap

    def _collect(self, name: str, task: ContributeTask, started: float) -> None:
        identity = self._directory.identity(name)
        people = self._combiner.chunks
        places = self._combiner.places_of(name)
        total = people[-1].stop * len(places) // len(people)
        done = 0
        for number, part in enumerate(task.contributions()):
            # In order and whole: others wait for a chunk that does not come, and for one far ahead of its turn.
            if number == len(places) or (part.outcome, part.chunk) != places[number]:
                raise JobError(
                    f"job: {name} sent a chunk out of order or one that was not asked for; check its release"
                )
            statement = signed_contribution(self._manifest.digest, part.outcome, part.chunk, part.ciphertexts)
            try:
                verify(identity, statement, part.signature)
            except SignatureRefusedError:
                raise JobError(
                    f"job: a contribution of {name} is not signed by it; check who is on the line"
                ) from None
            with self._admitting:
                self._combiner.admit(name, part.chunk, part.ciphertexts)
                self._evidence.contribution(name, part.outcome, part.chunk, part.ciphertexts, part.signature)
            self._gathering.put(name, (part.outcome, part.chunk), part.ciphertexts)
            done += people[part.chunk].stop - people[part.chunk].start
            self._progress("contribute", name, done, total)
        if done < total:
            raise JobError(f"job: {name} ended before it had sent all its chunks; check its release")
        self.seconds["contribute"] = max(self.seconds["contribute"], time.monotonic() - started)

    def _combine(self, recipient: OpenTask) -> None:
        combiner = self._combiner
        under_way: deque[tuple[Place, Future[Combined]]] = deque()
        try:
            for place, contributions in self._gathering.complete():
                started = time.monotonic()
                words = combiner.own_words(*place)
                future = self._executor.submit(
                    combine, combiner.key, contributions, words, combiner.ciphertexts
                )
                under_way.append((place, future))
                self.seconds["combine"] += time.monotonic() - started
                while under_way and (len(under_way) == _UNDER_WAY or under_way[0][1].done()):
                    self._send(recipient, *under_way.popleft())
            while under_way:
                self._send(recipient, *under_way.popleft())
        finally:
            for _, future in under_way:
                future.cancel()

    def _send(self, recipient: OpenTask, place: Place, future: Future[Combined]) -> None:
        digest = self._manifest.digest
        outcome, chunk = place
        started = time.monotonic()
        combined = future.result()
        with self._admitting:
            self._combiner.admit_own(combined)
            statement = signed_combined(digest, outcome, chunk, combined.blank, combined.product)
            self._evidence.combined(
                outcome, chunk, combined.blank, combined.product, self._identity.sign(statement)
            )
        # 4.7: on disk before it leaves.
        self._store.keep_chunk(digest, outcome, chunk, StoredChunk(combined.blank, combined.product))
        self.seconds["combine"] += time.monotonic() - started
        recipient.send_combined(outcome, chunk, combined.product)

    def _follow(self, recipient: OpenTask) -> None:
        name = self._manifest.draft.recipient
        people = self._combiner.chunks
        total = people[-1].stop * len(self._combiner.outcomes)
        done = 0
        for place in self._combiner.places:
            if recipient.opened() != place:
                raise JobError(f"job: {name} opened a chunk out of order; check its release")
            done += people[place[1]].stop - people[place[1]].start
            self._progress("open", name, done, total)


def _slots(bitmap: bytes, padded: int) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bitmap, np.uint8), count=padded).view(np.bool_)
