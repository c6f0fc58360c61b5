"""Work on the department's own machines: a dask.distributed cluster over TLS (adr/0028; extra ``dask``).

What travels are secrets of jobs: masked words, Paillier's primes at a recipient, randomness where it is drawn.
So the line is TLS with certificates of the cluster's own authority, nothing that stands in a task's name, in a
log or in a failure is made from an argument, and no worker may write what it holds to its disk.

A task that was lost with its worker is done again by the scheduler, with fresh randomness from that worker's
operating system.  That is protocol.md, 4.7: a ciphertext counts from when it is kept and sent, and of all tries
exactly one result comes back to be kept; the others never leave the department.  Two equal calls are two tasks
(``pure=False``): dask would otherwise give one result for both, that is, one ciphertext twice.
"""

import logging
import ssl
import threading
import time
import uuid
from asyncio import CancelledError
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, Final, Generic, ParamSpec, TypeVar

import structlog
from distributed import Client, Security, get_worker
from distributed import Future as Task
from distributed.scheduler import Scheduler
from distributed.worker import Worker

from veilmatch_crypto import Pool
from veilmatch_transport.errors import WorkersError
from veilmatch_transport.workers import Cluster

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CONNECT = 5.0  # seconds for the scheduler to answer, TLS included; and again, where its line was lost
_FETCHES = 8  # results on their way at once: each waits for three machines
_LOOK = 2.0  # seconds between two looks at how many workers there are
_WITHOUT = 60.0  # seconds without any worker until what waits for one fails
_RELEASE: Final = version("veilmatch")
_NOISY: Final = ("distributed", "tornado", "bokeh")

_log = structlog.get_logger("veilmatch.transport")


class ClusterExecutor(Pool):
    """Runs calls on a cluster's workers; outlives its workers, its scheduler and their lines.

    A call whose cluster is lost fails with WorkersError; the next one connects anew, or fails likewise.
    """

    def __init__(self, cluster: Cluster) -> None:
        """Connect, and see that every worker is fit.  Raises WorkersError within seconds otherwise."""
        self._cluster = cluster
        self._under_way: dict[Future[Any], Task[Any]] = {}
        self._changing = threading.Lock()  # what is under way
        self._connecting = threading.Lock()
        _through_the_service()
        self._client, self._threads = _connect(cluster)
        self._fetching = ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch from the workers")
        self._stopped = threading.Event()
        self._watch = threading.Thread(target=self._look, name="watch of the workers", daemon=True)
        self._watch.start()

    @property
    def at_once(self) -> int:
        """How many threads the workers had when they were last counted."""
        return max(1, self._threads)

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Have a worker run ``fn``, which it imports by its name.  Raises WorkersError where there is no cluster.

        Cancelling the future takes the call back, unless a worker has begun with it.
        """
        future: Future[_T] = Future()
        call = _Call(partial(fn, *args, **kwargs))
        client = self._connected()
        try:
            # dask makes a name from the arguments unless it is given one, and scans arguments for other names.
            task = client.submit(call, key=f"{fn.__name__}-{uuid.uuid4().hex}", pure=False)
        except Exception as error:  # noqa: BLE001  whatever dask raises, there is no cluster to work
            raise self._lost(error) from None
        with self._changing:
            self._under_way[future] = task
        future.add_done_callback(self._release)
        task.add_done_callback(partial(self._fetch, future))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002  see below
        """Leave the cluster to itself; what is under way is cancelled: the service ends, nobody waits for it."""
        self._stopped.set()
        for future in self._pending():
            future.cancel()
        with self._connecting:
            self._client.close()
        self._fetching.shutdown(wait=False, cancel_futures=True)
        self._watch.join(_CONNECT)

    def _connected(self) -> Client:
        with self._connecting:
            if self._client.status != "running":
                self._client.close()
                self._client, self._threads = _connect(self._cluster)
                _log.info("connected to the workers again")
            return self._client

    def _fetch(self, future: Future[Any], task: Task[Any]) -> None:
        if not future.done():
            self._fetching.submit(self._deliver, future, task)

    def _deliver(self, future: Future[Any], task: Task[Any]) -> None:
        """Bring a task's outcome."""
        try:
            outcome = task.result()
        except (Exception, CancelledError) as error:  # noqa: BLE001  whatever dask raises, the work is lost
            outcome = _Outcome(failure=self._lost(error))
        self._end(future, outcome)

    def _end(self, future: Future[Any], outcome: "_Outcome") -> None:
        if not self._release(future) or not future.set_running_or_notify_cancel():
            return
        if outcome.failure is not None:
            future.set_exception(outcome.failure)
        else:
            future.set_result(outcome.result)

    def _release(self, future: Future[Any]) -> bool:
        """Have the cluster forget a task: arguments, result, and whether it was ever to run.  False the second time."""
        with self._changing:
            task = self._under_way.pop(future, None)
        if task is None:
            return False
        task.release()
        return True

    def _pending(self) -> list[Future[Any]]:
        with self._changing:
            return list(self._under_way)

    def _look(self) -> None:
        """Count the workers; what waits for one in vain ends in words and not never."""
        seen = time.monotonic()
        while not self._stopped.wait(_LOOK):
            client = self._client
            if client.status != "running":
                continue  # whatever was under way has failed with the line
            with suppress(Exception):  # the line is being lost: the last count stays
                self._threads = _threads(client)
            if self._threads or not (pending := self._pending()):
                seen = time.monotonic()
            elif time.monotonic() - seen >= _WITHOUT:
                lost = WorkersError(
                    f"workers: the cluster at {self._cluster.address} has no worker any more; start some"
                )
                for future in pending:
                    self._end(future, _Outcome(failure=lost))

    def _lost(self, error: BaseException) -> WorkersError:
        """Only the kind: dask's own texts may quote what it could not handle."""
        return WorkersError(
            f"workers: the cluster at {self._cluster.address} lost work ({type(error).__name__}); "
            "look at the logs of its scheduler and its workers"
        )


