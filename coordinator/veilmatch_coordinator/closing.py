"""The end of a job at all of its parties (protocol.md, 4.7 and 7).

Each is told to erase the job's keys, and says what it recorded; then what an auditor gets is signed.  A party
that cannot be reached is told later, also by a coordinator that was killed meanwhile, until the manifest has
expired and the party has erased them by itself.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import structlog

from veilmatch_coordinator.client import Conversation, Nodes
from veilmatch_coordinator.errors import CoordinatorError, NodeFailedError
from veilmatch_coordinator.evidence import EvidenceFolder, JobEvidence, JobName
from veilmatch_coordinator.heads import Heads
from veilmatch_coordinator.parallel import in_parallel
from veilmatch_coordinator.store import CoordinatorStore
from veilmatch_evidence.errors import EvidenceError
from veilmatch_policy.clock import Clock
from veilmatch_policy.manifest import Draft, Manifest
from veilmatch_policy.policy import parse_policy

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
        self._changing = threading.Lock()

    @contextmanager
    def held(self, manifest: Manifest) -> Iterator[None]:
        """While the context is open a job runs, and nobody else closes it."""
        with self._changing:
            self._held.add(manifest.digest)
        try:
            yield
        finally:
            with self._changing:
                self._held.discard(manifest.digest)

    def close(self, manifest: Manifest, evidence: JobEvidence) -> None:
        """End a job at all of its parties; those that cannot be reached now are told later."""
        self._close(manifest.digest, manifest.draft, evidence)

    def close_others(self) -> None:
        """End the jobs that no thread works on: of before a restart, and where a party could not be reached."""
        for data in self._store.unfinished():
            draft, digest = Manifest.draft_of(data), Manifest.digest_of(data)
            with self._changing:
                if digest in self._held:
                    continue
                self._held.add(digest)
            try:
                self._close(digest, draft, self._evidence.resume(name_of(draft, digest)))
            except (OSError, CoordinatorError, EvidenceError) as error:  # the next round tries again
                _log.warning("job not closed", job=draft.job, reason=str(error))
            finally:
                with self._changing:
                    self._held.discard(digest)

    def _close(self, digest: bytes, draft: Draft, evidence: JobEvidence | None) -> None:
        self._store.start_closing(digest, draft.participants)
        self._tell(self._store.to_close(digest), digest, draft, evidence)
        if self._store.to_close(digest) and self._clock() < draft.expires:
            return
        if evidence is not None:
            evidence.finish(self._coordinator)
        self._store.close_job(digest)

    def _tell(self, names: Sequence[str], digest: bytes, draft: Draft, evidence: JobEvidence | None) -> None:
        with self._nodes.conversation() as conversation:
            calls = {
                name: partial(self._tell_one, conversation, name, digest, draft, evidence) for name in names
            }
            in_parallel(calls, on_failure=conversation.abort)

    def _tell_one(
        self,
        conversation: Conversation,
        name: str,
        digest: bytes,
        draft: Draft,
        evidence: JobEvidence | None,
    ) -> None:
        try:
            with self._heads.turn(name):
                head, recorded = conversation.close_job(name, digest, self._heads.known())
                self._heads.take(name, head)
        except (NodeFailedError, EvidenceError) as error:
            _log.warning("job not closed", node=name, job=draft.job, reason=str(error))
            return
        if evidence is not None:
            evidence.recorded(name, recorded)
        self._store.closed_at(digest, name)


def name_of(draft: Draft, digest: bytes) -> JobName:
    """How the evidence calls a job."""
    policy = parse_policy(draft.policies[0].encode(), "policy")
    return JobName(draft.job, digest.hex(), policy.name)
