"""What the coordinator records of a job, and puts together for an auditor (protocol.md, 7).

Each step is in the log before the next; the folder holds manifest, approvals, signed contributions, B, the
products and every party's records (veilmatch_evidence.package).  Nothing here opens anything: never mask
keys, B's words, slots or any private key.
"""

import hashlib
import json
import shutil
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from veilmatch_coordinator.drafting import DrawnUp
from veilmatch_crypto import IdentityKey
from veilmatch_evidence import package
from veilmatch_evidence.actions import Closed, Combined, Delivered, Drafted, ManifestMade, Received, Submitted
from veilmatch_evidence.log import EvidenceLog
from veilmatch_evidence.package import PackageWriter
from veilmatch_policy import canonical
from veilmatch_policy.approvals import approved_content
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import OpenEpoch, signed_statement
from veilmatch_policy.manifest import Draft, Manifest
from veilmatch_policy.policy import Policy

# What is there before any node has the manifest.
_FIRST = frozenset(
    {
        package.DIRECTORY,
        package.DIRECTORY_SIGNATURE,
        package.ROOT,
        package.EPOCH,
        package.EPOCH_SIGNATURE,
        package.MANIFEST,
        package.APPROVALS,
    }
)


@dataclass(frozen=True)
class JobName:
    """Which job, which manifest (SHA-256, hex), and the first policy's name, under which auditors find it."""

    job: str
    manifest: str
    policy: str


