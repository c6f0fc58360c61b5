"""A line to a dask cluster over TLS, and what is known of the machines behind it (adr/0028; extra ``dask``).

A worker is asked whether it is fit for secrets when it is first seen; one that does not answer is not waited for,
since every call asks its own worker again (cluster.py).  One that is not fit is left out: calls name the others.
"""

import asyncio
import logging
import ssl
import threading
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from importlib.metadata import version
from typing import Any, Final

import structlog
from distributed import Client, Security, get_worker
from distributed import Future as Task
from distributed.scheduler import Scheduler
from distributed.worker import Worker
from tornado.ioloop import IOLoop

from veilmatch_transport.errors import WorkersError
from veilmatch_transport.workers import Cluster

_CONNECT = 5.0  # seconds for the scheduler to answer, TLS included; and again, where its line was lost
_ANSWER = 2.0  # seconds for a worker to say whether it is fit
RELEASE: Final = version("veilmatch")
_NOISY: Final = ("distributed", "tornado", "bokeh")

_log = structlog.get_logger("veilmatch.transport")


class Line:
    """A line that carries calls to workers that are fit.  Safe for several threads."""

    def __init__(self, cluster: Cluster) -> None:
        """Connect, and look at every machine.

        Raises WorkersError within seconds where the scheduler does not answer or is not fit, or no worker is there
        that is.
        """
        self._where = f"workers: the cluster at {cluster.address}"
        self._threads: Mapping[str, int] = {}  # of each worker, by its address
        self.faults: Mapping[str, str] = {}  # of the workers that are left out
        _through_the_service()
        self._loop = _Loop()
        try:
            self._client = Client(
                cluster.address,
                security=Security(
                    require_encryption=True,
                    tls_ca_file=str(cluster.ca),
                    tls_client_cert=str(cluster.certificate),
                    tls_client_key=str(cluster.key),
                    tls_min_version=ssl.TLSVersion.TLSv1_3,
                ),
                timeout=_CONNECT,
                set_as_default=False,
                loop=self._loop.loop,
            )
        except Exception as error:  # noqa: BLE001  whatever is wrong there, one line says what to look at
            self._loop.end()
            raise WorkersError(
                f"{self._where} does not answer, or not to our certificate ({type(error).__name__}); start its "
                "scheduler, or correct workers.address, ca, certificate and key"
            ) from None
        try:
            self._require_scheduler()
            self.look()
            self.fit()
        except WorkersError:
            self.close()
            raise

    @property
    def holds(self) -> bool:
        """Whether it is not lost."""
        return bool(self._client.status == "running")

    @property
    def threads(self) -> int:
        """How many calls the workers that are fit run at once."""
        return sum(count for worker, count in self._threads.items() if worker not in self.faults)

    def fit(self) -> frozenset[str]:
        """The workers that are fit.  Raises WorkersError where there is none."""
        fit = self._threads.keys() - self.faults.keys()
        if not fit:
            why = next(iter(self.faults.values()), "no worker; start some")
            raise WorkersError(f"{self._where}: {why}")
        return frozenset(fit)

    def look(self) -> None:
        """See which workers there are, and ask those that are new.  Raises WorkersError where nobody says."""
        try:
            self._client.sync(self._look, callback_timeout=_CONNECT)
        except Exception as error:  # noqa: BLE001  whatever dask raises, the scheduler cannot be asked
            raise WorkersError(
                f"{self._where} does not answer any more ({type(error).__name__}); look at the log of its scheduler"
            ) from None

    def leave_out(self, worker: str, fault: str) -> None:
        """Give no more calls to a worker that is not fit."""
        _log.warning("a worker is left out", address=worker, reason=fault)
        self.faults = {**self.faults, worker: fault}

    def submit(self, call: object, name: str) -> tuple[Task[Any], Collection[str]]:
        """Have a worker run ``call``; the task, and the workers that it may go to where it may not go to all.

        Raises WorkersError where no worker is fit, and whatever dask does.
        """
        among = self.fit() if self.faults else frozenset()
        # dask makes a name from the arguments unless it is given one, and scans arguments for other names.
        key = f"{name}-{uuid.uuid4().hex}"
        return self._client.submit(call, key=key, pure=False, workers=sorted(among) or None), among

    def among(self, workers: Collection[str]) -> bool:
        """Whether any of these is still there."""
        return not self._threads.keys().isdisjoint(workers)

    def close(self) -> None:
        """Leave the cluster to itself."""
        with suppress(Exception):  # a scheduler that hangs finds out later
            self._client.close(timeout=_ANSWER)
        self._loop.end()

    def _require_scheduler(self) -> None:
        try:
            fault = self._client.sync(
                self._client.run_on_scheduler, _scheduler_fault, callback_timeout=_CONNECT
            )
        except Exception as error:  # noqa: BLE001  it does not know us
            raise WorkersError(
                f"{self._where} cannot be looked at ({type(error).__name__}); give its scheduler this release of "
                f"veilmatch, {RELEASE}"
            ) from None
        if fault:
            raise WorkersError(f"{self._where}: {fault}")

    async def _look(self) -> None:
        said = await self._client.scheduler.identity(n_workers=-1)
        threads = {worker: int(each["nthreads"]) for worker, each in said["workers"].items()}
        asked = {worker: self._ask(worker) for worker in threads.keys() - self._threads.keys()}
        answers = zip(asked, await asyncio.gather(*asked.values()), strict=True)
        self._threads = threads
        for worker, fault in answers:
            if fault:
                self.leave_out(worker, fault)
        self.faults = {worker: fault for worker, fault in self.faults.items() if worker in threads}

    async def _ask(self, worker: str) -> str:
        """What keeps a worker from being given secrets, in words; empty where it is fit, or says nothing."""
        try:
            asked = self._client.run(_worker_fault, RELEASE, workers=[worker])
            return str((await asyncio.wait_for(asked, _ANSWER))[worker])
        except (TimeoutError, OSError):
            return ""
        except Exception as error:  # noqa: BLE001  it does not know us
            kind = type(error).__name__
            return f"a worker cannot be looked at ({kind}); give it this release of veilmatch, {RELEASE}"


