"""A dask cluster of real processes over TLS, as docs/scaling.md has an office start it, but for the nannies.

A nanny starts its worker again under another process number, which tests that kill workers have to know.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from veilmatch_crypto import LOOPBACK, Validity, issue, make_root
from veilmatch_transport.workers import Cluster

_SECONDS = 60.0
WITHOUT_DISK = ("--memory-limit", "0")
SETTINGS = {
    "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",  # to a machine that is gone
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "60s",  # to a worker that hangs
    "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": '["distributed.http.health"]',
    "DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": '["distributed.http.health"]',
}


class RealCluster:
    """A scheduler and its workers, each a process that writes into a file of its own."""

    def __init__(self, folder: Path, *, protocol: str = "tls") -> None:
        self.folder = folder
        self.protocol = protocol
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        root = make_root("workers of tax", Validity.for_days(2))
        (folder / "workers-ca.pem").write_bytes(root.certificate)
        for name in ("machine", "service"):
            made = issue(root, name, hosts=LOOPBACK, validity=Validity.for_days(1))
            (folder / f"{name}.pem").write_bytes(made.certificate)
            (folder / f"{name}.key").write_bytes(made.key)
            (folder / f"{name}.key").chmod(0o600)
        self.workers: list[subprocess.Popen] = []
        self.scheduler = self.start_scheduler()

    @property
    def address(self) -> str:
        return f"{self.protocol}://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Cluster:
        ca, certificate, key = (
            self.folder / name for name in ("workers-ca.pem", "service.pem", "service.key")
        )
        return Cluster(f"tls://127.0.0.1:{self.port}", ca, certificate, key)

    def start_scheduler(self) -> subprocess.Popen:
        self.scheduler = self._start("scheduler", "--port", str(self.port), "--protocol", self.protocol)
        return self.scheduler

    def start_workers(self, count: int, *more: str) -> None:
        """Start workers and wait until the scheduler has them."""
        before = self.said().count("Register worker")
        options = ("--nthreads", "1", "--no-nanny", *(more or WITHOUT_DISK))
        self.workers += [self._start("worker", self.address, *options) for _ in range(count)]
        deadline = time.monotonic() + _SECONDS
        while self.said().count("Register worker") < before + count:
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def kill(self, process: subprocess.Popen) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()

    def said(self) -> str:
        """All that the cluster's processes wrote."""
        return "".join(path.read_text() for path in self.folder.glob("*.log"))

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            self.kill(process)

    def _start(self, word: str, *more: str) -> subprocess.Popen:
        tls, settings = (), {}
        if self.protocol == "tls":
            files = (self.folder / name for name in ("workers-ca.pem", "machine.pem", "machine.key"))
            tls = [
                part
                for pair in zip(("--tls-ca-file", "--tls-cert", "--tls-key"), files, strict=True)
                for part in pair
            ]
            settings = SETTINGS
        scratch = self.folder / "scratch"
        number = len(list(self.folder.glob("*.log")))
        with (self.folder / f"{number}.log").open("w") as log:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    f"distributed.cli.dask_{word}",
                    *more,
                    "--host",
                    "127.0.0.1",
                    "--no-dashboard",
                    "--dashboard-address",
                    "127.0.0.1:0",
                    *tls,
                ],
                stdout=log,
                stderr=log,
                env={**settings, **os.environ, "DASK_TEMPORARY_DIRECTORY": str(scratch)},
            )


@contextmanager
def real_cluster(folder: Path, workers: int = 2, **options):
    """A cluster with so many workers, killed at the end."""
    cluster = RealCluster(folder, **options)
    try:
        if workers:
            cluster.start_workers(workers)
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder / "scratch", ignore_errors=True)
