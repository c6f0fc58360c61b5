"""What the coordinating office can have done: link a new epoch, run a policy over the newest one."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from datetime import date
from pathlib import Path

from veilmatch_coordinator.client import Nodes
from veilmatch_coordinator.errors import JobError, RequestError
from veilmatch_coordinator.jobs import JobReport, Jobs
from veilmatch_coordinator.linking import Linkage, Progress, link
from veilmatch_coordinator.store import CoordinatorStore
from veilmatch_crypto import KEY_BITS, IdentityKey
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import Epoch, LinkageMode, SlotMode, open_epoch, signed_statement


class Office:
    """The coordinator's work, one thing at a time."""

    def __init__(
        self,
        *,
        identity: IdentityKey,
        directory: Directory,
        store: CoordinatorStore,
        nodes: Nodes,
        executor: Executor,
        evidence: Path,
    ) -> None:
        self._identity = identity
        self._directory = directory
        self._store = store
        self._nodes = nodes
        self._jobs = Jobs(
            identity=identity,
            directory=directory,
            store=store,
            nodes=nodes,
            executor=executor,
            evidence=evidence,
        )
        self._busy = threading.Lock()

    def link(
        self, mode: LinkageMode, slots: SlotMode, reference_date: str, progress: Progress
    ) -> tuple[str, Linkage]:
        """Link a new epoch of all departments; its name and figures.

        Raises CoordinatorError, and ManifestError for register slots that the directory or the
        linkage mode does not allow.
        """
        try:
            day = date.fromisoformat(reference_date)
        except ValueError:
            raise RequestError("office: the reference date is no day; write it as 2025-12-31") from None
        epoch = Epoch(
            epoch=os.urandom(16).hex(),
            federation=self._directory.federation,
            directory=self._directory.digest.hex(),
            linkage=mode,
            slots=slots,
            register=self._directory.register if slots == "register" else None,
            reference_date=day,
            nodes=self._directory.nodes,
            trustees=self._directory.trustees,
        )
        statement = epoch.encode()
        signature = self._identity.sign(signed_statement(statement))
        with self._alone():
            opened = open_epoch(statement, signature, self._directory)
            return epoch.epoch, link(opened, signature, self._nodes, self._store, progress)

    def run(self, policies: Sequence[bytes], key_bits: int, progress: Progress) -> JobReport:
        """Run policies of one recipient over the newest epoch, as one job.

        Raises CoordinatorError or PolicyError.
        """
        if key_bits not in KEY_BITS:
            lengths = " or ".join(map(str, KEY_BITS))
            raise RequestError(f"office: {key_bits} bits is no length of a key; ask for {lengths}")
        with self._alone():
            return self._jobs.run(policies, key_bits, progress)

    def _alone(self) -> "_Turn":
        return _Turn(self._busy)


class _Turn:
    """Holds the office's lock; refuses instead of waiting."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise JobError("office: another job is running; wait until it is done and submit again")

    def __exit__(self, *_: object) -> None:
        self._lock.release()
