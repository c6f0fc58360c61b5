"""Parties that sign something else than they did: the rest of the evidence contradicts them.

Whoever changes a log here has its party's key, and the coordinator's key for the index: what is left to show it
is what the others signed.
"""

import json
import shutil
from datetime import UTC, datetime
from functools import cache

import pytest
from evidence_world import DEALER, OFFICE, RECIPIENT, World, at, refused

from veilmatch_crypto import encode_tuple, generate
from veilmatch_evidence import actions
from veilmatch_evidence.log import EvidenceLog
from veilmatch_evidence.package import APPROVALS, DIGESTS, MANIFEST, REPORT, log_name
from veilmatch_evidence.records import Record
from veilmatch_evidence.replay import replay
from veilmatch_evidence.verify import verify
from veilmatch_policy import canonical

OTHER = "ee" * 32
JOB = "0" * 32


@cache
def key():
    return generate(2048).public


def first(kind, **changes):
    """An edit of the first record of a kind; a change may be a function of what was there."""

    def edit(bodies):
        body = next(body for body in bodies if body["action"] == kind)
        for name, change in changes.items():
            body[name] = change(body[name]) if callable(change) else change
        return bodies

    return edit


def without(kind):
    """An edit that leaves out the last record of a kind."""

    def edit(bodies):
        last = max(at for at, body in enumerate(bodies) if body["action"] == kind)
        return bodies[:last] + bodies[last + 1 :]

    return edit


def twice(kind):
    def edit(bodies):
        return [*bodies, next(body for body in bodies if body["action"] == kind)]

    return edit


def earlier(kind):
    """An edit that moves the first record of a kind to the front."""

    def edit(bodies):
        moved = next(body for body in bodies if body["action"] == kind)
        return [moved, *(body for body in bodies if body is not moved)]

    return edit


def use(**changes):
    """A change of the first of the policies of `started`."""
    return lambda uses: [{**uses[0], **changes}, *uses[1:]]


def debit(**changes):
    return lambda debits: [{**debits[0], **changes}]


def lines_of(records):
    return b"".join(record.encode() + b"\n" for record in records)


def saying(action):
    """An edit that adds a record to what a party did."""

    def edit(bodies):
        names = {name: bodies[0][name] for name in ("job", "manifest") if name in bodies[0]}
        body = action.model_dump(mode="json")
        return [
            *bodies,
            {"time": bodies[-1]["time"], **body, **{n: v for n, v in names.items() if n in body}},
        ]

    return edit


