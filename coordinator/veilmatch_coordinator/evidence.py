"""What the coordinator records of a job, and puts together for an auditor (protocol.md, 7).

Each step is in the log before the next; the folder holds manifest, approvals, signed contributions, B, the
products and every party's records (veilmatch_evidence.package).  Nothing here opens anything: never mask
keys, B's words, slots or any private key.
"""

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
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
from veilmatch_policy.manifest import Manifest
from veilmatch_policy.policy import Policy


class JobEvidence:
    """One job's records and folder.

    Every method raises LogError where the log takes nothing more, and OSError where the disk does not take a file.
    """

    def __init__(self, folder: Path, manifest: Manifest, log: EvidenceLog, identity: IdentityKey) -> None:
        self._writer = PackageWriter(folder, manifest.draft.job)
        self._manifest = manifest
        self._log = log
        self._identity = identity
        self._one_machine = False
        self._complete = False
        self._writing = threading.Lock()

    def begin(self, drawn: DrawnUp, directory: Directory, epoch: OpenEpoch, operator: str) -> None:
        """Record who asked for what, and keep what the job rests on, before any node has the manifest."""
        job = self._manifest.draft.job
        contents = tuple(approved_content(policy).hex() for policy in self._manifest.policies)
        self._log.append(Submitted(job=job, operator=operator, content=contents))
        self._log.append(Drafted(job=job, draft=hashlib.sha256(drawn.draft).hexdigest()))
        self._log.append(ManifestMade(**self._of(), epoch=self._manifest.draft.epoch))
        self._one_machine = any(each.decision.by == "one-machine" for each in drawn.approvals)
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
        copies = [{"manifest_sha256": self._manifest.digest.hex(), **result} for result in results]
        text = json.dumps(copies, ensure_ascii=False, sort_keys=True, indent=2)
        self._writer.put(package.REPORT, f"{text}\n".encode())
        self._complete = True

    def recorded(self, name: str, lines: bytes) -> None:
        """Keep what a node recorded of the job; nothing where it never started there."""
        if lines:
            with self._writing:
                self._writer.put(package.log_name(name), lines)

    def finish(self) -> None:
        """Close the coordinator's own records and sign the list of files: also of a job that ended without a result."""
        self._log.append(Closed(**self._of()))
        job = self._manifest.draft.job
        coordinator = next(iter(self._manifest.keys.keys() - set(self._manifest.draft.participants)))
        self._writer.put(package.log_name(coordinator), self._log.of_job(job))
        trust: package.Trust = "one-machine" if self._one_machine else "federation"
        status: package.Status = "complete" if self._complete else "ended"
        self._writer.finish(self._identity, trust, status)

    def _of(self) -> dict[str, str]:
        return {"job": self._manifest.draft.job, "manifest": self._manifest.digest.hex()}
