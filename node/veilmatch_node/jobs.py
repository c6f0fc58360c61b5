"""A node's part in jobs: from the draft to the closed manifest (protocol.md, 4.7 and 7).

The order is the protocol's: verify the draft against this node's own directory, epoch, catalog
and plan; give fresh keys; verify the manifest; read the data; record the manifest as started with
everything it froze; only then contribute or open.  No network: the service carries the bytes.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import UTC, datetime

from veilmatch_crypto import AgreementKey, IdentityKey, PrivateKey, PublicKey, encrypt_chunk, generate
from veilmatch_node.answers import DataFolder, FrozenAnswers, answer
from veilmatch_node.contributor import Contributor
from veilmatch_node.errors import JobRefusedError
from veilmatch_node.in_order import in_order
from veilmatch_node.people import SlotTable
from veilmatch_node.recipient import Recipient
from veilmatch_node.report import Report
from veilmatch_node.store import NodeStore, StoredChunk, StoredEpoch, StoredJob
from veilmatch_policy.check import DepartmentTask, check_department
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import OpenEpoch, reopen_epoch
from veilmatch_policy.manifest import (
    Draft,
    Manifest,
    PartyKeys,
    open_draft,
    open_manifest,
    reopen_manifest,
    signed_contribution,
    signed_keys,
)
from veilmatch_policy.policy import Policy

_SECRET_BYTES = 32


@dataclass(frozen=True)
class _Secrets:
    """This node's secrets of a job, erased when it closes."""

    agreement: AgreementKey
    noise: bytes
    paillier: PrivateKey | None

    def __repr__(self) -> str:
        return "_Secrets(...)"

    @classmethod
    def draw(cls, paillier: PrivateKey | None) -> "_Secrets":
        return cls(AgreementKey.generate(), os.urandom(_SECRET_BYTES), paillier)

    def encode(self) -> bytes:
        key = b"" if self.paillier is None else self.paillier.to_bytes()
        return self.agreement.to_bytes() + self.noise + key

    @classmethod
    def decode(cls, data: bytes, key_bits: int) -> "_Secrets":
        agreement, noise, key = (
            data[:_SECRET_BYTES],
            data[_SECRET_BYTES : 2 * _SECRET_BYTES],
            data[2 * _SECRET_BYTES :],
        )
        paillier = PrivateKey.from_bytes(key, key_bits) if key else None
        return cls(AgreementKey.from_bytes(agreement), noise, paillier)


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
        executor: Executor,
    ) -> None:
        self.name = name
        self._identity = identity
        self._directory = directory
        self._store = store
        self._data = data
        self._executor = executor

    def prepare(self, draft: bytes) -> "PreparedJob":
        """Verify a draft and give fresh keys for it (7, steps 1 and 2).

        Raises PolicyError where this node refuses the draft.
        """
        self.close_expired()
        epoch, stored = self._epoch_of(draft)
        parsed, policy = open_draft(draft, self._directory, epoch, stored.padded, now=datetime.now(UTC))
        if self.name not in parsed.participants:
            raise JobRefusedError(
                "job", f"{self.name} has no part in this policy", "submit it to its participants"
            )
        task = check_department(policy, self._data.catalog)
        asks = self.name == parsed.recipient
        if asks and parsed.recipient_rows != len(SlotTable.decode(stored.people).slots):
            raise JobRefusedError("job", "states another number of the recipient's rows", "link again")
        secrets = _Secrets.draw(generate(parsed.key_bits) if asks else None)
        keys = self._sign(draft, secrets)
        return PreparedJob(self, draft, parsed, policy, task, stored, secrets, keys)

    def contribute(self, digest: bytes) -> Iterator[SignedChunk]:
        """Yield this node's contributions under a started manifest, in order.

        What was made before is resent byte for byte; what is new is on disk before it is yielded
        (4.7).  Raises JobRefusedError where the manifest never started here, StoreError where it is closed
        meanwhile.
        """
        manifest, secrets, answers = self._started(digest)
        contributor = Contributor(
            manifest,
            self.name,
            coordinator=self._directory.coordinator,
            agreement=secrets.agreement,
            noise_secret=secrets.noise,
            holds=answers.holds,
        )

        def encrypting() -> Iterator[tuple[tuple[int, int, StoredChunk | None], Future[bytes]]]:
            for outcome, chunk in contributor.places():
                made = self._store.chunk(digest, outcome, chunk)
                if made is None:
                    words = contributor.words(outcome, chunk)
                    call = self._executor.submit(encrypt_chunk, contributor.key, words, contributor.expected)
                else:
                    call = Future()
                    call.set_result(made.ciphertexts)
                yield (outcome, chunk, made), call

        for (outcome, chunk, made), ciphertexts in in_order(encrypting()):
            kept = made or self._keep(digest, outcome, chunk, ciphertexts)
            yield SignedChunk(outcome, chunk, kept.ciphertexts, kept.signature)

    def begin_opening(self, digest: bytes) -> Recipient:
        """Return the recipient's protocol object of a started manifest, once ever.

        What failed its check is never opened again, nor anything else under its masks (4.5 and
        4.7).  Raises JobRefusedError the second time.
        """
        manifest, secrets, answers = self._started(digest)
        if secrets.paillier is None:
            raise JobRefusedError("job", f"{self.name} is not its recipient", "open it at the recipient")
        self._store.start_opening(digest)
        return Recipient(
            manifest,
            agreement=secrets.agreement,
            key=secrets.paillier,
            presented=answers.presented,
            own=answers.holds,
        )

    def manifest(self, digest: bytes) -> tuple[Manifest, SlotTable]:
        """Return a started manifest and the slots of this node's people in its epoch."""
        manifest, _, _ = self._started(digest)
        stored = self._store.epoch(bytes.fromhex(manifest.draft.epoch))
        if stored is None:
            raise JobRefusedError("job", "its epoch is not this node's newest", "submit it again")
        return manifest, SlotTable.decode(stored.people)

    def close_expired(self) -> None:
        """Erase jobs that nobody closed and whose manifests have expired."""
        self._store.close_expired(datetime.now(UTC))

    def close(self, digest: bytes) -> None:
        """Erase a job's keys, answers and ciphertexts."""
        self._store.close_job(digest)

    def _keep(self, digest: bytes, outcome: int, chunk: int, ciphertexts: bytes) -> StoredChunk:
        signature = self._identity.sign(signed_contribution(digest, outcome, chunk, ciphertexts))
        return self._store.keep_chunk(digest, outcome, chunk, StoredChunk(ciphertexts, signature))

    def _sign(self, draft: bytes, secrets: _Secrets) -> PartyKeys:
        paillier = b"" if secrets.paillier is None else secrets.paillier.public.to_bytes()
        signature = self._identity.sign(signed_keys(draft, self.name, secrets.agreement.public, paillier))
        return PartyKeys(
            name=self.name,
            agreement=secrets.agreement.public.hex(),
            paillier=paillier.hex(),
            signature=signature.hex(),
        )

    def _epoch_of(self, draft: bytes) -> tuple[OpenEpoch, StoredEpoch]:
        context = Draft.epoch_of(draft)
        stored = self._store.epoch(context)
        if stored is None:
            raise JobRefusedError(
                "job", "names an epoch that is not the newest linked at this node", "link, then submit again"
            )
        return reopen_epoch(stored.statement), stored

    def _started(self, digest: bytes) -> tuple[Manifest, _Secrets, FrozenAnswers]:
        job = self._store.job(digest)
        if job is None:
            raise JobRefusedError("job", "never started at this node, or is closed", "submit it again")
        manifest = reopen_manifest(job.manifest)
        if manifest.draft.expires <= datetime.now(UTC):
            raise JobRefusedError("job", "its manifest has expired", "submit it again")
        secrets = _Secrets.decode(job.secrets, manifest.draft.key_bits)
        return manifest, secrets, FrozenAnswers.decode(job.answers, manifest.draft.padded)

    def start(self, prepared: "PreparedJob", data: bytes, tell_owner: Callable[[Report], None]) -> Manifest:
        """Verify the manifest, freeze the answers, and record both as started (7, step 3)."""
        manifest = open_manifest(data, prepared.draft, prepared.policy, self._directory, prepared.keys)
        key = manifest.paillier()  # refuses a key that has not the form of 4.1
        answers = answer(
            self._data,
            prepared.task,
            SlotTable.decode(prepared.epoch.people),
            manifest.draft.padded,
            reference_date=manifest.draft.reference_date,
            asks=self.name == manifest.draft.recipient,
            tell_owner=tell_owner,
        )
        job = StoredJob(data, prepared.secrets.encode(), answers.encode())
        self._store.start_job(manifest.digest, job, key=_modulus_hash(key), expires=manifest.draft.expires)
        return manifest


def _modulus_hash(key: PublicKey) -> bytes:
    """What is remembered of a key; without h, or the same modulus would pass under another h."""
    return hashlib.sha256(key.n.to_bytes(key.bits // 8, "big")).digest()


@dataclass(frozen=True)
class PreparedJob:
    """A draft that this node agreed to, with the keys that it gave for it."""

    jobs: NodeJobs
    draft: bytes
    parsed: Draft
    policy: Policy
    task: DepartmentTask
    epoch: StoredEpoch
    secrets: _Secrets
    keys: PartyKeys

    def __repr__(self) -> str:
        return f"PreparedJob({self.parsed.job})"

    def start(self, manifest: bytes, tell_owner: Callable[[Report], None]) -> Manifest:
        """See NodeJobs.start; ``tell_owner`` is given what became of the rows."""
        return self.jobs.start(self, manifest, tell_owner)
