"""What fuzzing and the search for bombs have found, each as a reproduction of its own."""

import time

import pytest
from fakes.federation import tap_on
from federation.attacked_world import NAMES, POLICY, make
from fuzz.fuzzed_node import run_script
from fuzz.oracles import check_text, resident, watched

from veilmatch_coordinator.errors import NodeFailedError
from veilmatch_wire.v1 import job_pb2, linkage_pb2, node_pb2

FLOOD = 400_000  # empty parts, two or three bytes each on the wire and hundreds in Python


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    made = make(tmp_path_factory.mktemp("found"), (*NAMES, "zz"))
    with made:
        made.link()
        yield made


def say(**body):
    return node_pb2.CoordinatorMessage(**body)


@pytest.mark.parametrize("agreement", [b"", bytes(31), bytes(33), bytes(100_000)], ids=len)
def test_a_node_gives_a_key_of_another_length(federation, agreement):
    """Was an exception of pydantic, told to the operator as an internal error."""

    def change(passing):
        passing.content.agreement = agreement

    with watched(), federation.tapped(tap_on("job_keys", change, node="tax")):
        with pytest.raises(NodeFailedError, match=r"^tax: gives a key of another length; check its release$"):
            federation.run(POLICY)
        federation.network.wait()


def test_a_node_refuses_in_a_mebibyte_of_control_characters(federation):
    """Was kept in the queue and shown on the operator's terminal as it came."""
    text = "\x1b[2J\r\n\u202e\0" * 200_000

    def change(passing):
        return [node_pb2.NodeMessage(refused=node_pb2.Refused(code="internal", text=text))]

    with watched(), federation.tapped(tap_on("declared", change, node="tax")):
        with pytest.raises(NodeFailedError, match=r"^tax: ") as refused:
            federation.run(POLICY)
        check_text(str(refused.value))
        federation.network.wait()


@pytest.mark.parametrize(
    "flood",
    [
        lambda: say(confirmations=linkage_pb2.EpochKeyConfirmations(confirmations=[{}] * FLOOD)),
        lambda: say(batch=linkage_pb2.OprfBatch(replies=[{}] * FLOOD)),
        lambda: say(close=job_pb2.CloseTask(heads=[{}] * FLOOD)),
        lambda: say(heads=job_pb2.HeadsTask(heads=[{}] * FLOOD)),
        lambda: say(prepare=job_pb2.PrepareTask(policies=[b""] * FLOOD, sent=int(time.time() * 1000))),
        lambda: say(deal=job_pb2.DealTask(presented=[1] * FLOOD)),
        lambda: say(draft=job_pb2.DraftDelivery(decisions=[{}] * FLOOD)),
    ],
    ids=["confirmations", "replies", "heads of a close", "heads", "policies", "presented", "decisions"],
)
def test_a_flood_of_empty_parts_is_refused_before_anything_is_made_of_them(federation, flood):
    """Each part became several Python objects before it was looked at."""
    federation.network.passed.clear()
    federation.link("oprf")
    sent = [
        each.message for each in federation.network.passed if each.node == "police" and not each.from_node
    ]
    beginnings = {
        "confirmations": [
            message for message in sent if message.WhichOneof("body") in {"link", "epoch_keys"}
        ],
        "batch": [message for message in sent if message.WhichOneof("body") == "trustee"],
    }
    message = flood()
    script = [*beginnings.get(message.WhichOneof("body"), []), message]
    before, began = resident(), time.thread_time()
    with watched():
        answers = run_script(federation, "police", script)
    assert time.thread_time() - began < 1.0
    assert resident() - before < 256 << 20
    assert answers[-1].WhichOneof("body") == "refused"
