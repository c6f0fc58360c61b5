"""No log line holds anything personal: a federation full of marked values works and fails, and its lines are read."""

import base64
import logging
import threading
from contextlib import suppress

import grpc
import pytest
from fakes.federation import Federation, Given, csv_text, tap_on
from google.protobuf.wrappers_pb2 import BytesValue

from veilmatch_crypto import LOOPBACK, Validity, fingerprint, issue, make_root
from veilmatch_node import answers
from veilmatch_node.linkage import NodeLinkage
from veilmatch_node.store import NodeStore
from veilmatch_transport import PeerError, RoleGate, Server, TlsIdentity, call, open_channel, server_name
from veilmatch_transport.logs import writing
from veilmatch_transport.settings import LoggingSettings

NAMES = ("housing", "police", "social", "tax")
PEOPLE = 60
LINE = 77_123_457  # the policy's amount
CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: opaque
    refused_at_most: 5
    columns:
      name_{name}: {{type: text, release: open}}
      amount_{name}: {{type: integer, release: open, missing: 0, range: [0, 900000000]}}
"""
POLICY = f"""
policy: aid
recipient: social
among: "amount_social > 0"
parameters: {{line: {{value: {LINE}, allow: [1, 99999999]}}}}
conditions:
  poor: {{department: tax, where: "amount_tax < :line"}}
  here: {{department: police, where: "name_police LIKE 'Zaunkönig%'"}}
  rent: {{department: housing, where: "amount_housing > 1"}}
"""


def person(name, number):
    """A row: identifier, name, amount, none of which occurs anywhere else."""
    return f"ZEISIG{number:05d}", f"Zaunkönig {name} {number}", str(700_000_000 + 1_357 * number)


def table(name, *more):
    rows = [person(name, number) for number in range(PEOPLE)]
    header = ("number", f"name_{name}", f"amount_{name}")
    return Given(CATALOG.format(name=name), {"people.csv": csv_text(header, [*rows, *more])})


def marks(federation):
    """Every text that no line may hold, in the ways in which it could be written."""
    said = [str(LINE), f"{LINE:,}", "ZEISIG", "Zaunk", "Zaunk\\u00f6nig"]
    said += [cell for name in NAMES for number in range(PEOPLE) for cell in person(name, number)[1:]]
    secrets = [
        secret
        for node in federation.nodes.values()
        for key in (node.keys.identity, node.keys.sealing, node.keys.officer)
        for secret in [key.to_bytes()]
    ]
    secrets += [bytes([number + 1]) * 32 for number in range(len(NAMES))]  # the vaults' keys
    for secret in secrets:
        said += [secret.hex(), base64.b64encode(secret).decode(), repr(secret)[2:-1]]
    return said


@pytest.fixture
def logged(request, capfd):
    """Everything that a service would have written so far, by any way; as in a process of its own."""
    lines = []

    def so_far():
        out, err = capfd.readouterr()
        lines.append(out + err)
        return "".join(lines)

    with writing(LoggingSettings(format=getattr(request, "param", "json"), level="debug")):
        yield so_far


def quoting(*_given, **_named):
    """Raise as a library does: the message holds a cell, and so does what it was raised from."""
    try:
        {}["Zaunkönig tax 7"]
    except KeyError as error:
        raise ValueError(f"could not convert {person('tax', 7)} below {LINE}") from error


def test_a_federation_that_works_and_fails_writes_nothing_personal(tmp_path, logged, monkeypatch):
    tables = {name: table(name) for name in NAMES}
    # Cells and identifiers that are refused: the reports have them, the logs must not.
    tables["tax"] = table("tax", ("", "Zaunkönig", "700000001"), ("ZEISIG00007", "Zaunkönig", "ZEISIG"))
    with Federation(tmp_path, tables) as federation:
        federation.link()
        federation.run(POLICY)

        def changed(passing):
            passing.content.ciphertexts = bytes(len(passing.content.ciphertexts))

        with federation.tapped(tap_on("contribution", changed, node="tax")), suppress(Exception):
            federation.run(POLICY)
        for where, what in (
            (answers, "load"),
            (NodeLinkage, "begin"),
            (NodeStore, "start_job"),
            (NodeStore, "save_epoch"),
            (NodeStore, "keep_chunk"),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(where, what, quoting)
                with pytest.raises(Exception):  # noqa: B017  whatever it becomes: what is written is looked at below
                    federation.link() if what in {"begin", "save_epoch"} else federation.run(POLICY)
        said = logged()
        assert said.count("ValueError at ") >= 5, said  # it did fail in these ways, and says where
        assert "task" in said
        for mark in marks(federation):
            assert mark not in said


@pytest.mark.parametrize("logged", ["json", "text"], indirect=True)
def test_what_libraries_threads_and_calls_raise_is_not_repeated(logged):
    root = make_root("spree", Validity.for_days(2))
    made = {
        name: issue(root, name, hosts=[*LOOPBACK, server_name(name)], validity=Validity.for_days(1))
        for name in ("tax", "office")
    }
    identity = {name: TlsIdentity(root.certificate, *pair) for name, pair in made.items()}

    class Members:
        def roles_of(self, name, shown):
            return frozenset({"coordinator"}) if shown == fingerprint(made[name].certificate) else None

    def fails(_request, _context):
        quoting()

    handler = grpc.method_handlers_generic_handler(
        "veilmatch.test.Desk",
        {
            "Ask": grpc.unary_unary_rpc_method_handler(
                fails, BytesValue.FromString, BytesValue.SerializeToString
            ),
            "Odd": grpc.unary_unary_rpc_method_handler(
                lambda request, _context: request, quoting, BytesValue.SerializeToString
            ),
        },
    )
    table = {f"/veilmatch.test.Desk/{name}": frozenset({"coordinator"}) for name in ("Ask", "Odd")}
    with Server(identity["tax"], RoleGate("spree", Members(), table)) as server:
        server.add("veilmatch.test.Desk", lambda made: made.add_generic_rpc_handlers((handler,)))
        port = server.start("127.0.0.1:0")
        with open_channel(f"127.0.0.1:{port}", "tax", identity["office"]) as channel:
            for name in ("Ask", "Odd"):
                ask = channel.unary_unary(
                    f"/veilmatch.test.Desk/{name}", BytesValue.SerializeToString, BytesValue.FromString
                )
                with pytest.raises(PeerError) as refused:
                    call(ask, "tax", BytesValue(value=b"x"), timeout=5)
                assert "Zaunk" not in str(refused.value)
    thread = threading.Thread(target=quoting)
    thread.start()
    thread.join()

    class Falls:
        def __del__(self):
            quoting()

    Falls()
    try:
        quoting()
    except ValueError:
        logging.getLogger("sqlalchemy.engine").exception("row %s", person("tax", 3))
    logging.getLogger("grpc._server").error("of %s", "ZEISIG00001")
    said = logged()
    for written in (
        "ValueError at ",
        "a thread ended",
        "an exception nobody could be told",
        "sqlalchemy.engine",
    ):
        assert written in said
    for mark in ("ZEISIG", "Zaunk", str(LINE), "700004071"):
        assert mark not in said
