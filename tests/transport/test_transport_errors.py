import errno

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilmatch_transport import as_refusal, errors, limits
from veilmatch_transport.errors import (
    CODE_KEY,
    PUBLIC,
    Code,
    PeerRefusedError,
    PeerUnavailableError,
    RefusalError,
    StoreFailedError,
    one_line,
    peer_error,
)


class Failure(grpc.RpcError):
    def __init__(self, status, details="", code=None):
        self._parts = status, details, ((CODE_KEY, code),) if code else ()

    def code(self):
        return self._parts[0]

    def details(self):
        return self._parts[1]

    def trailing_metadata(self):
        return self._parts[2]


def test_every_code_has_a_status_and_one_line_of_public_text():
    assert set(PUBLIC) == set(Code)
    for status, text in PUBLIC.values():
        assert isinstance(status, grpc.StatusCode)
        assert status is not grpc.StatusCode.OK
        assert text == one_line(text)


def test_the_reason_is_private_and_the_detail_is_public():
    refusal = RefusalError(
        Code.DATA_REFUSED, "12 rows\nare ragged", detail="2 per cent of the rows are refused"
    )
    assert str(refusal) == "12 rows are ragged"
    assert refusal.public == "this department's data is refused: 2 per cent of the rows are refused"
    assert RefusalError(Code.MALFORMED, "field 3 is empty").public == PUBLIC[Code.MALFORMED][1]


def test_what_a_machine_runs_out_of_is_said_without_paths_or_values():
    full = as_refusal(OSError(errno.ENOSPC, "of 110199193001010018", "/srv/tax/people.csv"))
    assert (full.code, full.public) == (
        Code.MACHINE_FAILED,
        "this party's machine fails: No space left on device",
    )
    store = as_refusal(StoreFailedError("/srv/tax.sqlite: the store is locked"))
    assert (store.code, store.public) == (
        Code.MACHINE_FAILED,
        "this party's machine fails: its store cannot be used",
    )
    assert as_refusal(OSError("of 110199193001010018")).public == PUBLIC[Code.INTERNAL][1]


@pytest.mark.parametrize("code", Code)
def test_a_code_crosses_the_wire(code):
    status, text = PUBLIC[code]
    error = peer_error("tax", Failure(status, text, code.value))
    assert str(error) == f"tax: {text}"
    if code is Code.STOPPING:
        assert isinstance(error, PeerUnavailableError)
    else:
        assert isinstance(error, PeerRefusedError)
        assert error.code is code


def test_a_code_that_we_do_not_know_is_none():
    error = peer_error("tax", Failure(grpc.StatusCode.ABORTED, "no", "from-the-future"))
    assert isinstance(error, PeerRefusedError)
    assert error.code is None


def test_a_connection_lost_in_the_middle_is_not_a_failed_handshake():
    failure = Failure(grpc.StatusCode.UNAVAILABLE, "Stream removed (Socket closed)")
    assert str(peer_error("tax", failure)) == "tax: the connection was lost; look at its log"


@given(st.sampled_from(grpc.StatusCode), st.text(), st.sampled_from([None, *Code, "?"]))
def test_whatever_a_peer_says_is_one_printable_line_that_names_it(status, details, code):
    text = str(peer_error("tax", Failure(status, details, code)))
    assert text.isprintable()
    assert text.startswith("tax: ")
    assert len(text) < limits.PUBLIC_TEXT + 100


def test_long_texts_are_cut():
    assert len(one_line("x" * 5000)) == limits.PUBLIC_TEXT
    assert one_line("a\x1b[31m\r\nb") == "a [31m b"


def test_all_exceptions_share_the_base():
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
    assert all(issubclass(c, errors.TransportError) for c in classes)
