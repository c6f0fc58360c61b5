"""Shows that what is wrong around a circuit is refused: declarations, register, dealer, seeds, rounds, and recounts."""

from functools import partial
from types import SimpleNamespace

import pytest
from attacked_world import fails, join, led, refusal, refused, split
from fakes.federation import COORDINATOR, DEALER, KEY_BITS, Federation, Given, csv_text, tap_on, untouched

from veilmatch_coordinator.errors import JobError
from veilmatch_crypto import AgreementKey, seal_seed
from veilmatch_node.errors import JobRefusedError
from veilmatch_node.refusals import refusals
from veilmatch_policy import canonical
from veilmatch_policy.clock import utc_now
from veilmatch_transport import Code, RefusalError
from veilmatch_wire.v1 import job_pb2, node_pb2

RECIPIENT, REGISTRAR = "social", "police"
CONTRIBUTORS = ("police", "tax")
PARTIES = ("police", "social", "tax", DEALER)
PEOPLE = range(30)
DUMMIES = 10

POLICE = """
department: police
tables:
  residents:
    source: p.csv
    id: id
    identifier: opaque
    household: {column: home, at_most: 8, larger: single}
    columns:
      home: {type: text, release: open}
      age: {type: integer, release: open, range: [0, 130]}
"""
AMOUNT = """
department: DEPARTMENT
tables:
  people:
    source: p.csv
    id: id
    identifier: opaque
    columns:
      COLUMN: {type: integer, release: open, missing: 0, range: [0, 100000]}
"""
MEMBERS = """
policy: poor
recipient: social
household: {department: police, column: home}
conditions:
  old: {department: police, where: "age >= 60"}
  little: {of: household, total: {social: pension, tax: wage}, below: 5000}
"""
COUNT = MEMBERS.replace("policy: poor", "policy: how-many") + "reveal: count\nmin_count: 1\n"


def age(number):
    return 40 + 10 * (number % 4)


def home(number):
    return number // 3


def wage(number):
    return 100 * (number * 7 % 30)


def pension(number):
    return 50 * (number % 11)


def expected():
    """Who is eligible, in plain Python."""
    incomes = {}
    for number in PEOPLE:
        incomes[home(number)] = incomes.get(home(number), 0) + wage(number) + pension(number)
    return sorted(f"p{n}" for n in PEOPLE if age(n) >= 60 and incomes[home(n)] < 5000)


def police_file(homes=home):
    return csv_text(("id", "home", "age"), [(f"p{n}", f"{homes(n)}", f"{age(n)}") for n in PEOPLE])


def world():
    given = {"police": Given(POLICE, {"p.csv": police_file()})}
    for name, column, value in (("social", "pension", pension), ("tax", "wage", wage)):
        text = csv_text(("id", column), [(f"p{n}", f"{value(n)}") for n in PEOPLE])
        catalog = AMOUNT.replace("DEPARTMENT", name).replace("COLUMN", column)
        given[name] = Given(catalog, {"p.csv": text})
    return given


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """One federation for all tests; whoever counts links an epoch of its own."""
    with pytest.MonkeyPatch.context() as patch:
        dummies = SimpleNamespace(randbelow=lambda _bound: DUMMIES)
        patch.setattr("veilmatch_coordinator.slots.secrets", dummies)
        with Federation(tmp_path_factory.mktemp("circuits"), world(), dealer=True) as federation:
            federation.link()
            yield federation


def test_the_answer_is_the_plain_one(federation):
    federation.network.passed.clear()
    federation.run(MEMBERS)
    assert 3 < len(expected()) < 12
    assert federation.eligible("poor") == expected()
    assert {each.node for each in federation.network.sent("deal")} == {DEALER}
    assert {each.node for each in federation.network.sent("household_labels")} == {REGISTRAR}


# The draft (protocol.md, 7 steps 0 to 2).


def changed(draft, department, **entry):
    """The draft's declarations with one department's changed."""
    return [each | (entry if each["department"] == department else {}) for each in draft["declarations"]]


