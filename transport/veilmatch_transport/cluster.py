"""Work on the department's own machines: a dask.distributed cluster over TLS (adr/0028; extra ``dask``).

What travels are secrets of jobs: masked words, Paillier's primes at a recipient, a trustee's scalar, randomness
where it is drawn.  So the line is TLS with certificates of the cluster's own authority, nothing that stands in a
task's name, in a log or in a failure is made from an argument, and no worker may write what it holds to its disk.

A task that was lost with its worker is done again by the scheduler, with fresh randomness from that worker's
operating system.  That is protocol.md, 4.7: a ciphertext counts from when it is kept and sent, and of all tries
exactly one result comes back to be kept; the others never leave the department.  Two equal calls are two tasks
(``pure=False``): dask would otherwise give one result for both, that is, one ciphertext twice.
"""

import threading
import time
from asyncio import CancelledError
from collections.abc import Callable, Collection
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

import structlog
from distributed import Future as Task

from veilmatch_transport.checks import unusable
from veilmatch_transport.errors import WorkersError
from veilmatch_transport.health import Finding, degraded, ok
from veilmatch_transport.machines import RELEASE, Line, fault_here
from veilmatch_transport.workers import Cluster

_P = ParamSpec("_P")
_T = TypeVar("_T")

_FETCHES = 8  # results on their way at once: each waits for three machines
_LOOK = 2.0  # seconds between two looks at the workers
_WITHOUT = 60.0  # seconds without any worker until what waits for one fails; and for a result to come
_OVER = "cannot schedule new futures after shutdown"  # the standard library's words

_log = structlog.get_logger("veilmatch.transport")


