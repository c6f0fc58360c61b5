"""A node's part in jobs: under a started manifest, until it is closed (protocol.md, 4.7).

Contribute, tell who lives with whom, deal, open: only what ``starting`` has recorded as started.  No network: the
service carries the bytes.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto import (
    IdentityKey,
    Pool,
    Sealed,
    SealError,
    at_once,
    encrypt_chunk,
    open_seed,
)
from veilmatch_node.answers import DataFolder
from veilmatch_node.contributor import Contributor
from veilmatch_node.dealer import Dealer
from veilmatch_node.errors import JobRefusedError
from veilmatch_node.frozen import FrozenAnswers
from veilmatch_node.in_order import in_order
from veilmatch_node.job_log import JobLog
from veilmatch_node.job_secrets import JobSecrets
from veilmatch_node.newest import Newest
from veilmatch_node.opening import Opening
from veilmatch_node.people import SlotTable
from veilmatch_node.recipient import Recipient
from veilmatch_node.results import write_files
from veilmatch_node.rights import Rights
from veilmatch_node.starting import AskedJob, Starting, linked_epoch
from veilmatch_node.states import State
from veilmatch_node.store import NodeStore, StoredChunk
from veilmatch_policy.clock import Clock, utc_now
from veilmatch_policy.directory import Directory
from veilmatch_policy.manifest import Manifest, reopen_manifest, signed_contribution


@dataclass(frozen=True)
class SignedChunk:
    """A contribution as it leaves: its place, its ciphertexts and this node's signature."""

    outcome: int
    chunk: int
    ciphertexts: bytes
    signature: bytes