def test_attack_a_draft_of_another_circuit(federation):
    with led(federation, MEMBERS) as office:
        draft = office.draft
        assert (draft["registrar"], draft["dealer"]) == (REGISTRAR, DEALER)
        assert {each["opened"] for each in draft["outcomes"]} == {"shares"}
        answer = [each | {"opened": "answer"} for each in draft["outcomes"]]
        without_tax = [each for each in draft["declarations"] if each["department"] != "tax"]
        for forged in (
            {"dealer": None},
            {"dealer": "tax"},
            {"dealer": COORDINATOR},
            {"registrar": None},
            {"registrar": "tax"},
            {"outcomes": answer},  # the sums themselves, and not shares
            {"outcomes": draft["outcomes"][1:]},
            {"participants": ["police", "social", "tax"]},
            {"declarations": without_tax},
            {"declarations": changed(draft, "tax", amounts=[])},
            {"declarations": changed(draft, "police", household_at_most=0)},
        ):
            for name in PARTIES:
                with refusal() as caught:
                    office.ask(name, canonical.encode(draft | forged))
                assert "internal error" not in str(caught.value), (forged, name)
        assert not federation.network.sent("job_keys")


@pytest.mark.parametrize("department", ["tax", "police", "social"])
def test_attack_a_departments_declaration_is_changed(federation, department):
    """By a wider range the sign of a total could turn; every department knows its own."""
    with led(federation, MEMBERS) as office:
        entry = next(each for each in office.draft["declarations"] if each["department"] == department)
        if department == REGISTRAR:
            other = {"household_at_most": entry["household_at_most"] + 1}
        else:
            [amount] = entry["amounts"]
            other = {"amounts": [amount | {"largest": amount["largest"] - 1}]}
        forged = canonical.encode(office.draft | {"declarations": changed(office.draft, department, **other)})
        with refusal("states another declaration of this node than its own"):
            office.ask(department, forged)


def test_attack_a_node_is_asked_to_declare_for_another_policy(federation):
    def other(passing):
        narrower = MEMBERS.replace("tax: wage", 'tax: "round(wage, 0)"').replace("wage, 0", "wage * 2, 0")
        passing.content.policies[:] = [narrower.encode()]

    error, _ = fails(federation, tap_on("prepare", other, node="tax"), partial(federation.run, MEMBERS))
    assert str(error).startswith("tax: the job is refused: job: states another declaration of this node")
    assert not federation.network.sent("accepted")


@pytest.mark.parametrize(
    ("policies", "said"),
    [([], "has 0 policies"), ([MEMBERS.encode()] * 65, "has 65 policies"), ([b"policy: x"], "policy")],
    ids=["none", "too many", "no policy"],
)
def test_attack_a_node_is_asked_no_policy_or_too_many(federation, policies, said):
    with led(federation, MEMBERS) as office, refusal(said):
        office.conversation.prepare("tax", policies, office.epoch, utc_now()).declaration()


# Registrar and dealer.


def test_attack_parts_asked_of_the_wrong_node_or_twice(federation):
    with led(federation, MEMBERS) as office:
        office.ask_all()
        digest = office.accept_all()
        size = 4 * office.draft["padded"]
        for name in ("tax", RECIPIENT, DEALER):
            with refusal("keeps no register for it"):
                office.conversation.households(name, digest, size)
        labels = office.conversation.households(REGISTRAR, digest, size)
        assert office.conversation.households(REGISTRAR, digest, size) == labels  # frozen
        assert len(labels) == size
        for name in ("tax", RECIPIENT, REGISTRAR):
            with refusal("is not its dealer"):
                office.conversation.deal(name, digest, 10, [len(PEOPLE)]).seeds()
        _, dealer = federation.nodes[DEALER].jobs.deal(digest)
        assert dealer.sealed.keys() == {COORDINATOR, RECIPIENT}
        padded = office.draft["padded"]
        for households, presented in (
            (0, [10]),
            (padded + 1, [10]),
            (10, []),
            (10, [10, 10]),
            (10, [padded + 1]),
        ):
            with pytest.raises(JobRefusedError, match="than the coordinator says"):
                next(dealer.corrections(households, presented))
        assert sum(map(len, dealer.corrections(10, [10]))) > 0
        # One dealing a manifest, also of a dealer that was killed: other sizes would use its randomness twice.
        for _ in range(2):
            with refusal("is dealing here"):
                office.conversation.deal(DEALER, digest, 10, [len(PEOPLE)]).seeds()
            federation.nodes[DEALER].crash()


def test_attack_a_dealer_that_is_told_other_sizes(federation):
    def more(passing):
        passing.content.presented[0] += 5000

    error, _ = fails(federation, tap_on("deal", more), partial(federation.run, MEMBERS))
    assert refused(federation, DEALER) == [("job-refused", str(error).removeprefix(f"{DEALER}: "))]


