"""A service's life ends by signal, by breaking, or to begin anew once nothing runs."""

import os
import signal
import threading
import time

import pytest
from structlog.testing import capture_logs

from veilmatch_transport import ListenError, SettingsError, limits
from veilmatch_transport.lifetime import Anew, End, Lifetime, live


@pytest.fixture
def lifetime():
    with Lifetime() as living:
        yield living


def soon(act, *given):
    """Do something a moment after the wait began."""
    threading.Timer(0.05, act, given).start()


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(lifetime, number):
    soon(send, number)
    assert lifetime.wait() is End.STOPPED
    assert not lifetime.told_to_end()
    send(number)
    assert lifetime.told_to_end()  # a second one: whoever stops, stops at once


def test_what_broke_ends_it(lifetime):
    broken = threading.Event()
    soon(broken.set)
    assert lifetime.wait(broken) is End.BROKEN


def test_it_begins_anew_when_nothing_runs_any_more(lifetime):
    running = threading.Event()
    asked = []

    def again():
        asked.append(1)
        threading.Timer(0.3, running.set).start()
        return True

    soon(send, signal.SIGHUP)
    began = time.monotonic()
    assert lifetime.wait(again=again, idle=running.is_set) is End.ANEW
    assert time.monotonic() - began >= 0.3
    assert asked == [1]


def test_it_begins_anew_in_any_case_after_a_while(lifetime, monkeypatch):
    monkeypatch.setattr(limits, "RELOAD_WAIT", 0.2)
    send(signal.SIGHUP)
    assert lifetime.wait(again=lambda: True, idle=lambda: False) is End.ANEW


def test_what_is_refused_is_said_and_nothing_ends(lifetime):
    def refused():
        raise SettingsError("node.toml: name: is missing; see docs/configuration.md")

    anew = Anew(refused)
    with capture_logs() as logs:
        send(signal.SIGHUP)
        soon(send, signal.SIGTERM)
        assert lifetime.wait(again=anew) is End.STOPPED
    assert anew.found is None
    [line] = [each for each in logs if each["event"] == "not begun anew, nothing changed"]
    assert line["reason"] == "node.toml: name: is missing; see docs/configuration.md"


def test_what_nobody_foresaw_in_new_files_is_refused_too(lifetime):
    anew = Anew(lambda: {}["a cell"])
    with capture_logs() as logs:
        assert not anew()
    assert "a cell" not in str(logs)


def test_a_signal_to_end_goes_before_beginning_anew(lifetime):
    send(signal.SIGHUP)
    soon(send, signal.SIGTERM)
    assert lifetime.wait(again=lambda: True, idle=lambda: False) is End.STOPPED


def test_handlers_are_as_they_were():
    before = signal.getsignal(signal.SIGHUP)
    with Lifetime():
        assert signal.getsignal(signal.SIGHUP) is not before
    assert signal.getsignal(signal.SIGHUP) is before


def test_a_second_reading_that_is_refused_leaves_the_first_in_force(lifetime):
    found, idle = iter(["good"]), threading.Event()

    def read():
        for each in found:
            return each
        raise SettingsError("node.toml: name: is missing")

    anew = Anew(read)
    with capture_logs() as logs:
        send(signal.SIGHUP)
        threading.Timer(0.3, send, [signal.SIGHUP]).start()
        threading.Timer(0.8, idle.set).start()
        assert lifetime.wait(again=anew, idle=idle.is_set) is End.ANEW
    assert anew.found == "good"
    [line] = [each for each in logs if each["log_level"] == "error"]
    assert line["event"] == "begins anew with what was read before, not with this"


class Service:
    """Serves with what it reads, and begins anew at once; what it is given and what it cannot serve with."""

    def __init__(self, *read, refused=()):
        self.reads, self.times = iter(read), len(read)
        self.refused, self.served = refused, []

    def read(self, old):
        assert old == (self.served[-1] if self.served else None)
        return next(self.reads)

    def serve(self, what, lifetime, anew):
        if what in self.refused:
            raise ListenError(f"{what}: cannot listen there")
        self.served.append(what)
        send(signal.SIGHUP if len(self.served) < self.times else signal.SIGTERM)
        return lifetime.wait(again=anew)


def test_what_cannot_be_served_with_leaves_what_was_there():
    service = Service("old", "busy", "new", refused={"busy"})
    with capture_logs() as logs:
        live(service.read, service.serve)
    assert service.served == ["old", "old", "new"]
    [line] = [each for each in logs if each["log_level"] == "error"]
    assert (line["event"], line["reason"]) == (
        "not begun anew, goes on as before",
        "busy: cannot listen there",
    )


def test_a_first_beginning_that_fails_is_raised():
    with pytest.raises(ListenError, match="busy"):
        live(Service("busy", refused={"busy"}).read, Service("busy", refused={"busy"}).serve)


def test_what_breaks_while_it_serves_is_raised_also_after_it_began_anew():
    service = Service("old", "new")

    def serve(what, lifetime, anew):
        service.serve(what, lifetime, anew)
        if what == "new":
            raise SettingsError("the log cannot be written")
        return End.ANEW

    with pytest.raises(SettingsError, match="the log cannot be written"):
        live(service.read, serve)
    assert service.served == ["old", "new"]
