"""A node erases expired jobs hour after hour, also after an hour in which its store was away."""

import threading
from types import SimpleNamespace

from structlog.testing import capture_logs

from veilmatch_node import serve
from veilmatch_transport.errors import StoreFailedError


def test_a_store_that_was_away_is_asked_again(monkeypatch):
    monkeypatch.setattr(serve, "_ERASE_SECONDS", 0.01)
    asked, erased = [], threading.Event()

    def close_expired():
        asked.append(1)
        if len(asked) < 3:
            raise StoreFailedError("store: its database does not answer; start it")
        erased.set()

    with capture_logs() as logs, serve._erasing(SimpleNamespace(close_expired=close_expired)):
        assert erased.wait(5)
    assert [(each["event"], each["reason"]) for each in logs] == [
        ("expired jobs not erased yet", "store: its database does not answer; start it")
    ] * 2