@dataclass(frozen=True, eq=False, repr=False)
class _Outcome:
    """What a call came to; dask sees neither the result nor the failure, which it would write into logs."""

    result: Any = None
    failure: Exception | None = None


@dataclass(frozen=True, eq=False, repr=False)
class _Call(Generic[_T]):
    """A call with its arguments, as one thing whose text says nothing: what it is to dask's logs and pages."""

    call: Callable[[], _T]
    release: str = _RELEASE

    def __call__(self) -> _Outcome:
        """Run at a worker, one that joined late included."""
        fault = _fault(get_worker(), self.release)
        if fault:
            return _Outcome(failure=WorkersError(f"workers: {fault}"))
        try:
            return _Outcome(self.call())
        except Exception as error:  # noqa: BLE001  an executor hands every failure to its future
            return _Outcome(failure=error)


def _connect(cluster: Cluster) -> tuple[Client, int]:
    """Connect and look at every machine.  Returns the line and how many threads the workers have."""
    where = f"workers: the cluster at {cluster.address}"
    try:
        client = Client(
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
        )
    except Exception as error:  # noqa: BLE001  whatever is wrong there, one line says what to look at
        raise WorkersError(
            f"{where} does not answer, or not to our certificate ({type(error).__name__}); start its scheduler, "
            "or correct workers.address, ca, certificate and key"
        ) from None
    try:
        faults = _faults(client)
        threads = _threads(client)
    except Exception as error:  # noqa: BLE001  a machine that does not know us
        client.close()
        raise WorkersError(
            f"{where} cannot be looked at ({type(error).__name__}); give its scheduler and its workers this "
            f"release of veilmatch, {_RELEASE}"
        ) from None
    if not threads:
        faults.append("no worker; start some")
    if faults:
        client.close()
        raise WorkersError(f"{where}: {faults[0]}")
    return client, threads


def _faults(client: Client) -> list[str]:
    """What keeps the cluster's machines from being given secrets, in words; a machine a line."""
    found = [client.run_on_scheduler(_scheduler_fault), *client.run(_worker_fault, _RELEASE).values()]
    return [fault for fault in found if fault]


def _threads(client: Client) -> int:
    return int(client.scheduler_info(n_workers=0)["total_threads"])


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
        return (
            "a worker may write keys to its disk; set distributed.worker.memory.target and .spill to false at every "
            "worker"
        )
    if release != _RELEASE:
        return f"a worker has veilmatch {_RELEASE}, this service {release}; install the same on all"
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