@pytest.mark.parametrize("said", ["end before the circuit does", "go on after the circuit has ended"])
def test_attack_corrections_of_another_size(federation, said):
    def resize(passing):
        if "go on" in said:
            passing.content.corrections += bytes(8)
        else:
            passing.content.corrections = passing.content.corrections[:-8]

    error, _ = fails(federation, tap_on("corrections", resize), partial(federation.run, MEMBERS))
    assert isinstance(error, JobError)
    assert f"the dealer's corrections {said}" in str(error)
    assert not federation.network.sent("conclude")


def test_attack_a_registrar_that_leaves_slots_out(federation):
    def shorten(passing):
        passing.content.labels = passing.content.labels[:-4]

    error, _ = fails(federation, tap_on("household_labels", shorten), partial(federation.run, MEMBERS))
    assert str(error) == "job: police did not say of every slot whose household it is; check its release"
    assert not federation.network.sent("deal")


def test_somebody_without_a_household_stops_the_run_with_the_registrars_line(federation):
    path = federation.nodes[REGISTRAR].folder / "p.csv"
    path.write_text(police_file(lambda number: "" if number == 7 else home(number)), encoding="utf-8")
    try:
        error, _ = fails(federation, untouched, partial(federation.run, MEMBERS))
    finally:
        path.write_text(police_file(), encoding="utf-8")
    assert error.exit_code == 4
    assert str(error).startswith(
        "police: this department's data is refused: police: household: the household column is empty for somebody; "
    )
    assert "p7" not in str(error)


# The sums (protocol.md, 4.5, also for what is opened into shares).


@pytest.mark.parametrize("attack", ["dropped", "exchanged"])
def test_attack_on_sums_that_are_opened_into_shares(federation, attack):
    """Nobody would see it by the numbers, which are uniform: the check slots do."""

    def change(passing):
        part, square = passing.content, federation_key(federation) ** 2
        sent = {each.content.outcome: each.content for each in federation.network.sent("combined")}
        if attack == "dropped":
            [own] = [
                each.content
                for each in federation.network.sent("contribution", node="tax")
                if each.content.outcome == part.outcome
            ] or [None]
            if own is not None:
                products, parts = split(part.ciphertexts), split(own.ciphertexts)
                part.ciphertexts = join(
                    [p * pow(q, -1, square) % square for p, q in zip(products, parts, strict=True)]
                )
        elif part.outcome == max(sent) != min(sent):  # an earlier sum in this one's place
            products, others = split(part.ciphertexts), split(sent[min(sent)].ciphertexts)
            part.ciphertexts = join([p * q % square for p, q in zip(products, others, strict=True)])

    fails(federation, tap_on("combined", change), partial(federation.run, MEMBERS))
    assert [code for code, _ in refused(federation)] == ["check-failed"]


