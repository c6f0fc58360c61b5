"""Chunks of several outcomes, each with contributors of its own, leave whole and in the manifest's order."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from veilmatch_coordinator.errors import JobError
from veilmatch_coordinator.gathering import WINDOW, Gathering

CONTRIBUTORS = {
    0: ["housing", "tax"],
    3: ["tax"],
    4: ["civil", "tax"],
}  # an outcome without any has no number
CHUNKS = 2 * WINDOW
PLACES = [(outcome, chunk) for outcome in CONTRIBUTORS for chunk in range(CHUNKS)]


def made(name, place):
    return f"{name} {place}".encode()


def places_of(name):
    return [place for place in PLACES if name in CONTRIBUTORS[place[0]]]


def unwanted(gathering, name, place):
    with pytest.raises(JobError, match=f"^job: {name} sent a chunk twice or one that was not asked for; "):
        gathering.put(name, place, b"")


def test_every_place_is_complete_with_its_own_outcomes_contributors_in_order():
    gathering = Gathering(PLACES, CONTRIBUTORS)

    def send(name, pause):
        for place in places_of(name):
            gathering.put(name, place, made(name, place))
            time.sleep(pause)

    with ThreadPoolExecutor(3) as pool:
        # Who contributes to the last outcome only is there first, and must wait for the others.
        sending = [pool.submit(send, *each) for each in (("civil", 0), ("tax", 0.001), ("housing", 0))]
        taken = list(gathering.complete())
    for each in sending:
        each.result()
    assert [place for place, _ in taken] == PLACES
    for (outcome, chunk), parts in taken:
        assert list(parts) == CONTRIBUTORS[outcome]
        assert parts == {name: made(name, (outcome, chunk)) for name in CONTRIBUTORS[outcome]}


def test_the_window_is_over_all_outcomes():
    """A chunk a window ahead waits, also where it is the first of its outcome."""
    gathering = Gathering(
        [(0, 0), (1, 0), *((2, chunk) for chunk in range(WINDOW))], dict.fromkeys(range(3), "a")
    )
    for place in [(0, 0), (1, 0), *((2, chunk) for chunk in range(WINDOW - 2))]:
        gathering.put("a", place, b"here")
    came = threading.Event()

    def put():
        gathering.put("a", (2, WINDOW - 2), b"late")
        came.set()

    waiting = threading.Thread(target=put)
    waiting.start()
    assert not came.wait(0.05)
    assert next(gathering.complete()) == ((0, 0), {"a": b"here"})
    assert came.wait(5)
    waiting.join()


def test_what_was_not_asked_for_is_refused():
    gathering = Gathering(PLACES, CONTRIBUTORS)
    for name, place in (
        ("civil", (0, 0)),  # contributes to another outcome
        ("stranger", (0, 0)),
        ("tax", (1, 0)),  # no such outcome
        ("tax", (0, CHUNKS)),  # no such chunk
    ):
        unwanted(gathering, name, place)
    gathering.put("tax", (0, 0), b"first")
    unwanted(gathering, "tax", (0, 0))
    gathering.put("housing", (0, 0), b"other")
    assert next(gathering.complete()) == ((0, 0), {"housing": b"other", "tax": b"first"})
    unwanted(gathering, "tax", (0, 0))  # taken already


def test_the_first_failure_wakes_everybody_and_stays():
    gathering = Gathering(PLACES, CONTRIBUTORS)
    failed = []

    def wait(action):
        try:
            action()
        except KeyError as error:
            failed.append(error)

    threads = [
        threading.Thread(target=wait, args=(action,))
        for action in (
            lambda: next(gathering.complete()),
            lambda: gathering.put("civil", (4, 0), b""),  # far ahead
        )
    ]
    for thread in threads:
        thread.start()
    cause = KeyError("the cause")
    gathering.fail(cause)
    gathering.fail(KeyError("what followed"))
    for thread in threads:
        thread.join(5)
    assert failed == [cause, cause]
    with pytest.raises(KeyError, match="the cause"):
        gathering.put("tax", (0, 0), b"")
