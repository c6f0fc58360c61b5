"""A dask cluster of real processes over TLS, as docs/scaling.md has an office start it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from distributed import Security

from veilmatch_transport.workers import Cluster

_SECONDS = 60.0
WITHOUT_DISK = ("--memory-limit", "0")
SETTINGS = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",  # to a machine that is gone
}


class RealCluster:
    """A scheduler and its workers, each a process that writes into a file of its own."""

    def __init__(self, folder: Path, *, protocol: str = "tls") -> None:
        self.folder = folder
        self.protocol = protocol
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        made = Security.temporary()
        for name, pem in (("ca", made.tls_ca_file), ("key", made.tls_client_key)):
            (folder / f"{name}.pem").write_text(pem)
            (folder / f"{name}.pem").chmod(0o600)
        self.workers: list[subprocess.Popen] = []
        self.scheduler = self.start_scheduler()

    @property
    def address(self) -> str:
        return f"{self.protocol}://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Cluster:
        ca = self.folder / "ca.pem"  # which is the certificate of all, too
        return Cluster(f"tls://127.0.0.1:{self.port}", ca, ca, self.folder / "key.pem")

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
        ca, key = self.folder / "ca.pem", self.folder / "key.pem"
        tls = ("--tls-ca-file", ca, "--tls-cert", ca, "--tls-key", key) if self.protocol == "tls" else ()
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
                    *tls,
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, **SETTINGS, "DASK_TEMPORARY_DIRECTORY": str(scratch)},
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