REWRITTEN = {
    # By what right: rights.py.
    "recipient without approval": (
        RECIPIENT,
        first("started", policies=use(approval=None, run=0)),
        "aid: its recipient has no approval",
    ),
    "approval that is not there": (
        "tax",
        first("started", policies=use(approval=OTHER)),
        "aid: the approval that is named is not in approvals.json",
    ),
    "one run too many": ("tax", first("started", policies=use(run=3)), "aid: run 3 of an approval of 2"),
    "no run": ("tax", first("started", policies=use(run=0)), "aid: run 0 of an approval of 2"),
    "another content": ("tax", first("started", policies=use(content=OTHER)), "states aid otherwise"),
    "another purpose": ("tax", first("started", policies=use(purpose="research")), "states aid otherwise"),
    "another recipient": ("tax", first("started", policies=use(recipient="tax")), "states aid otherwise"),
    "fewer policies": ("tax", first("started", policies=lambda uses: uses[:1]), "states other policies"),
    "budget exceeded": ("tax", first("started", debits=debit(spent=13)), "13 of 12 is spent"),
    "more taken than spent": ("tax", first("started", debits=debit(units=3)), "2 of 12 is spent"),
    "another epoch": ("tax", first("started", epoch=OTHER), "over another epoch"),
    "after the expiry": (
        "tax",
        first("started", time="2099-01-01T00:00:00Z"),
        "started after the manifest had expired",
    ),
    "before the approval": ("tax", first("started", time="2020-01-01T00:00:00Z"), "signed after the job"),
    "started twice": ("tax", twice("started"), "started stands twice"),
    # Of which job: agreement.py.
    "another manifest shown": (
        "tax",
        first("started", manifest=OTHER),
        "names another manifest than the job's",
    ),
    "contributed to another": ("tax", first("contributed", manifest=OTHER), "names another manifest"),
    "another job": ("tax", first("closed", job="f" * 32), "names another job"),
    "before the budgets": ("tax", earlier("contributed"), "contributed stands before the job was started"),
    "a stranger's part": (
        "tax",
        saying(actions.Opened(job=JOB, manifest=OTHER, outcome=0, chunk=0, sha256=OTHER)),
        "opened is not for tax to do",
    ),
    "no contributor": (
        RECIPIENT,
        saying(actions.Contributed(job=JOB, manifest=OTHER, outcome=0, chunk=0, sha256=OTHER)),
        "contributed is not for welfare to do",
    ),
    "a chunk too many": ("tax", first("contributed", chunk=7), "a chunk that the manifest does not have"),
    # What was sent, received, combined, opened.
    "contributed something else": (
        "tax",
        first("contributed", sha256=OTHER),
        "states another hash of contributions/tax/",
    ),
    "received something else": (
        OFFICE,
        first("received", sha256=OTHER),
        "states another hash of contributions/",
    ),
    "received from another": (
        OFFICE,
        first("received", department="tax"),
        "received stands twice for one place",
    ),
    "combined something else": (
        OFFICE,
        first("combined", product=OTHER),
        "states another hash of product/0-0.bin",
    ),
    "another B": (OFFICE, first("combined", blank=OTHER), "states another hash of B/0-0.bin"),
    "opened something else": (
        RECIPIENT,
        first("opened", sha256=OTHER),
        "states another hash of product/0-0.bin",
    ),
    "contributed twice": ("tax", twice("contributed"), "contributed stands twice"),
    "contributed, not said": ("tax", without("contributed"), "says nothing of contributions/tax/1-1.bin"),
    "received, not said": (OFFICE, without("received"), "says nothing of contributions/tax/1-1.bin"),
    "combined, not said": (OFFICE, without("combined"), "says nothing of B/1-1.bin"),
    "opened, not said": (RECIPIENT, without("opened"), "says nothing of product/1-1.bin"),
    # What belongs to a complete job.
    "never started": (DEALER, without("started"), "before the job was started"),
    "never closed": ("tax", without("closed"), "does not say that tax erased the job's keys"),
    "never delivered": (RECIPIENT, without("delivered"), "says nothing of a result of aid"),
    "never counted": (OFFICE, without("delivered"), "says nothing of a result of counted"),
    "never presented": (RECIPIENT, without("presented"), "does not say that welfare presented"),
    "never dealt": (DEALER, without("dealt"), "does not say that zz-dealer dealt"),
    "no households told": ("housing", without("told-households"), "does not say that housing told"),
    "no manifest made": (OFFICE, without("manifest-made"), "does not say that office made the manifest"),
    "never asked for": (OFFICE, without("submitted"), "does not say that office was asked for the job"),
    "asked for something else": (OFFICE, first("submitted", content=[OTHER]), "asks for other policies"),
    "another draft": (OFFICE, first("drafted", draft=OTHER), "says nothing of the draft"),
    "dealt for others": (DEALER, first("dealt", presented=[40, 42]), "than the recipient presented"),
    "dealt for more policies": (DEALER, first("dealt", presented=[40]), "another number of policies"),
    # What others were shown of a log.
    "a log written anew": ("tax", first("closed", time="2020-01-01T00:00:00Z"), ""),
    "a head that nobody signed": (OFFICE, first("head-seen", digest=OTHER), "that housing did not sign"),
    "a head of nobody": (OFFICE, first("head-seen", party="nobody"), "that nobody did not sign"),
}


