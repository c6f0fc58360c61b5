"""A job that fails ends, is erased everywhere, leaves its digests, and names the party; --workers has work to do."""

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from fakes.federation import Federation, Given, csv_text, tap_on
from sqlalchemy import text

from veilmatch_coordinator import drafting
from veilmatch_coordinator import jobs as jobs_module
from veilmatch_coordinator import slots as slots_module
from veilmatch_coordinator.errors import CoordinatorError, JobError, NodeFailedError, RequestError
from veilmatch_coordinator.gathering import Gathering
from veilmatch_coordinator.office import Office
from veilmatch_coordinator.serve import serve
from veilmatch_crypto import IdentityKey, PublicKey
from veilmatch_policy.manifest import signed_contribution
from veilmatch_transport import SettingsError

CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: opaque
    columns:
      v_{name}: {{type: integer, release: open, missing: 0}}
"""
POLICY = """
policy: aid
recipient: tax
conditions:
  rent: {department: B, where: "v_B < 8"}
  here: {department: product, where: "v_product < 8"}
"""
ROWS = [(f"p{number}", str(number)) for number in range(20)]
CHUNKS = 12  # more than a contributor may be ahead


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Departments whose names are also folders of the evidence; chunks of one ciphertext of 40 people."""
    with pytest.MonkeyPatch.context() as patch:
        dummies = SimpleNamespace(randbelow=lambda _bound: 40 * CHUNKS - len(ROWS))
        patch.setattr(slots_module, "secrets", dummies)
        patch.setattr(drafting, "CHUNK_CIPHERTEXTS", 1)
        departments = {
            name: Given(CATALOG.format(name=name), {"people.csv": csv_text(("number", f"v_{name}"), ROWS)})
            for name in ("B", "product", "tax")
        }
        with Federation(tmp_path_factory.mktemp("failing"), departments) as federation:
            federation.link()
            yield federation


def failing(federation, tap):
    federation.network.passed.clear()
    with federation.tapped(tap), pytest.raises(CoordinatorError) as caught:
        federation.run(POLICY)
    assert "\n" not in str(caught.value)
    return caught.value


def jobs_of(store):
    with store._engine.begin() as connection:
        return connection.execute(text("SELECT state, secrets FROM jobs")).all()


def test_where_one_node_refuses_the_manifest_the_others_erase_the_job(federation):
    def spoil(passing):
        passing.content.manifest += b" "

    error = failing(federation, tap_on("manifest", spoil, node="B"))
    assert isinstance(error, NodeFailedError)
    assert str(error).startswith("B: ")
    assert federation.network.sent("accepted")
    assert {each.node for each in federation.network.sent("close")} == {"B", "product", "tax"}
    for name in ("product", "tax"):
        assert {(job.state, job.secrets) for job in jobs_of(federation.nodes[name].store)} == {
            ("closed", None)
        }
    assert not federation.network.sent("contribute")


def test_a_contributor_that_is_done_too_early(federation):
    def lose_the_last(passing):
        return [] if passing.content.chunk == CHUNKS - 1 else None

    error = failing(federation, tap_on("contribution", lose_the_last, node="product"))
    assert str(error) == "job: product ended before it had sent all its chunks; check its release"
    # What came is in the evidence, and listed, although the job failed.
    job = max((federation.evidence / "aid").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    listed = {entry["file"] for entry in json.loads((job / "digests.json").read_text())}
    kept = {path.relative_to(job).as_posix() for path in job.rglob("*.bin")}
    assert listed == kept
    assert "contributions/product/0-0.bin" in listed
    assert not (job / "report.json").exists()


@pytest.mark.parametrize("first", [1, CHUNKS - 1])
def test_a_contributor_that_begins_elsewhere(federation, first):
    def renumber(passing):
        part = passing.content
        [asked] = federation.network.sent("contribute", node="product")
        part.chunk = (part.chunk + first) % CHUNKS
        statement = signed_contribution(
            asked.content.manifest_sha256, part.outcome, part.chunk, part.ciphertexts
        )
        part.signature = federation.nodes["product"].keys.identity.sign(statement)

    error = failing(federation, tap_on("contribution", renumber, node="product"))
    assert "job: product sent a chunk out of order or one that was not asked for" in str(error)


def test_a_chunk_beyond_the_last_does_not_wait():
    with pytest.raises(JobError, match="tax sent a chunk twice or one that was not asked for"):
        Gathering([(0, chunk) for chunk in range(3)], {0: ["tax"]}).put("tax", (0, 1000), b"")


def test_chunks_are_combined_side_by_side_and_leave_in_order(federation, monkeypatch):
    class Two(ThreadPoolExecutor):
        """The first two calls wait for each other, the first one longer than the second."""

        at_once = 2

        def __init__(self):
            super().__init__(2)
            self.together = threading.Barrier(2)
            self.second_done = threading.Event()
            self.calls = 0

        def submit(self, call, /, *arguments):
            self.calls += 1
            return super().submit(self._run, self.calls, call, *arguments)

        def _run(self, number, call, *arguments):
            if number > 2:
                return call(*arguments)
            self.together.wait(5)
            if number == 1:
                assert self.second_done.wait(5)
            made = call(*arguments)
            if number == 2:
                self.second_done.set()
            return made

    federation.network.passed.clear()
    with Two() as executor:
        monkeypatch.setattr(federation.jobs, "_executor", executor)
        federation.run(POLICY)
    assert federation.eligible("aid") == sorted(f"p{number}" for number in range(8))
    assert [each.content.chunk for each in federation.network.sent("combined")] == list(range(CHUNKS))
    report = max((federation.evidence / "aid").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    chunks = Counter(path.relative_to(report).parts[0] for path in report.rglob("*.bin"))
    assert chunks == {"contributions": 2 * CHUNKS, "B": CHUNKS, "product": CHUNKS}


def test_a_modulus_seen_before_is_refused_under_another_generator():
    modulus = (1 << 2047) + 9

    def hashed(generator):
        key = PublicKey(modulus, generator)
        return jobs_module._modulus(
            SimpleNamespace(paillier=lambda: key, draft=SimpleNamespace(key_bits=2048))
        )

    assert hashed(None) == hashed(5) == hashed(7)


# What the operator asks for, and what the coordinator starts with.


def test_what_the_operator_asks_for_wrongly_is_refused_in_one_line(federation):
    office = Office(
        identity=federation.identity,
        directory=federation.directory,
        store=federation.store,
        nodes=federation.network,
        executor=None,
        evidence=federation.evidence,
        log=federation.log,
        limits=None,
    )
    with pytest.raises(RequestError, match=r"^office: 1024 bits is no length of a key; .* 2048 or 3072$"):
        office.submit("operator", [POLICY.encode()], 1024)
    with pytest.raises(RequestError, match=r"^office: the reference date is no day; "):
        office.link("oprf", "union", "2025-02-30", None, None)
    assert RequestError.exit_code == 2


def test_a_coordinator_with_another_key_than_the_directorys_does_not_start(tmp_path):
    from veilmatch.federation import COORDINATOR, NodePlan, make_federation

    plans = {name: NodePlan(tmp_path, "127.0.0.1:1", {}) for name in ("housing", "tax")}
    make_federation(tmp_path / "federation", tmp_path / "out", plans, "127.0.0.1:1", workers=1)
    home = tmp_path / "federation" / COORDINATOR
    (home / "identity.key").write_text(IdentityKey.generate().to_bytes().hex())
    with pytest.raises(SettingsError) as refused:
        serve(home / "config.toml")
    assert str(refused.value) == (
        f"{home / 'identity.key'}: is not the key that the directory lists for this member; restore it"
    )