class JobEvidence:
    """One job's records and folder.

    Every method raises LogError where the log takes nothing more, and OSError where the disk does not take a file.
    The folder stands beside the finished ones until it is ``finish``ed itself: there a reader finds it whole
    or not at all.
    """

    def __init__(
        self,
        writer: PackageWriter,
        unfinished: Path,
        finished: Path,
        job: JobName,
        log: EvidenceLog,
        identity: IdentityKey,
    ) -> None:
        self._writer = writer
        self._unfinished = unfinished
        self._finished = finished
        self._name = job
        self._log = log
        self._identity = identity
        self._writing = threading.Lock()

    def begin(self, drawn: DrawnUp, directory: Directory, epoch: OpenEpoch, operator: str) -> None:
        """Record who asked for what, and keep what the job rests on, before any node has the manifest."""
        job = self._name.job
        contents = tuple(approved_content(policy).hex() for policy in drawn.manifest.policies)
        self._log.append(Submitted(job=job, operator=operator, content=contents))
        self._log.append(Drafted(job=job, draft=hashlib.sha256(drawn.draft).hexdigest()))
        self._log.append(ManifestMade(**self._of(), epoch=drawn.manifest.draft.epoch))
        approvals = [
            {
                "department": each.decision.request.department,
                "statement": each.statement.decode(),
                "signature": each.signature.hex(),
            }
            for each in drawn.approvals
        ]
        signature = self._identity.sign(signed_statement(epoch.statement))
        for name, data in (
            (package.DIRECTORY, directory.file),
            (package.DIRECTORY_SIGNATURE, directory.signature.hex().encode()),
            (package.ROOT, directory.root.hex().encode()),
            (package.EPOCH, epoch.statement),
            (package.EPOCH_SIGNATURE, signature.hex().encode()),
            (package.MANIFEST, drawn.data),
            (package.APPROVALS, canonical.encode(approvals)),
        ):
            self._writer.put(name, data)
        self._writer.sync()

    # A chunk's files are not waited for: where a power cut takes one, the job has ended with it, and what cannot be
    # multiplied any more is left out.  All are on disk before `report` says that there are results.

    def contribution(self, name: str, outcome: int, chunk: int, ciphertexts: bytes, signature: bytes) -> None:
        """Keep a contribution with its maker's signature over its digest."""
        with self._writing:
            sha256 = self._writer.contribution(name, outcome, chunk, ciphertexts, signature)
            self._log.append(
                Received(**self._of(), department=name, outcome=outcome, chunk=chunk, sha256=sha256)
            )

    def combined(self, outcome: int, chunk: int, blank: bytes, product: bytes, signature: bytes) -> None:
        """Keep the coordinator's own ciphertexts and the product, with its signature over both digests."""
        with self._writing:
            own, made = self._writer.combined(outcome, chunk, blank, product, signature)
            self._log.append(Combined(**self._of(), outcome=outcome, chunk=chunk, blank=own, product=made))

    def delivered(self, policy: Policy) -> None:
        """A count is about to be kept; which one it is, the report says."""
        self._log.append(Delivered(**self._of(), policy=policy.name))

    def report(self, results: Sequence[Mapping[str, object]]) -> None:
        """Keep the coordinator's copies of the results, which say nothing about matches but what policies reveal."""
        self._writer.sync()
        copies = [{"manifest_sha256": self._name.manifest, **result} for result in results]
        text = json.dumps(copies, ensure_ascii=False, sort_keys=True, indent=2)
        self._writer.put(package.REPORT, f"{text}\n".encode())
        self._writer.sync()

    def recorded(self, name: str, lines: bytes) -> None:
        """Keep what a node recorded of the job; nothing where it never started there, or the evidence is signed."""
        if lines and not self._writer.finished:
            self._writer.drop(package.log_name(name))  # where a node was asked again
            self._writer.put(package.log_name(name), lines)

    def finish(self, coordinator: str) -> None:
        """Close the coordinator's own records, sign the list of files, and put the folder where auditors look.

        Also of a job that ended without a result.  Of one that ended before any node had its manifest nothing
        is left.  Where that was cut short, the next one goes on: what is signed only takes its place.
        """
        if self._writer.finished or self._writer.files >= _FIRST:
            self._finished.parent.mkdir(parents=True, exist_ok=True)
            if not self._writer.finished:
                self._sign(coordinator)
            self._writer.publish(self._finished)
        else:
            shutil.rmtree(self._unfinished)
        with suppress(OSError):  # others are in it
            self._unfinished.parent.rmdir()

    def _sign(self, coordinator: str) -> None:
        draft = Manifest.draft_of((self._unfinished / package.MANIFEST).read_bytes())
        self._log.append(Closed(**self._of()))
        self._writer.drop(package.log_name(coordinator))
        self._writer.put(package.log_name(coordinator), self._log.of_job(self._name.job))
        self._writer.drop_partial({outcome.index: outcome.contributors for outcome in draft.outcomes})
        self._writer.finish(self._identity, self._trust(), self._status(draft))

    def _status(self, draft: Draft) -> package.Status:
        """Of a complete job nothing may be missing: who could not be told of its end leaves it without its records."""
        needed = {package.REPORT, *map(package.log_name, draft.participants)}
        return "complete" if self._writer.files >= needed else "ended"

    def _trust(self) -> package.Trust:
        """Whether one machine approved in the name of all officers."""
        approvals = json.loads((self._unfinished / package.APPROVALS).read_bytes())
        alone = any(json.loads(each["statement"])["by"] == "one-machine" for each in approvals)
        return "one-machine" if alone else "federation"

    def _of(self) -> dict[str, str]:
        return {"job": self._name.job, "manifest": self._name.manifest}


class EvidenceFolder:
    """Where the evidence of all jobs is."""

    def __init__(self, folder: Path, log: EvidenceLog, identity: IdentityKey) -> None:
        """Take the folder of finished packages; those that are not stand beside it, in FOLDER.unfinished."""
        self._folder = folder
        self._beside = folder.with_name(f"{folder.name}.unfinished")
        self._log = log
        self._identity = identity

    def begin(self, job: JobName) -> JobEvidence:
        """Make a new job's folder."""
        unfinished = self._beside / job.job
        return self._evidence(PackageWriter(unfinished, job.job), unfinished, job)

    def resume(self, job: JobName) -> JobEvidence | None:
        """Take up a job's folder after a restart; None where it is finished, or was never begun."""
        unfinished = self._beside / job.job
        if not unfinished.exists():
            return None
        return self._evidence(PackageWriter.resume(unfinished, job.job), unfinished, job)

    def _evidence(self, writer: PackageWriter, unfinished: Path, job: JobName) -> JobEvidence:
        finished = self._folder / job.policy / job.job
        return JobEvidence(writer, unfinished, finished, job, self._log, self._identity)