class ClusterExecutor(Executor):
    """Runs calls on a cluster's workers; outlives its workers, its scheduler and their lines.

    It connects beside its caller, or when it is first used.  A call whose cluster is lost fails with WorkersError;
    the next one connects anew, or fails likewise.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._line: Line | None = None
        self._under_way: dict[Future[Any], _Sent] = {}
        self._found = ok(f"{cluster.address} was not looked at yet")
        self._stopped = threading.Event()
        self._changing = threading.Lock()  # of the three above
        self._connecting = threading.Lock()
        self._fetching = ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch from the workers")
        self._watch = threading.Thread(target=self._look, name="watch of the workers", daemon=True)
        self._watch.start()

    @property
    def at_once(self) -> int:
        """How many threads the workers had when they were last counted.  Raises WorkersError as ``submit``."""
        return max(1, self._connected().threads)

    def look(self) -> Finding:
        """Look at all machines.  Raises WorkersError within seconds where none can be given work."""
        line = self._connected()
        line.look()
        line.fit()
        said = f"{self._cluster.address} answers, {line.threads} threads work at once"
        if line.faults:
            return degraded(
                f"{said}; {len(line.faults)} workers are left out", next(iter(line.faults.values()))
            )
        return ok(said)

    def health(self) -> Finding:
        """What the last look of the watch found; waits for nobody."""
        return self._found

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Have a worker run ``fn``, which it imports by its name.

        Cancelling the future takes the call back, unless a worker has begun with it.
        Raises WorkersError where there is no cluster, or none of its workers is fit; RuntimeError after ``shutdown``.
        """
        future: Future[_T] = Future()
        self._send(future, _Call(partial(fn, *args, **kwargs), getattr(fn, "__name__", "call")))
        future.add_done_callback(self._release)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002  see below
        """Leave the cluster to itself; what is under way is cancelled: the service ends, nobody waits for it."""
        with self._changing:
            self._stopped.set()
            line, pending = self._line, list(self._under_way)
        for future in pending:
            future.cancel()
        if line is not None:
            line.close()
        self._fetching.shutdown(wait=False, cancel_futures=True)

    def _connected(self) -> Line:
        with self._connecting:
            with self._changing:
                if self._stopped.is_set():
                    raise RuntimeError(_OVER)
                before = self._line
            if before is not None:
                if before.holds:
                    return before
                before.close()
            line = Line(self._cluster)
            with self._changing:
                self._line, over = line, self._stopped.is_set()
            if over:
                line.close()
                raise RuntimeError(_OVER)
            _log.info("connected to the workers")
            return line

    def _send(self, future: Future[Any], call: "_Call[Any]") -> None:
        """Give a call to a worker that is fit.  Raises as ``submit``."""
        line = self._connected()
        try:
            task, among = line.submit(call, call.name)
        except WorkersError:
            raise
        except Exception as error:  # noqa: BLE001  whatever dask raises, there is no cluster to work
            raise self._lost(error) from None
        sent = _Sent(call, task, among)
        with self._changing:
            over = self._stopped.is_set()
            if not over:
                self._under_way[future] = sent
        if over:
            task.release()
            raise RuntimeError(_OVER)
        task.add_done_callback(partial(self._fetch, future, sent))
        if future.done():  # cancelled while it was sent again
            self._release(future)

    def _fetch(self, future: Future[Any], sent: "_Sent", _: Task[Any]) -> None:
        if not future.done():
            self._fetching.submit(self._deliver, future, sent)

    def _deliver(self, future: Future[Any], sent: "_Sent") -> None:
        """Bring a task's outcome."""
        try:
            outcome = sent.task.result(_WITHOUT)
        except (Exception, CancelledError) as error:  # noqa: BLE001  whatever dask raises, the work is lost
            outcome = _Outcome(failure=self._lost(error))
        if not outcome.fault:
            self._end(future, sent, outcome)
            return
        if self._line is not None:
            self._line.leave_out(outcome.worker, outcome.fault)
        self._send_again(future, sent)

    def _send_again(self, future: Future[Any], sent: "_Sent") -> None:
        """Have another worker do what that one may not, or those cannot any more."""
        if not self._forget(future, sent):
            return
        try:
            self._send(future, sent.call)
        except (WorkersError, RuntimeError) as error:
            _tell(future, _Outcome(failure=error))

    def _end(self, future: Future[Any], sent: "_Sent", outcome: "_Outcome") -> None:
        if self._forget(future, sent):
            _tell(future, outcome)

    def _release(self, future: Future[Any]) -> None:
        """Of a future that is done, have the cluster forget what is still under way."""
        sent = self._under_way.get(future)
        if sent is not None:
            self._forget(future, sent)

    def _forget(self, future: Future[Any], sent: "_Sent") -> bool:
        """Have the cluster forget a task: arguments, result, and whether it was ever to run.

        False where that was done before: the call was cancelled, has ended, or was sent again.
        """
        with self._changing:
            if self._under_way.get(future) is not sent:
                return False
            del self._under_way[future]
        sent.task.release()
        return True

    def _pending(self) -> list[tuple[Future[Any], "_Sent"]]:
        with self._changing:
            return list(self._under_way.items())

    def _look(self) -> None:
        """Look again and again; what waits for a worker in vain goes to another, or ends in words and not never."""
        seen = time.monotonic()
        while not self._stopped.wait(_LOOK):
            try:
                self._found = self.look()
                seen = time.monotonic()
            except WorkersError as error:
                self._found = unusable(error)
            except RuntimeError:  # it is over
                return
            line, pending = self._line, self._pending()
            if line is None or not pending:
                seen = time.monotonic()
            elif time.monotonic() - seen >= _WITHOUT:
                lost = WorkersError(
                    f"workers: the cluster at {self._cluster.address} has no worker any more that answers; start some"
                )
                for future, sent in pending:
                    self._end(future, sent, _Outcome(failure=lost))
            else:
                for future, sent in pending:
                    if sent.among and not line.among(sent.among):
                        self._send_again(future, sent)

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
    worker: str = ""
    fault: str = ""  # why that worker did not do it


def _tell(future: Future[Any], outcome: _Outcome) -> None:
    """Give a future its outcome, unless it was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    if outcome.failure is not None:
        future.set_exception(outcome.failure)
    else:
        future.set_result(outcome.result)


@dataclass(frozen=True, eq=False, repr=False)
class _Call(Generic[_T]):
    """A call with its arguments, as one thing whose text says nothing: what it is to dask's logs and pages."""

    call: Callable[[], _T]
    name: str
    release: str = RELEASE

    def __call__(self) -> _Outcome:
        """Run at a worker, one that joined late included."""
        worker, fault = fault_here(self.release)
        if fault:
            return _Outcome(worker=worker, fault=fault)
        try:
            return _Outcome(self.call())
        except Exception as error:  # noqa: BLE001  an executor hands every failure to its future
            return _Outcome(failure=error)


@dataclass(frozen=True, eq=False, repr=False)
class _Sent:
    """A call on its way: its task, and the workers that it may go to where it may not go to all."""

    call: _Call[Any]
    task: Task[Any]
    among: Collection[str]