class NodeJobs:
    """All jobs of one node."""

    def __init__(
        self,
        name: str,
        *,
        identity: IdentityKey,
        directory: Directory,
        store: NodeStore,
        data: DataFolder,
        executor: Pool,
        rights: Rights,
        log: JobLog,
        clock: Clock = utc_now,
    ) -> None:
        self.name = name
        self._identity = identity
        self._directory = directory
        self._store = store
        self._executor = executor
        self._rights = rights
        self._clock = clock
        self._newest = Newest()
        self._starting = Starting(
            name,
            identity=identity,
            directory=directory,
            store=store,
            data=data,
            rights=rights,
            log=log,
            clock=clock,
        )
        self.log = log

    def ask(self, sources: Sequence[bytes], epoch: bytes, sent: int) -> AskedJob:
        """Begin a job, once what has expired is erased; see Starting.ask."""
        self.close_expired()
        return self._starting.ask(sources, epoch, sent)

    def contribute(self, digest: bytes, have: int = 0) -> Iterator[SignedChunk]:
        """Yield this node's contributions under a started manifest, in order, but for the first ``have``.

        What was made before is resent byte for byte; what is new is on disk before it is yielded
        (4.7).  Raises JobRefusedError where the manifest never started here, or was asked for again meanwhile,
        StoreError where it is closed meanwhile.
        """
        manifest, secrets, answers = self._started(digest)
        turn = self._newest.take(digest)
        known = self.log.on_record(manifest).contributed
        contributor = Contributor(
            manifest,
            self.name,
            coordinator=self._directory.coordinator,
            agreement=secrets.agreement,
            noise_secret=secrets.noise,
            answers=answers,
        )

        # Each worker makes its part of them, and sizes its table for that.
        workers = at_once(self._executor)
        expected = -(-contributor.expected // workers)

        def encrypting() -> Iterator[tuple[tuple[int, int, StoredChunk | None], Future[bytes]]]:
            for outcome, chunk in contributor.places()[have:]:
                made = self._store.chunk(digest, outcome, chunk)
                if made is None:
                    words = contributor.words(outcome, chunk)
                    call = self._executor.submit(encrypt_chunk, contributor.key, words, expected)
                else:
                    call = Future()
                    call.set_result(made.ciphertexts)
                yield (outcome, chunk, made), call

        for (outcome, chunk, made), ciphertexts in in_order(encrypting(), workers):
            self.require_still(manifest)
            with turn.step():
                kept = made or self._keep(manifest, outcome, chunk, ciphertexts)
                # Also of what was made before: whoever was killed between disk and log did not write it down.
                if (outcome, chunk) not in known:
                    self.log.contributed(manifest, outcome, chunk, kept.ciphertexts)
            yield SignedChunk(outcome, chunk, kept.ciphertexts, kept.signature)

    def delivered(self, digest: bytes) -> bool:
        """Whether this recipient has a job's results, and the coordinator did not hear of it."""
        return self._store.state(digest) is State.DELIVERED

    def write_results(self, folder: Path) -> None:
        """Write delivered results whose files a crash left out."""
        for digest, results in self._store.to_write().items():
            write_files(folder, results)
            self._store.written(digest)

    def begin_opening(self, digest: bytes) -> Opening:
        """Begin the recipient's part in a started manifest, or take it up again where its line was lost.

        Raises JobRefusedError once the circuits began or a check slot was wrong: what failed its check is never
        opened again (4.5), and a circuit is not run twice (4.7).
        """
        manifest, secrets, answers = self._started(digest)
        self.require_still(manifest)
        if secrets.paillier is None:
            raise JobRefusedError("job", f"{self.name} is not its recipient", "open it at the recipient")
        _, stored = linked_epoch(self._store, bytes.fromhex(manifest.draft.epoch))
        self._store.move(digest, State.OPENING)
        turn = self._newest.take(digest)
        recipient = Recipient(manifest, agreement=secrets.agreement, key=secrets.paillier, answers=answers)
        known = self.log.on_record(manifest)
        return Opening(
            manifest,
            recipient,
            SlotTable.decode(stored.people),
            self._store,
            self.log,
            turn,
            known,
            self.require_still,
        )

    def labels(self, digest: bytes) -> NDArray[np.uint32]:
        """Return who lives with whom: the registrar's labels by slot (3, step 6).

        Raises JobRefusedError at any other node.
        """
        manifest, _, answers = self._started(digest)
        self.require_still(manifest)
        if answers.labels is None:
            raise JobRefusedError("job", f"{self.name} keeps no register for it", "ask its registrar")
        self.log.told_households(manifest)
        return answers.labels

    def deal(self, digest: bytes) -> tuple[Manifest, Dealer]:
        """Return a started manifest and the dealer's protocol object, once ever (5.4).

        Raises JobRefusedError the second time, and at a node that is not the manifest's dealer.
        """
        manifest, _, _ = self._started(digest)
        if manifest.draft.dealer != self.name:
            raise JobRefusedError(
                "job", f"{self.name} is not its dealer", "ask the one that the manifest names"
            )
        self._store.move(digest, State.DEALING)
        return manifest, Dealer(
            manifest,
            self.name,
            self._directory.coordinator,
            identity=self._identity,
            next_sequence=self._store.next_sequence,
        )

    def open_seed(self, digest: bytes, sealed: bytes) -> bytes:
        """Open the dealer's seed, as the recipient.

        Raises SignatureRefusedError where the dealer did not sign it for this job, JobRefusedError where it
        does not open.
        """
        manifest, secrets, _ = self._started(digest)
        dealer = manifest.draft.dealer
        if dealer is None:
            raise JobRefusedError(
                "job", "has no dealer, and needs no circuit", "check the coordinator's release"
            )
        try:
            return open_seed(
                Sealed.from_bytes(sealed),
                dealer,
                self.name,
                manifest=digest,
                key=secrets.agreement,
                dealer_identity=self._directory.identity(dealer),
            )
        except SealError:  # not this node's own vault: the coordinator may know
            raise JobRefusedError(
                "job", f"the seed of {dealer} does not open at {self.name}", "submit it again"
            ) from None

    def close_expired(self) -> None:
        """Erase jobs that nobody closed and whose manifests have expired."""
        for data in self._store.close_expired(self._clock()):
            digest = Manifest.digest_of(data)
            self._newest.end(digest)
            self.log.closed(Manifest.job_of(data), digest)

    def close(self, digest: bytes) -> bytes:
        """Erase a job's keys, answers and ciphertexts; what this node recorded of it, for the evidence."""
        self._newest.end(digest)
        self._store.close_job(digest)
        manifest = self._store.manifest(digest)
        # Also of a job that was closed before: the answer may have been lost.
        return b"" if manifest is None else self.log.closed(Manifest.job_of(manifest), digest)

    def require_still(self, manifest: Manifest) -> None:
        """Raise RuleError where an approval that a job rests on was revoked while it ran."""
        with self.log.refusing(manifest.draft.job):
            self._rights.require_still(manifest.digest)

    def _keep(self, manifest: Manifest, outcome: int, chunk: int, ciphertexts: bytes) -> StoredChunk:
        digest = manifest.digest
        signature = self._identity.sign(signed_contribution(digest, outcome, chunk, ciphertexts))
        return self._store.keep_chunk(digest, outcome, chunk, StoredChunk(ciphertexts, signature))

    def _started(self, digest: bytes) -> tuple[Manifest, JobSecrets, FrozenAnswers]:
        job = self._store.job(digest)
        if job is None:
            raise JobRefusedError("job", "never started at this node, or is closed", "submit it again")
        epoch, _ = linked_epoch(self._store, Manifest.epoch_of(job.manifest))
        manifest = reopen_manifest(job.manifest, self._directory, epoch)
        if manifest.draft.expires <= self._clock():
            raise JobRefusedError("job", "its manifest has expired", "submit it again")
        secrets = JobSecrets.decode(job.secrets, manifest.draft.key_bits)
        return manifest, secrets, FrozenAnswers.decode(job.answers)
