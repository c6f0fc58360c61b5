"""The coordinator's configuration file: its keys, state and peers (docs/configuration.md)."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from veilmatch_coordinator.patience import RECONNECT_WAIT
from veilmatch_coordinator.queue import Limits
from veilmatch_transport import StoreAddress, Workers, WorkersSettings
from veilmatch_transport.settings import (
    LEAST_LOG,
    Federation,
    LoggingSettings,
    MetricsSettings,
    Section,
    Tls,
    Unlock,
)


class Keys(Section):
    """Files of private keys, mode 0600: 32 bytes in hex, or encrypted (veilmatch_crypto.key_files)."""

    identity: Path  # Ed25519: signs
    unlock: Unlock | None = None  # where the passphrase of encrypted keys is: file:PATH or env:NAME


class CoordinatorConfig(Section):
    """The whole file."""

    name: str
    listen: str  # host:port to listen on
    workers: Workers = WorkersSettings()  # that combine
    store: StoreAddress  # SQLite file, made when absent, or postgresql:// URL
    evidence: Path  # folder for what an auditor gets
    log: Path  # the hash-chained log of what the coordinator did, made when absent
    jobs_at_once: Annotated[int, Field(ge=1, le=16)] = 2
    queued_jobs: Annotated[int, Field(ge=1, le=10_000)] = 50  # an operator's that have not begun to run
    approval_retry: Annotated[int, Field(ge=1, le=86_400)] = 60  # seconds
    approval_wait: Annotated[int, Field(ge=1, le=365)] = 30  # days
    reconnect_wait: Annotated[int, Field(ge=0, le=86_400)] = RECONNECT_WAIT  # seconds
    keep_jobs: Annotated[int, Field(ge=1, le=3_650)] = 90  # days
    keep_evidence: Annotated[int, Field(ge=1, le=36_500)] | None = None  # days; None: for good
    keep_log: Annotated[int, Field(ge=LEAST_LOG, le=36_500)] | None = None  # days that its texts are kept
    federation: Federation
    tls: Tls
    keys: Keys
    metrics: MetricsSettings | None = None
    logging: LoggingSettings = LoggingSettings()

    def limits(self) -> Limits:
        """What the queue keeps to."""
        return Limits(
            jobs_at_once=self.jobs_at_once,
            queued_jobs=self.queued_jobs,
            approval_retry=timedelta(seconds=self.approval_retry),
            approval_wait=timedelta(days=self.approval_wait),
            keep_jobs=timedelta(days=self.keep_jobs),
        )
