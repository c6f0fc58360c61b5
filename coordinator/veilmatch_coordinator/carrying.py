"""Carries a node's batches through the trustees and back, several at a time (protocol.md, 3 step 2).

While one trustee has a batch, the next has the one before and the node blinds the one behind.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Lock, Semaphore

from veilmatch_coordinator.client import Batch, LinkTask, TrusteeTask

_IN_FLIGHT = 4  # batches of a node in memory here: as many as it sends before it waits (protocol.md, 3)
_ELEMENT_BYTES = 32


def carry(task: LinkTask, trustees: Sequence[TrusteeTask], *, last: str, told: Callable[[int], None]) -> None:
    """Carry batches until the node says ``last``; the node gets them in the order in which it sent them.

    ``told`` is told of each batch how many identities it had, and nothing more once this has ended.  The first
    failure of node or trustees is raised at once, whatever is under way then: the caller breaks the
    conversation off, which ends it.
    """
    carried: SimpleQueue[Future[Batch] | None] = SimpleQueue()
    room = Semaphore(_IN_FLIGHT)
    failures: list[BaseException] = []
    over, telling = False, Lock()

    def tell(batch: Batch) -> None:
        with telling:
            if not over:
                told(len(batch.elements) // _ELEMENT_BYTES)

    def answer() -> None:
        try:
            while (evaluated := carried.get()) is not None:
                batch = evaluated.result()
                task.answer(batch)
                tell(batch)
                room.release()
        except BaseException as error:
            failures.append(error)
            task.break_off()  # whoever waits for the node's next batch, or for room, is woken
            room.release()
            raise

    pool = ThreadPoolExecutor(_IN_FLIGHT + 1, thread_name_prefix="batches")
    try:
        answering = pool.submit(answer)
        for batch in task.batches(last=last):
            room.acquire()
            carried.put(pool.submit(_evaluate, trustees, batch))
        carried.put(None)
        answering.result()
    except BaseException:
        if failures:
            raise failures[0] from None
        raise
    finally:
        with telling:
            over = True
        carried.put(None)
        pool.shutdown(wait=False)


def _evaluate(trustees: Sequence[TrusteeTask], batch: Batch) -> Batch:
    for trustee in trustees:
        batch = trustee.evaluate(batch)
    return batch
