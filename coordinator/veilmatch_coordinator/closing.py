"""The end of a job at all of its parties (protocol.md, 4.7 and 7).

Each is told to erase the job's keys, and says what it recorded; then what an auditor gets is signed.  A party
that cannot be reached is told later, also by a coordinator that was killed meanwhile, until the manifest has
expired and the party has erased them by itself.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import structlog

from veilmatch_coordinator.client import Conversation, Nodes
from veilmatch_coordinator.errors import NodeFailedError
from veilmatch_coordinator.evidence import EvidenceFolder, JobEvidence, JobName
from veilmatch_coordinator.heads import Heads
from veilmatch_coordinator.parallel import in_parallel
from veilmatch_coordinator.store import CoordinatorStore
from veilmatch_evidence.errors import EvidenceError
from veilmatch_policy.clock import Clock
from veilmatch_policy.manifest import Draft, Manifest
from veilmatch_policy.policy import parse_policy
from veilmatch_transport import reason_of

_log = structlog.get_logger(__name__)


class Closing:
    """Closes the jobs of one coordinator."""

    def __init__(
        self,
        store: CoordinatorStore,
        nodes: Nodes,
        heads: Heads,
        evidence: EvidenceFolder,
        coordinator: str,
        clock: Clock,
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._heads = heads
        self._evidence = evidence
        self._coordinator = coordinator
        self._clock = clock
        self._held: set[bytes] = set()  # digests of manifests that a thread works on
        self._stopped = threading.Event()
        self._changing = threading.Condition()

    @contextmanager
    def held(self, manifest: Manifest) -> Iterator[None]:
        """While the context is open a job runs, and nobody else closes it."""
        with self._changing:
            self._held.add(manifest.digest)
        try:
            yield
        finally:
            self._let_go(manifest.digest)

    def stop(self, within: float) -> None:
        """Close nothing more, and wait ``within`` seconds until no thread works on a job.

        A thread that waits for a node has to be woken by others (Nodes.break_off).
        """
        with self._changing:
            self._stopped.set()
            self._changing.wait_for(lambda: not self._held, within)

    def close(self, manifest: Manifest, evidence: JobEvidence) -> None:
        """End a job at all of its parties; those that cannot be reached now are told later.

        Whatever fails here, too: what the job gave, or why it ended, stands.
        """
        try:
            self._close(manifest.digest, manifest.draft, lambda: evidence)
        except Exception as error:  # noqa: BLE001  disk, log or store; `close_others` tries again
            _log.warning("job not closed", job=manifest.draft.job, reason=reason_of(error))

    def close_others(self) -> None:
        """End the jobs that no thread works on: of before a restart, and where a party could not be reached.

        Raises what the store does where it does not say which ones those are.
        """
        for data in self._store.unfinished():
            draft, digest = Manifest.draft_of(data), Manifest.digest_of(data)
            with self._changing:
                if self._stopped.is_set() or digest in self._held:
                    continue
                self._held.add(digest)
            try:
                self._close(digest, draft, partial(self._evidence.resume, name_of(draft, digest)))
            except Exception as error:  # noqa: BLE001  disk, log or store; the next round tries again
                _log.warning("job not closed", job=draft.job, reason=reason_of(error))
            finally:
                self._let_go(digest)

    def _let_go(self, digest: bytes) -> None:
        with self._changing:
            self._held.discard(digest)
            self._changing.notify_all()

    def _close(self, digest: bytes, draft: Draft, resume: Callable[[], JobEvidence | None]) -> None:
        self._store.start_closing(digest, draft.participants)
        waiting = self._store.to_close(digest)
        told = self._tell(waiting, digest, draft)
        over = told.keys() >= set(waiting) or self._clock() >= draft.expires
        if not told and not over:
            return  # taking up a folder reads all of it: not in every round for a party that is away for days
        if self._stopped.is_set():
            return  # the next life of this service closes the same jobs, in the same folders
        evidence = resume()
        if self._stopped.is_set():  # while it was read
            return
        for name, recorded in told.items():
            if evidence is not None:
                evidence.recorded(name, recorded)
            self._store.closed_at(digest, name)
        if over:
            if evidence is not None:
                evidence.finish(self._coordinator)
            self._store.close_job(digest)

    def _tell(self, names: Sequence[str], digest: bytes, draft: Draft) -> Mapping[str, bytes]:
        """Tell parties that a job is over; what each of those that could be reached recorded of it."""
        with self._nodes.conversation() as conversation:
            calls = {name: partial(self._tell_one, conversation, name, digest, draft.job) for name in names}
            told = in_parallel(calls, on_failure=conversation.abort)
        return {name: recorded for name, recorded in told.items() if recorded is not None}

    def _tell_one(self, conversation: Conversation, name: str, digest: bytes, job: str) -> bytes | None:
        try:
            with self._heads.turn(name):
                head, recorded = conversation.close_job(name, digest, self._heads.known())
                self._heads.take(name, head)
        except (NodeFailedError, EvidenceError) as error:
            _log.warning("job not closed", node=name, job=job, reason=str(error))
            return None
        return recorded


def name_of(draft: Draft, digest: bytes) -> JobName:
    """How the evidence calls a job."""
    policy = parse_policy(draft.policies[0].encode(), "policy")
    return JobName(draft.job, digest.hex(), policy.name)
