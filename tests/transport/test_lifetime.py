"""A service's life ends by signal, by breaking, or to begin anew once nothing runs."""

import os
import signal
import threading
import time

import pytest
from structlog.testing import capture_logs

from veilmatch_transport import SettingsError, limits
from veilmatch_transport.lifetime import Anew, End, Lifetime


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