@pytest.mark.parametrize("case", REWRITTEN)
def test_a_log_that_its_own_party_wrote_anew(world, package, case):
    party, edit, said = REWRITTEN[case]
    world.relog(package, party, edit)
    world.resign(package)
    if case == "a log written anew":
        # The last record only: what the coordinator had been shown came before it.
        verify(package)
        world.relog(package, party, first("contributed", time="2020-01-01T00:00:00Z"))
        world.resign(package)
        said = "tax showed office another record"
        party = OFFICE
    line = refused(package)
    assert line.startswith(str(package / log_name(party)))
    assert said in line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"expires": datetime(2020, 1, 2, tzinfo=UTC)}, "aid: its approval has expired"),
        ({"request": {"recipient": "tax"}}, "aid: recipient: approved is tax, asked is welfare"),
        ({"request": {"purpose": "research"}}, "aid: purpose: approved is research, asked is aid"),
        ({"request": {"reveal": "count"}}, "aid: what is revealed: approved is count"),
        ({"request": {"participants": ("tax", "welfare")}}, "aid: who takes part"),
        ({"request": {"dealers": (DEALER,)}}, "aid: who may deal"),
        ({"request": {"linkage": "shared-key"}}, "aid: linkage: approved is shared-key"),
        ({"request": {"slots": "register"}}, "aid: slots: approved is register"),
        ({"request": {"content": OTHER}}, "aid: the policy changed since it was approved"),
        ({"request": {"version": 2}}, "aid: the policy changed since it was approved"),
        ({"decided": datetime(2099, 1, 1, tzinfo=UTC)}, "aid: its approval was signed after"),
        ({"by": "one-machine"}, "aid: its approval was made by a machine"),
        (
            {"kind": "refuse", "expires": None, "runs": None, "reason": "no"},
            "aid: what is named as its approval",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_approval_that_does_not_allow_it(world, package, change, said):
    world.redecide(package, "tax", dict(change))
    world.resign(package)
    line = refused(package)
    assert line.startswith(f"{package / log_name('tax')}:1: ")
    assert said in line


def test_an_approval_in_the_officers_name_holds_where_one_machine_stands_for_all(world, package):
    world.redecide(package, "tax", {"by": "one-machine"})
    world.resign(package, trust="one-machine")
    # Nothing is wrong with it but that others were shown the log as it was before.
    assert "tax showed office another record" in refused(package)


def test_approvals_that_are_not_their_officers(world, package):
    path = package / APPROVALS
    data = path.read_bytes()
    entries = json.loads(data)
    moved = [{**entries[0], "department": "tax"}, *entries[1:]]
    forged = [{**entries[0], "signature": "0" * 128}, *entries[1:]]
    for changed, number, said in (
        (moved, 1, "is not a decision of tax"),
        (forged, 1, "is not signed by the officer of housing"),
        ([*entries, entries[2]], len(entries) + 1, "stands there twice"),
    ):
        path.write_bytes(canonical.encode(changed))
        world.resign(package)
        line = refused(package)
        assert line.startswith(f"{path}:{number}: ")
        assert said in line
    path.write_bytes(data)
    world.redecide(package, "tax", {}, officer=world.officers["housing"])
    world.resign(package)
    assert "is not signed by the officer of tax" in refused(package)
    path.write_bytes(b"{}")
    world.resign(package)
    assert "is not a list of decisions" in refused(package)


def test_a_withheld_record_is_missed(world, package):
    for party in ("tax", OFFICE):
        path = package / log_name(party)
        data = path.read_bytes()
        records = [Record.decode(line) for line in data.splitlines()]
        for number, record in enumerate(records):
            left = [*records[:number], record.withheld(), *records[number + 1 :]]
            path.write_bytes(lines_of(left))
            world.resign(package)
            line = refused(package)
            assert line.startswith(f"{path}:{number + 1}: is withheld although it ")
            assert ("about this job" if record.job else "the head of another party's log") in line
        path.write_bytes(data)


def test_a_department_that_tags_a_record_as_something_else(world, package):
    path = package / log_name("tax")
    *before, last = (Record.decode(line) for line in path.read_bytes().splitlines())
    other = Record.make(
        "tax",
        last.sequence,
        bytes.fromhex(last.previous),
        actions.Disclosed(),
        world.identities["tax"],
        now=datetime.now(UTC),
    )
    tagged = last.model_copy(update={"about": other.about})

    def keep(record):
        path.write_bytes(lines_of([*before, record]))
        world.resign(package)
        return refused(package)

    # Without its key, whoever packs the evidence cannot tag the record so that it may be withheld.
    for record in (tagged, tagged.withheld()):
        assert keep(record).startswith(f"{path}:{len(before) + 1}: is not signed by tax")
    signed = encode_tuple("veilmatch/1/record-signature", tagged.digest)
    tagged = tagged.model_copy(update={"signature": world.identities["tax"].sign(signed).hex()})
    assert keep(tagged).startswith(
        f"{path}:{len(before) + 1}: is tagged as being about something else than it is"
    )
    assert "does not say that tax erased the job's keys" in keep(tagged.withheld())


def test_documents_of_another_job(world, package, tmp_path):
    other = world.run(tmp_path / "other", key=key())
    for name, said in (
        (MANIFEST, f"{package / MANIFEST}: is of another job than the index"),
        (REPORT, f"{package / REPORT}: is a report of another job's results"),
        (log_name("tax"), f"{package / log_name('tax')}:1: "),
        (DIGESTS, f"{package / DIGESTS}:1: is not of the file"),
    ):
        data = (package / name).read_bytes()
        (package / name).write_bytes((other / name).read_bytes())
        world.resign(package)
        assert refused(package).startswith(said)
        (package / name).write_bytes(data)


def test_files_that_no_job_has(world, package):
    for name in ("contributions/welfare/0-0.bin", "product/0-2.bin", "logs/stranger.jsonl", "notes.txt"):
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_bytes(b"")
        world.resign(package)
        assert refused(package).startswith(f"{package / name}: is no file of this job's evidence")
        (package / name).unlink()


def test_a_manifest_that_its_parties_did_not_sign(world, package):
    path = package / MANIFEST
    manifest = json.loads(path.read_bytes())

    def require(said, **changes):
        path.write_bytes(canonical.encode({**manifest, **changes}))
        world.resign(package)
        line = refused(package)
        assert line.startswith(f"{path}: ")
        assert said in line

    draft, keys = manifest["draft"], manifest["keys"]
    require("the keys of housing are not signed for this job", draft={**draft, "recipient_rows": 51})
    require(
        "the keys of tax are not signed",
        keys=[{**k, "agreement": OTHER} if k["name"] == "tax" else k for k in keys],
    )
    require("names other contributors than the policy", draft={**draft, "outcomes": draft["outcomes"][:1]})
    require("names another directory", draft={**draft, "directory": OTHER})
    require("does not hold the keys of exactly its parties", keys=[k for k in keys if k["name"] != "tax"])
    require("is not a manifest", keys=[k for k in keys if k["name"] != OFFICE])
    require("is not a manifest", keys=None)


def test_an_epoch_of_another_directory(world, package):
    other = World(package.parent / "other")
    for name in ("epoch.json", "epoch.json.sig"):
        (package / name).write_bytes(
            other.epoch.statement if name == "epoch.json" else other.epoch_signature.hex().encode()
        )
    world.resign(package)
    assert refused(package).startswith(f"{package / 'epoch.json'}: not signed by the coordinator")


def test_a_job_that_ended_holds_what_it_holds(world, tmp_path):
    package = world.run(tmp_path / "out", key=key(), ended=True)
    (verified,) = verify(package)
    assert (verified.status, verified.chunks) == ("ended", 3)
    assert replay(package) == [verified]
    world.resign(package, status="complete")
    assert "is missing, and the job is said to be complete" in refused(package)
    world.resign(package, status="ended")
    (package / "product/1-0.bin").unlink()
    world.redigest(package)
    world.resign(package)
    assert f"{package / 'product/1-0.bin'}: is missing, and the chunk is said to be combined" in refused(
        package
    )


def test_a_job_that_ended_before_its_manifest(world, package):
    for name in (MANIFEST, REPORT, APPROVALS):
        (package / name).unlink()
    for path in [*package.rglob("*.bin"), *package.rglob("*.jsonl")]:
        path.unlink()
    (package / DIGESTS).write_bytes(b"[]")
    world.resign(package, status="ended")
    (verified,) = verify(package)
    assert (verified.policies, verified.parties, verified.chunks) == ((), (), 0)
    assert replay(package) == [verified]


# Several jobs.


def test_two_jobs_with_one_key_or_one_run_of_an_approval(world, tmp_path):
    decided = []
    out = tmp_path / "out"
    one = world.run(out, at("decisions", lambda decisions: decided.append(decisions) or decisions), key=key())
    two = world.run(out)
    assert [each.job for each in verify(out)] == sorted([one.name, two.name])
    shutil.rmtree(two)
    two = world.run(out, key=key())
    assert f"{max(one, two) / MANIFEST}: the recipient's key was used in another job" in refused(out)
    shutil.rmtree(two)
    two = world.run(out, at("decisions", lambda _: decided[0]))
    verify(one)
    verify(two)
    assert refused(out).startswith(
        f"{max(one, two) / log_name('housing')}:1: run 1 of its approval was used before"
    )


def test_a_log_that_forks_between_two_jobs(tmp_path):
    world = World(tmp_path / "logs")
    before = (tmp_path / "logs" / "tax.jsonl").read_bytes()
    one = world.run(tmp_path / "out", key=key())
    world.logs["tax"].close()
    (tmp_path / "logs" / "tax.jsonl").write_bytes(before)  # the department forgets, and begins anew
    world.logs["tax"] = EvidenceLog(tmp_path / "logs" / "tax.jsonl", "tax", world.identities["tax"])
    two = world.run(tmp_path / "out")
    verify(one)
    verify(two)
    assert refused(tmp_path / "out").startswith(
        f"{max(one, two) / log_name('tax')}:1: tax showed another record of this number"
    )
