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
from veilmatch_coordinator.gathering import Gathering
from veilmatch_coordinator.linking import Progress
from veilmatch_coordinator.parallel import in_parallel
from veilmatch_coordinator.store import CoordinatorStore, StoredChunk
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
        own: NDArray[np.bool_],
    ) -> None:
        """Take the parts; ``own`` is true at the slots of the recipient's people, shape (padded,)."""
        self._manifest = manifest
        self._combiner = combiner
        self._identity = identity
        self._directory = directory
        self._store = store
        self._executor = executor
        self._evidence = evidence
        self._progress = progress
        self._own = own
        self._gathering = Gathering(combiner.contributors, len(combiner.chunks))
        self._admitting = threading.Lock()  # the residues of all contributors are one set
        self.seconds: dict[str, float] = {"contribute": 0.0, "combine": 0.0, "open": 0.0}

    def run(self, conversation: Conversation, recipient: OpenTask) -> None:
        """Run until the recipient has opened the last chunk; the first failure ends everything.

        Raises JobError, or NodeFailedError naming the node.
        """
        self._take_presented(recipient)
        started = time.monotonic()
        contributors = {
            name: conversation.contribute(name, self._manifest.digest) for name in self._combiner.contributors
        }

        def stop(error: BaseException) -> None:
            self._gathering.fail(error)
            conversation.abort(error)

        calls = {name: partial(self._collect, name, task, started) for name, task in contributors.items()}
        calls["combine"] = partial(self._combine, recipient)
        calls["open"] = partial(self._follow, recipient)
        in_parallel(calls, on_failure=stop)
        self.seconds["open"] = time.monotonic() - started - self.seconds["contribute"]

    def _take_presented(self, recipient: OpenTask) -> None:
        padded = self._manifest.draft.padded
        size = -(-padded // 8)
        bitmap = recipient.presented(size)
        if len(bitmap) != size:
            raise JobError(
                "job: the recipient presented another number of slots than the epoch has; check its release"
            )
        self._store.present(self._manifest.digest, bitmap)
        slots = np.unpackbits(np.frombuffer(bitmap, np.uint8), count=padded).view(np.bool_)
        self._combiner.present(slots, self._own, self._manifest.policy.among_at_most)

    def _collect(self, name: str, task: ContributeTask, started: float) -> None:
        identity = self._directory.identity(name)
        people = self._combiner.chunks
        expected = 0
        for part in task.contributions():
            # In order and whole: others wait for a chunk that does not come, and for one far ahead of its turn.
            if (part.outcome, part.chunk) != (self._combiner.outcome, expected) or expected == len(people):
                raise JobError(
                    f"job: {name} sent a chunk out of order or one that was not asked for; check its release"
                )
            expected += 1
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
            self._gathering.put(name, part.chunk, part.ciphertexts)
            self._progress("contribute", name, people[part.chunk].stop, people[-1].stop)
        if expected < len(people):
            raise JobError(f"job: {name} ended before it had sent all its chunks; check its release")
        self.seconds["contribute"] = max(self.seconds["contribute"], time.monotonic() - started)

    def _combine(self, recipient: OpenTask) -> None:
        combiner = self._combiner
        under_way: deque[tuple[int, Future[Combined]]] = deque()
        try:
            for chunk, contributions in self._gathering.complete():
                started = time.monotonic()
                words = combiner.own_words(chunk)
                future = self._executor.submit(
                    combine, combiner.key, contributions, words, combiner.ciphertexts
                )
                under_way.append((chunk, future))
                self.seconds["combine"] += time.monotonic() - started
                while under_way and (len(under_way) == _UNDER_WAY or under_way[0][1].done()):
                    self._send(recipient, *under_way.popleft())
            while under_way:
                self._send(recipient, *under_way.popleft())
        finally:
            for _, future in under_way:
                future.cancel()

    def _send(self, recipient: OpenTask, chunk: int, future: Future[Combined]) -> None:
        combiner, digest = self._combiner, self._manifest.digest
        started = time.monotonic()
        combined = future.result()
        with self._admitting:
            combiner.admit_own(combined)
            statement = signed_combined(digest, combiner.outcome, chunk, combined.blank, combined.product)
            self._evidence.combined(
                combiner.outcome, chunk, combined.blank, combined.product, self._identity.sign(statement)
            )
        # 4.7: on disk before it leaves.
        self._store.keep_chunk(digest, combiner.outcome, chunk, StoredChunk(combined.blank, combined.product))
        self.seconds["combine"] += time.monotonic() - started
        recipient.send_combined(combiner.outcome, chunk, combined.product)

    def _follow(self, recipient: OpenTask) -> None:
        name = self._manifest.draft.recipient
        people = self._combiner.chunks
        for chunk in range(len(people)):
            if recipient.opened() != (self._combiner.outcome, chunk):
                raise JobError(f"job: {name} opened a chunk out of order; check its release")
            self._progress("open", name, people[chunk].stop, people[-1].stop)