def federation_key(federation):
    """The modulus of the job at hand."""
    [key] = {each.content.paillier for each in federation.network.sent("job_keys") if each.content.paillier}
    return int.from_bytes(key[: KEY_BITS // 8], "big")


# The circuit's own messages.


def on_begin(federation, change):
    """A coordinator that changes what it begins the circuits with."""

    def tap(passing):
        manifest = federation.network.sent("open")[-1].content.manifest_sha256
        change(passing.content, manifest)

    return tap_on("begin_circuits", tap)


def sealed_by(federation, manifest, *, identity=None, key=None):
    """A seed as the dealer would seal it, by somebody else or to another key."""
    [keys] = federation.network.sent("job_keys", node=RECIPIENT)
    return seal_seed(
        bytes(32),
        DEALER,
        RECIPIENT,
        manifest=manifest,
        sequence=99,
        receiver_key=key or keys.content.agreement,
        identity=identity or federation.nodes[DEALER].keys.identity,
    ).to_bytes()


def test_attack_a_seed_that_the_dealer_did_not_give_for_this_recipient_and_job(federation):
    """Whoever knows the recipient's randomness knows its inputs."""
    with led(federation, MEMBERS) as office:
        office.ask_all()
        digest = office.accept_all()
        seeds = office.conversation.deal(DEALER, digest, 10, [len(PEOPLE)]).seeds()
        stranger = AgreementKey.generate().public
        forged = {
            "the coordinator's": sealed_by(federation, digest, identity=federation.identity),
            "of another job": sealed_by(federation, b"m" * 32),
            "to another key": sealed_by(federation, digest, key=stranger),
            "the coordinator's own": seeds[0],
            "cut": seeds[1][:50],
            "nothing": b"",
        }
        jobs = federation.nodes[RECIPIENT].jobs
        for case, sealed in forged.items():
            with pytest.raises(RefusalError) as caught, refusals():
                jobs.open_seed(digest, sealed)
            # Refused on purpose, in words for the coordinator.
            assert caught.value.code in {Code.JOB_REFUSED, Code.MALFORMED}, case
        assert len(jobs.open_seed(digest, seeds[1])) == 32


def test_attack_a_seed_of_the_coordinators_own_ends_the_job(federation):
    def change(begin, manifest):
        begin.seed.sealed = sealed_by(federation, manifest, identity=federation.identity)

    error, _ = fails(federation, on_begin(federation, change), partial(federation.run, MEMBERS))
    assert [code for code, _ in refused(federation)] == ["malformed"]
    assert error.exit_code == 5
    assert not said_by_the_recipient(federation)


def said_by_the_recipient(federation):
    """What it sent in the rounds of its circuits."""
    return [each for each in federation.network.sent("round", node=RECIPIENT) if each.from_node]


def test_attack_another_number_of_households(federation):
    def change(begin, _manifest):
        begin.households -= 1

    fails(federation, on_begin(federation, change), partial(federation.run, MEMBERS))
    [(_, text)] = refused(federation)
    assert "households are not those of every slot" in text


def test_attack_a_circuit_that_is_left_out(federation):
    """A result without its circuit is none."""
    (federation.out / "poor" / "result.json").unlink(missing_ok=True)

    def conclude(_passing):
        return [node_pb2.CoordinatorMessage(conclude=job_pb2.Conclude())]

    fails(federation, tap_on("begin_circuits", conclude), partial(federation.run, MEMBERS))
    assert [code for code, _ in refused(federation)] == ["out-of-order"]
    assert not (federation.out / "poor" / "result.json").exists()


@pytest.mark.parametrize("sender", [COORDINATOR, RECIPIENT])
def test_attack_a_round_of_another_size(federation, sender):
    (federation.out / "poor" / "result.json").unlink(missing_ok=True)

    def tap(passing):
        if passing.body == "round" and passing.from_node == (sender == RECIPIENT) and passing.content.body:
            passing.content.body += b"\0"
        return [passing.message]

    error, _ = fails(federation, tap, partial(federation.run, MEMBERS))
    assert error.exit_code == 5
    assert "internal error" not in str(error)
    assert not (federation.out / "poor" / "result.json").exists()


# Counts (protocol.md, 5.5).


def test_a_count_is_told_to_the_coordinator_alone_once_an_epoch(federation):
    federation.link()
    report = federation.run(COUNT)
    [copy] = report.results
    assert (copy["eligible"], copy["min_count"]) == (len(expected()), 1)
    assert copy["households"] >= len({home(number) for number in PEOPLE})
    assert not (federation.out / "how-many").exists()  # the recipient has nothing to write

    # The same question again, however it is dressed: the stored number, and nobody is asked anything.
    federation.network.passed.clear()
    for again in (COUNT, f"# once more\n{COUNT}", COUNT + "title: Once more\n"):
        assert federation.run(again).results == [copy]
    assert federation.network.passed == []

    # With another policy in one job it would be counted afresh.
    with pytest.raises(JobError, match=r"^job: some of its policies were counted in this epoch before; "):
        federation.run(COUNT, MEMBERS)
    # Another question is another count.
    [other] = federation.run(COUNT.replace("below: 5000", "below: 1")).results
    assert other["eligible"] is None  # nobody: fewer than the smallest that is told


def forget(federation):
    """A coordinator that would have the count again: its store knows nothing of it."""
    with federation.store._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM counts")


def test_attack_a_coordinator_that_counts_again(federation):
    """Each count has noise of its own, and two of them are less noisy than one.

    The coordinator has seen the number when it breaks off before the recipient is told to conclude.
    """
    federation.link()  # another epoch: what was counted in the last one is counted afresh

    def break_off(_passing):
        return [node_pb2.CoordinatorMessage()]

    fails(federation, tap_on("conclude", break_off), partial(federation.run, COUNT))
    for again in (COUNT, f"# once more\n{COUNT}title: Once more\n"):
        federation.nodes[RECIPIENT].crash()  # and it does not forget
        forget(federation)
        error, _ = fails(federation, untouched, partial(federation.run, again))
        assert str(error) == (
            "social: the job is refused: job: counts what was counted in this epoch before; "
            "read that count, or open a new epoch"
        )
        assert not said_by_the_recipient(federation)