class _Loop:
    """A thread with an event loop for one client: of its own, dask leaves one behind where it cannot connect."""

    loop: IOLoop

    def __init__(self) -> None:
        self._begun, self._over = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run()), name="line to the workers", daemon=True
        )
        self._thread.start()
        self._begun.wait()

    async def _run(self) -> None:
        self.loop = IOLoop.current()
        self._begun.set()
        await self._over.wait()

    def end(self) -> None:
        """End the loop, and whatever still runs in it."""
        with suppress(RuntimeError):  # it has ended
            self.loop.asyncio_loop.call_soon_threadsafe(self._over.set)  # type: ignore[attr-defined]  # not in the stubs
        self._thread.join(_ANSWER)


def fault_here(release: str) -> tuple[str, str]:
    """Of the worker where this runs: its address, and what keeps it from being given secrets."""
    worker = get_worker()
    return worker.address, _fault(worker, release)


# Run at the cluster's machines, which get the parameter of that name from dask.


def _scheduler_fault(dask_scheduler: Scheduler) -> str:
    plain = [listener for listener in dask_scheduler.listeners if not _is_tls(listener.contact_address)]
    return "the scheduler also listens without TLS; set distributed.comm.require-encryption" if plain else ""


def _worker_fault(release: str, dask_worker: Worker) -> str:
    return _fault(dask_worker, release)


def _fault(worker: Worker, release: str) -> str:
    if not _is_tls(worker.address):
        return "a worker listens without TLS; set distributed.comm.require-encryption at every worker"
    if type(worker.data) is not dict:  # else it is a buffer that goes to disk when memory runs short
        return "a worker may write keys to its disk; start every worker with --memory-limit 0"
    if release != RELEASE:
        return f"a worker has veilmatch {RELEASE}, this service {release}; install the same on all"
    return ""


def _is_tls(address: str) -> bool:
    return address.startswith("tls://")


def _through_the_service() -> None:
    """Have what the libraries log go where the service's own lines go (logs.py), and only what is wrong."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.split(".")[0] in _NOISY and isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel(logging.WARNING)
