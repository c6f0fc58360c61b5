"""Contributions in, products out: the streaming part of a job (protocol.md, 4.4 to 4.6).

One thread a contributor puts its chunks into the gathering; one thread combines what is complete; two bring
it to the recipient and read what it says it opened.  Each waits only for what it needs, so encryption,
combination and opening overlap.  A contributor or a recipient whose line is lost is waited for and asked
again: what comes again are the same bytes (4.7).
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from veilmatch_coordinator.client import Contribution, Conversation, OpenTask
from veilmatch_coordinator.combination import Combined, Combiner, combine
from veilmatch_coordinator.errors import JobError, NodeLostError
from veilmatch_coordinator.evidence import JobEvidence
from veilmatch_coordinator.gathering import Gathering, Place
from veilmatch_coordinator.linking import Progress
from veilmatch_coordinator.parallel import in_parallel
from veilmatch_coordinator.patience import Patience
from veilmatch_coordinator.products import Products
from veilmatch_coordinator.slots import VALUE_BYTES, check_claims
from veilmatch_coordinator.store import CoordinatorStore, StoredChunk, StoredEpoch
from veilmatch_crypto import IdentityKey, Pool, SignatureRefusedError, at_once, verify
from veilmatch_policy.directory import Directory
from veilmatch_policy.manifest import Manifest, signed_combined, signed_contribution
from veilmatch_transport import WorkersError

_T = TypeVar("_T")

_Begin = Callable[[], Future[Combined]]
_UNDER_WAY = 8  # chunks in combination, at least: workers have work, memory stays bounded


class Pipeline:
    """Runs one manifest's contributions through to the recipient, once."""

    def __init__(
        self,
        manifest: Manifest,
        combiner: Combiner,
        conversation: Conversation,
        *,
        identity: IdentityKey,
        directory: Directory,
        store: CoordinatorStore,
        executor: Pool,
        evidence: JobEvidence,
        progress: Progress,
        epoch: StoredEpoch,
        reconnect_wait: float,
    ) -> None:
        """Take the parts.

        ``epoch`` is the linked epoch that the manifest names, ``reconnect_wait`` for how many seconds a node
        whose line was lost is waited for.
        """
        self._manifest = manifest
        self._combiner = combiner
        self._conversation = conversation
        self._identity = identity
        self._directory = directory
        self._store = store
        self._executor = executor
        self._evidence = evidence
        self._progress = progress
        self._epoch = epoch
        self._reconnect_wait = reconnect_wait
        contributors = {index: outcome.contributors for index, outcome in combiner.outcomes.items()}
        self._gathering = Gathering(combiner.places, contributors)
        self._products = Products(store, manifest.digest, combiner.places)
        self._opened = 0  # chunks that the recipient said it opened
        self._admitting = threading.Lock()  # the residues of all contributors are one set
        self.seconds: dict[str, float] = {"contribute": 0.0, "combine": 0.0, "open": 0.0}

    def run(self) -> tuple[OpenTask, list[NDArray[np.bool_]]]:
        """Run until the recipient has opened the last chunk; the first failure ends everything.

        Returns the recipient's task, which waits for what is next, and the slots that it presented, policy by
        policy, shape (padded,).  Raises JobError, or NodeFailedError naming the node.
        """
        asked = self._ask_again(self._patience())
        if asked is None:
            raise JobError("job: its recipient says that it is over; check its release")
        recipient, presented = asked
        self._combiner.present(presented)
        started = time.monotonic()

        def stop(error: BaseException) -> None:
            self._gathering.fail(error)
            self._products.fail(error)
            self._conversation.abort(error)

        collect = {name: partial(self._collect, name, started) for name in self._manifest.plan.contributors}
        calls: dict[str, Callable[[], OpenTask | None]] = {
            **collect,
            "combine": self._combine,
            "open": partial(self._open, recipient),
        }
        recipient = in_parallel(calls, on_failure=stop)["open"] or recipient
        self.seconds["open"] = time.monotonic() - started - self.seconds["contribute"]
        return recipient, presented

    def conclude(self, recipient: OpenTask, seconds: Mapping[str, float]) -> None:
        """Have the recipient write the results; where its line is lost, bring it everything again.

        Raises NodeFailedError where its circuits cannot be taken up again.
        """
        patience = self._patience()
        while True:
            try:
                return recipient.conclude(seconds, self._conversation.traffic())
            except NodeLostError as error:
                recipient.break_off()
                patience.wait(error)
            asked = self._ask_again(patience)
            if asked is None:  # it had written them
                return None
            recipient = self._open(asked[0])

    def _patience(self) -> Patience:
        return Patience(self._conversation, self._reconnect_wait)

    # The recipient.

    def _ask_again(self, patience: Patience) -> tuple[OpenTask, list[NDArray[np.bool_]]] | None:
        """Begin the opening, or take it up again: the recipient's task, and whom it asks about, policy by policy.

        None where it has written the results.
        """
        draft = self._manifest.draft
        while True:
            try:
                recipient = self._conversation.open(draft.recipient, self._manifest.digest)
            except NodeLostError as error:
                patience.wait(error)
                continue
            try:
                bitmaps = [self._presented(recipient, number) for number in range(len(draft.policies))]
            except NodeLostError as error:
                recipient.break_off()
                patience.wait(error)
                continue
            known = [bitmap for bitmap in bitmaps if bitmap is not None]
            if len(known) < len(bitmaps):
                return None
            self._store.present(self._manifest.digest, b"".join(known))
            return recipient, [_slots(bitmap, draft.padded) for bitmap in known]

    def _presented(self, recipient: OpenTask, policy: int) -> bytes | None:
        """Whom one policy asks about; only the recipient's own people can be."""
        draft = self._manifest.draft
        size = -(-draft.padded // 8)
        people = self._epoch.people[draft.recipient]
        claimed = self._epoch.claims is not None
        answer = recipient.presented(policy, size, VALUE_BYTES * people if claimed else 0)
        if answer is None:
            return None
        bitmap, claims = answer
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

    def _open(self, recipient: OpenTask) -> OpenTask:
        """Bring the recipient every product; where its line is lost, all of them again to its next task."""
        patience = self._patience()
        while True:
            lost = threading.Event()
            try:
                in_parallel(
                    {
                        "send": partial(self._send, recipient, lost),
                        "follow": partial(self._follow, recipient, patience),
                    },
                    on_failure=partial(self._break_off, recipient, lost),
                )
            except NodeLostError as error:
                patience.wait(error)
            else:
                return recipient
            asked = self._ask_again(patience)
            if asked is None:
                raise JobError("job: its recipient says that it is over; check its release")
            recipient = asked[0]

    def _send(self, recipient: OpenTask, lost: threading.Event) -> None:
        for number, place in enumerate(self._combiner.places):
            product = self._products.take(number, lambda: not lost.is_set())
            if product is None:
                return
            recipient.send_combined(*place, product)

    def _break_off(self, recipient: OpenTask, lost: threading.Event, _error: BaseException) -> None:
        lost.set()
        self._products.wake()
        recipient.break_off()

    def _follow(self, recipient: OpenTask, patience: Patience) -> None:
        name = self._manifest.draft.recipient
        people = self._combiner.chunks
        total = people[-1].stop * len(self._combiner.outcomes)
        done = 0
        for number, place in enumerate(self._combiner.places):
            if recipient.opened() != place:
                raise JobError(f"job: {name} opened a chunk out of order; check its release")
            done += people[place[1]].stop - people[place[1]].start
            patience.heard()
            if number >= self._opened:
                patience.progress()
                self._opened = number + 1
                self._progress("open", name, done, total)

    # Contributors.

    def _collect(self, name: str, started: float) -> None:
        identity = self._directory.identity(name)
        people = self._combiner.chunks
        places = self._combiner.places_of(name)
        total = people[-1].stop * len(places) // len(people)
        done = 0
        for number, part in enumerate(self._contributions(name)):
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

    def _contributions(self, name: str) -> Iterator[Contribution]:
        """Yield a contributor's chunks; where its line is lost, it is asked for those that did not come yet."""
        patience = self._patience()
        came = 0
        while True:
            try:
                task = self._conversation.contribute(name, self._manifest.digest, came)
            except NodeLostError as error:
                patience.wait(error)
                continue
            try:
                for part in task.contributions():
                    came += 1
                    patience.progress()
                    yield part
            except NodeLostError as error:
                task.break_off()
                patience.wait(error)
            else:
                return

    # The coordinator's own.

    def _combine(self) -> None:
        combiner = self._combiner
        # Each worker makes its part of the coordinator's ciphertexts, and sizes its table for that.
        workers = self._with_workers(partial(at_once, self._executor))
        expected = -(-combiner.ciphertexts // workers)
        most = max(_UNDER_WAY, 2 * workers)
        under_way: deque[tuple[Place, _Begin, Future[Combined]]] = deque()
        try:
            for place, contributions in self._gathering.complete():
                started = time.monotonic()
                words = combiner.own_words(*place)
                begin = partial(self._executor.submit, combine, combiner.key, contributions, words, expected)
                under_way.append((place, begin, self._with_workers(begin)))
                self.seconds["combine"] += time.monotonic() - started
                while under_way and (len(under_way) == most or under_way[0][-1].done()):
                    self._keep(*under_way.popleft())
            while under_way:
                self._keep(*under_way.popleft())
        finally:
            for _, _, future in under_way:
                future.cancel()

    def _keep(self, place: Place, begin: _Begin, first: Future[Combined]) -> None:
        digest = self._manifest.digest
        outcome, chunk = place
        started = time.monotonic()
        try:
            combined = first.result()
        except WorkersError:  # nothing of it was kept or sent: a new one takes its place
            combined = self._with_workers(lambda: begin().result())
        with self._admitting:
            self._combiner.admit_own(combined)
            statement = signed_combined(digest, outcome, chunk, combined.blank, combined.product)
            self._evidence.combined(
                outcome, chunk, combined.blank, combined.product, self._identity.sign(statement)
            )
        # 4.7: on disk before it leaves.
        self._products.put(StoredChunk(combined.blank, combined.product))
        self.seconds["combine"] += time.monotonic() - started

    def _with_workers(self, call: Callable[[], _T]) -> _T:
        """Do what needs workers; where they are lost, again, for as long as a node would be waited for."""
        patience = self._patience()
        while True:
            try:
                return call()
            except WorkersError as error:
                patience.wait(error)


def _slots(bitmap: bytes, padded: int) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bitmap, np.uint8), count=padded).view(np.bool_)
