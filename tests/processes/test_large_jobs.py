"""Jobs long enough to be interrupted: killed contributors, bytes that are sent again, an orderly end in the middle."""

import json
import threading
import time

import pytest
from processes.office import HandDrivenOffice
from processes.real_federation import COORDINATOR, SECONDS, real_federation

from veilmatch.errors import JobFailedError
from veilmatch_coordinator.errors import NodeFailedError
from veilmatch_transport import TransportError, limits

pytestmark = pytest.mark.campaign  # `make test` has tests/simulation and test_network_faults

PEOPLE = 60_000  # at 2048 bits three chunks of 512 ciphertexts of 40 people, each a tenth of a second of work

CATALOG = """\
department: {name}
tables:
  {name}_people:
    source: people.csv
    id: id
    identifier: opaque
    columns:
      {column}: {{type: integer}}
"""

POLICY = """\
policy: large
version: 1
recipient: social
conditions:
  poor: {department: tax, where: "wage < 5"}
  old: {department: police, where: "age > 60"}
"""


def write_people(path, column, people, value):
    rows = "".join(f"{person},{value}\n" for person in range(people))
    path.write_text(f"id,{column}\n{rows}", encoding="utf-8")


def write_large_departments(folder):
    """Write the departments' folders."""
    for name, column, people, value in (
        ("tax", "wage", PEOPLE, 3),
        ("police", "age", 100, 70),
        ("social", "pension", 50, 1),
    ):
        home = folder / name
        home.mkdir(parents=True)
        (home / "catalog.yaml").write_text(CATALOG.format(name=name, column=column), encoding="utf-8")
        write_people(home / "people.csv", column, people, value)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    write_large_departments(folder / "departments")
    with real_federation(folder) as federation:
        federation.policies = {"large": POLICY}
        nothing = federation.refused(lambda: federation.run("large"))
        assert (str(nothing), nothing.exit_code) == ("job: nothing is linked yet; link first", 5)
        federation.link()
        yield federation


def test_a_contributor_killed_while_it_sends_is_waited_for_and_goes_on(large):
    killed = []

    def kill(stage, department, done, total):
        if (stage, department) == ("contribute", "tax") and not killed:
            assert done < total
            large.kill("tax")
            killed.append(len(chunks_received(large)))
            large.start("tax")

    assert large.run("large", kill) == sorted(str(person) for person in range(50))
    received = chunks_received(large)
    assert killed[0] < len(received)
    assert len(set(received)) == len(received)


def chunks_received(large):
    """Of which chunks the coordinator's log says that the tax bureau's came."""
    lines = (large.home(COORDINATOR) / "evidence.log").read_text(encoding="utf-8").splitlines()
    bodies = [json.loads(line)["body"] for line in lines]
    return [each["chunk"] for each in bodies if each["action"] == "received" and each["department"] == "tax"]


def test_a_node_stops_in_order_although_its_task_was_broken_off(large):
    """The linkage fails at once, for want of the tax bureau; police still reads its table when it is told to stop."""
    large.kill("tax")
    error = large.refused(large.link)
    assert str(error).startswith("tax: nothing listens at its address; ")
    assert large.terminate("police") == {"police": 0}
    assert "terminate called" not in large.log("police")
    large.start("tax", "police")


def chunks_of(large, department, digest):
    """What a node has stored of a job: bytes and signature by chunk."""
    job = f"FROM chunks WHERE manifest_sha256 = x'{digest.hex()}'"
    rows = large.stored(department, f"SELECT chunk, ciphertexts, signature {job}")
    return {chunk: (ciphertexts, signature) for chunk, ciphertexts, signature in rows}


@pytest.mark.campaign
def test_after_a_kill_around_every_send_the_same_bytes_leave_again(large):
    """SIGKILL as soon as chunk k is stored, for every k; another CSV and other workers at each restart."""
    office = HandDrivenOffice.of(large)
    digest = office.start_job(POLICY, chunk_ciphertexts=512)
    sent: dict[int, tuple[bytes, bytes]] = {}
    [(padded,)] = large.stored(COORDINATOR, "SELECT padded FROM epochs")
    chunks = -(-padded // (40 * 512))

    def receive():
        nodes = office.nodes()
        try:
            with nodes.conversation() as conversation:
                for part in conversation.contribute("tax", digest, 0).contributions():
                    bytes_and_signature = (part.ciphertexts, part.signature)
                    assert sent.setdefault(part.chunk, bytes_and_signature) == bytes_and_signature
        except NodeFailedError:
            return False
        else:
            return True
        finally:
            nodes.close()

    interrupted = []
    for stored in range(1, chunks + 1):
        complete = []
        receiving = threading.Thread(target=lambda: complete.append(receive()))  # noqa: B023  joined below
        receiving.start()
        deadline = time.monotonic() + SECONDS
        while len(chunks_of(large, "tax", digest)) < stored:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        large.kill("tax")
        receiving.join(SECONDS)
        [everything_came] = complete  # empty where the bytes above were others
        interrupted.append(not everything_came)
        kept = chunks_of(large, "tax", digest)
        assert len(kept) >= stored
        assert all(kept[chunk] == parts for chunk, parts in sent.items())  # nothing left before it was stored
        sent |= kept
        write_people(large.data("tax"), "wage", PEOPLE - stored, stored + 4)  # other people, another answer
        large.configure("tax", workers=1 + stored % 2)
        large.start("tax")

    assert any(interrupted)
    assert receive()
    assert sorted(sent) == list(range(chunks))
    assert chunks_of(large, "tax", digest) == sent
    assert len({ciphertexts for ciphertexts, _ in sent.values()}) == len(sent)

    nodes = office.nodes()
    with nodes.conversation() as conversation:
        conversation.close_job("tax", digest, ())
        assert chunks_of(large, "tax", digest) == {}
        closed = "tax: the job is refused: job: never started at this node, or is closed; submit it again"
        with pytest.raises(NodeFailedError, match=f"^{closed}$"):
            next(conversation.contribute("tax", digest, 0).contributions())
    nodes.close()
    write_people(large.data("tax"), "wage", PEOPLE, 3)


def test_an_orderly_end_in_the_middle_of_a_job(large):
    """SIGTERM to everybody while chunks are under way: every process ends by itself, and the caller hears of it."""
    under_way, outcome = threading.Event(), []

    def watch(stage, department, done, total):
        if stage == "contribute":
            under_way.set()

    def work():
        try:
            outcome.append(large.run("large", watch))
        except (JobFailedError, TransportError) as error:
            outcome.append(str(error))

    time.sleep(limits.LAST_RETRY)  # whoever was started anew is dialled again
    large.link()
    office = threading.Thread(target=work)
    office.start()
    assert under_way.wait(SECONDS)
    assert large.terminate(COORDINATOR, "tax", "police", "social") == dict.fromkeys(
        (COORDINATOR, "tax", "police", "social"), 0
    )
    office.join(SECONDS)
    [result] = outcome
    if isinstance(result, str):  # a line that names who could not go on; else the job came to its end
        assert "\n" not in result
    else:
        assert len(result) == 50
    for name in (COORDINATOR, "tax", "police", "social"):
        assert "Traceback" not in large.log(name)
