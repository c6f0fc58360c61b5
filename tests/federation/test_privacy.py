"""Shows that nothing personal leaves a node or reaches the coordinator, in any form that it could be read in."""

import hashlib
import json
import re
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from types import SimpleNamespace
from unittest.mock import patch

import gmpy2
import numpy as np
import pytest
from fakes.federation import KEY_BITS, Federation, Given, csv_text, tap_on
from generated_world import check_character, resident_id
from scipy.stats import chisquare
from sqlalchemy import create_engine, text
from structlog.testing import capture_logs

from veilmatch_crypto import open_chunk
from veilmatch_crypto.packing import Layout
from veilmatch_node.people import SlotTable

LAYOUT = Layout(KEY_BITS)
WORD_BYTES = 5
UNLIKELY = 1e-7  # a sound test's p-value falls below it once in ten million runs
PEOPLE = 60

CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: cn-resident-id
    columns:
      answer_{name}: {{type: integer, release: open}}
      amount_{name}: {{type: decimal(2), release: open, missing: 0}}
      place_{name}: {{type: text, release: open}}
"""
POLICY = """
policy: aid
recipient: social
among: "amount_social < 900000000000"
conditions:
  own: {department: social, where: "answer_social = 1"}
  tax: {department: tax, where: "answer_tax = 1 AND amount_tax > 1"}
  police: {department: police, where: "answer_police = 1 AND place_police LIKE 'Q%'"}
  housing: {department: housing, where: "answer_housing = 1"}
"""
NAMES = ("housing", "police", "social", "tax")
CONTRIBUTORS = ("housing", "police", "tax")


def amount(name, number):
    """An amount that nobody else has: 14 digits, more than 2**48 in the smallest unit."""
    return 400000000000 + int.from_bytes(hashlib.sha256(f"{name}{number}".encode()).digest()[:4], "big") / 100


def place(name, number):
    return f"Q{hashlib.sha256(f'at {name}{number}'.encode()).hexdigest()[:10]}"


def spelled(number, person):
    """The identity number of a person as some clerk wrote it."""
    form = resident_id(person)
    old = form[:6] + form[8:17] if form[6:8] == "19" else form
    wide = "".join(chr(ord(c) + 0xFEE0) for c in form)
    return (form, form.lower(), f"{form[:6]} {form[6:14]} {form[14:]}", wide, old)[number % 5]


def table(name, answers):
    """A department's rows; ``answers`` by person, None for nobody of that number."""
    rows = [
        (spelled(number, person), str(answer), f"{amount(name, person):.2f}", place(name, person))
        for number, (person, answer) in enumerate(answers.items())
        if answer is not None
    ]
    header = ("number", f"answer_{name}", f"amount_{name}", f"place_{name}")
    return Given(CATALOG.format(name=name), {"people.csv": csv_text(header, rows)})


def mixed(name, people=PEOPLE):
    """Answers that hold for about three in four, of about nine in ten people."""
    seed = hashlib.shake_256(name.encode()).digest(people)
    return {p: None if seed[p] % 10 == 0 else int(seed[p] % 4 > 0) for p in range(people)}


def tables(people=PEOPLE):
    return {name: table(name, mixed(name, people)) for name in NAMES}


def files(federation):
    """Everything that the coordinator has on disk, by name."""
    found = {str(path): path.read_bytes() for path in federation.evidence.rglob("*") if path.is_file()}
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path = federation.disk.with_name(federation.disk.name + suffix)
            found[path.name] = path.read_bytes()
    return found


class View:
    """What the coordinator has when all chunks are opened and nothing is erased yet; and the nodes' secrets."""

    def __init__(self, federation):
        self._federation = federation
        self.tap = tap_on("conclude", self._look)

    def _look(self, _passing):
        federation = self._federation
        self.files = files(federation)
        digest = federation.network.sent("open")[-1].content.manifest_sha256
        started = {name: node.jobs._started(digest) for name, node in federation.nodes.items()}
        self.manifest = next(iter(started.values()))[0]
        self.answers = {name: answers for name, (_, _, answers) in started.items()}
        self.key = started[self.manifest.draft.recipient][1].paillier
        kept = federation.nodes["social"].store.epoch(bytes.fromhex(self.manifest.draft.epoch))
        people = SlotTable.decode(kept.people)
        forms = [linked.partition(b"\0")[2].decode() for linked in people.inputs.to_pylist()]
        self.slots = dict(zip(forms, people.slots.tolist(), strict=True))
        self.rows = store_rows(federation.disk)


def store_rows(path):
    """Every table of the coordinator's store, its rows in order."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        names = (
            connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
        )
        found = {name: connection.execute(text(f"SELECT * FROM {name}")).mappings().all() for name in names}
    engine.dispose()
    return found


@pytest.fixture(scope="module", params=["shared-key", "oprf"])
def watched(request, tmp_path_factory):
    """A federation that linked and ran once; what the coordinator saw, and everything logged."""
    home = tmp_path_factory.mktemp("watched")
    many = SimpleNamespace(randbelow=lambda _bound: 700)  # slots: enough that answers are not there by chance
    with capture_logs() as logs, Federation(home, tables()) as federation:
        with patch("veilmatch_coordinator.slots.secrets", many):
            federation.link(request.param)
        view = View(federation)
        with federation.tapped(view.tap):
            federation.run(POLICY)
        seen = {
            f"message {number}, {each.body} of {each.node}": each.message.SerializeToString()
            for number, each in enumerate(federation.network.passed)
        }
        seen |= {f"at work: {name}": data for name, data in view.files.items()}
        seen |= files(federation)
        seen |= {"logs": repr(logs).encode()}
        seen |= {str(path): path.read_bytes() for path in (federation.out / "reports").rglob("*.*")}
        yield federation, view, seen


def forms(number):
    """All that could tell an identity number: its spellings, encodings, and hashes without a key."""
    form = resident_id(number)
    spellings = {form, form.lower(), form[:17], form[6:14] + form[14:17]}
    spellings |= {spelled(way, number) for way in range(5)}
    for spelling in spellings:
        for encoding in ("utf-8", "gb18030", "utf-16-le", "utf-16-be"):
            yield spelling.encode(encoding)
        yield spelling.encode().hex().encode()
    yield int(form[:17]).to_bytes(8, "big")
    yield int(form[:17]).to_bytes(8, "little")
    for data in (form.encode(), b"cn-resident-id\0" + form.encode()):
        for name in ("md5", "sha1", "sha256", "sha512"):
            digest = hashlib.new(name, data).digest()
            yield from (digest[:16], digest[:16].hex().encode())


def values(name, number):
    """All that could tell a value."""
    value, where = amount(name, number), place(name, number)
    cents = round(value * 100)
    yield from (where.encode(), where.encode("utf-16-le"), where.encode().hex().encode())
    yield from (f"{value:.2f}".encode(), f"{value:.0f}".encode(), str(cents).encode())
    for width in (6, 8, 16):
        yield from (cents.to_bytes(width, "big"), cents.to_bytes(width, "little"))
    yield np.float64(value).tobytes()


def search(seen, needles):
    """Where any of ``needles`` (bytes) occurs."""
    everything = b"\n".join(seen.values())
    found = [needle for needle in needles if needle in everything]
    return [(place, needle) for place, data in seen.items() for needle in found if needle in data]


def test_no_identifier_is_in_any_message_file_or_log(watched):
    _, _, seen = watched
    needles = [needle for number in range(PEOPLE) for needle in forms(number)]
    assert search({"the search itself": b"--" + needles[40] + b"--"}, needles)
    assert search(seen, needles) == []


def test_no_value_of_a_column_is_in_any_message_file_or_log(watched):
    _, _, seen = watched
    needles = [needle for name in NAMES for number in range(PEOPLE) for needle in values(name, number)]
    assert search({"the search itself": needles[7]}, needles)
    assert search(seen, needles) == []


def test_no_answer_is_in_any_message_file_or_log(watched):
    federation, view, seen = watched
    padded = view.manifest.draft.padded
    found = np.zeros(padded, bool)
    found[[view.slots[form] for form in federation.eligible("aid")]] = True
    assert 5 < found.sum() < PEOPLE - 5
    bitmaps = [found, view.answers["social"].own[0, 0], *(holding(view, name) for name in CONTRIBUTORS)]
    needles = []
    for bitmap in bitmaps:
        for bits in (bitmap, ~bitmap):
            for order in ("big", "little"):
                packed = np.packbits(bits, bitorder=order).tobytes()
                windows = [packed[at : at + 12] for at in range(len(packed) - 11)]
                # Of the few people among many dummies: what is nearly empty is found by chance.
                needles += [window for window in windows if len(set(window)) >= 6]
            one_byte_each = bits.tobytes()
            needles += [one_byte_each[at : at + 64] for at in range(0, padded - 64, 16)]
    needles = [needle for needle in needles if len(set(needle)) > 1 and needle.count(0) < len(needle) - 4]
    assert len(needles) > 20
    # Whom the recipient asks about is shown to the coordinator (protocol.md, 4.6); whether its own
    # conditions hold, or those of the others, is not.
    shown = seen_by_design(view)
    assert search(seen, [needle for needle in needles if needle not in shown]) == []


def seen_by_design(view):
    return np.packbits(view.answers["social"].presented[0]).tobytes()


def holding(view, name):
    """Where a contributor's conditions hold, by slot: its part of the policy's one sum."""
    return view.answers[name].terms[0]


def test_no_plaintext_word_is_in_a_contribution(watched):
    """A word in the clear would be 5 bytes of 0 wherever a condition holds."""
    federation, _, _ = watched
    sent = federation.network.sent("contribution")
    assert {each.node for each in sent} == set(CONTRIBUTORS)
    for each in sent:
        assert bytes(WORD_BYTES) not in each.content.ciphertexts


def test_the_coordinators_copy_of_a_result_says_nothing_of_matches(watched):
    _, _, seen = watched
    reports = [json.loads(data) for place, data in seen.items() if place.endswith("/report.json")]
    assert reports
    for [copy] in reports:  # one policy
        assert "eligible" not in copy
        assert copy["households"] is None  # nobody asked about one


def words_of(key, ciphertexts):
    """The 40-bit words of all people's slots, by slot."""
    return LAYOUT.gather(open_chunk(key, ciphertexts), 10**9)


def uniform(words):
    """The p-value of these words' bytes being uniform, and of each of the five bytes alone."""
    octets = words.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :WORD_BYTES]
    columns = [octets.reshape(-1), *octets.T]
    return min(chisquare(np.bincount(column, minlength=256)).pvalue for column in columns)


def test_one_contributors_masked_slots_are_uniform_for_eligible_and_other_people_alike(tmp_path):
    """The attacker of this test has the recipient's key and one contributor's ciphertexts."""
    people = 3000
    with Federation(tmp_path, tables(people), dummies=None) as federation:
        federation.link()
        view = View(federation)
        with federation.tapped(view.tap):
            federation.run(POLICY)
        padded = view.manifest.draft.padded
        contributions = {
            each.node: each.content.ciphertexts for each in federation.network.sent("contribution")
        }
        [product] = [each.content.ciphertexts for each in federation.network.sent("combined")]
        eligible = [view.slots[form] for form in federation.eligible("aid")]
    asked = np.flatnonzero(view.answers["social"].presented[0])
    every_condition = np.logical_and.reduce([holding(view, name) for name in CONTRIBUTORS])
    groups = {
        "all conditions hold": np.intersect1d(asked, np.flatnonzero(every_condition)),
        "one does not": np.intersect1d(asked, np.flatnonzero(~every_condition)),
        "eligible": np.array(eligible),
        "not asked about": np.setdiff1d(np.arange(padded), asked),
    }
    opened = words_of(view.key, product)
    assert not opened[groups["all conditions hold"]].any()  # the groups are what they say
    for name, ciphertexts in contributions.items():
        words = words_of(view.key, ciphertexts)
        for group, slots in groups.items():
            if len(slots) > 256:
                assert uniform(words[slots]) > UNLIKELY, (name, group)
        holds = holding(view, name)
        assert uniform(words[:padded][holds]) > UNLIKELY
        assert uniform(words[:padded][~holds]) > UNLIKELY
    # Two of three together, before anything is taken back: as uniform.
    pair = sum(words_of(view.key, contributions[name]) for name in CONTRIBUTORS[:2]) % 2**40
    assert uniform(pair[groups["all conditions hold"]]) > UNLIKELY
    # And the test sees what is not uniform: a hundredth of the words, unmasked.
    spoiled = words.copy()
    spoiled[: len(words) // 100] = 0
    assert uniform(spoiled) < UNLIKELY


@pytest.mark.parametrize("mode", ["shared-key", "oprf"])
def test_two_runs_share_no_ciphertext_no_residue_and_no_pseudonym_across_epochs(tmp_path, mode):
    with Federation(tmp_path, tables(20)) as federation:
        pseudonyms, ciphertexts, residues = [], [], []
        for again in (False, False, True):  # two epochs, and a second run in the second
            federation.network.passed.clear()
            if not again:
                federation.link(mode)
                sent = {
                    name: _pieces(
                        b"".join(
                            e.content.pseudonyms for e in federation.network.sent("pseudonyms", node=name)
                        ),
                        32,
                    )
                    for name in NAMES
                }
                pseudonyms.append(set().union(*sent.values()))
                assert sent["tax"] & sent["police"]  # in one epoch a person is one pseudonym
            federation.run(POLICY)
            key = next(e.content.paillier for e in federation.network.sent("job_keys") if e.content.paillier)
            n = gmpy2.mpz.from_bytes(key[: KEY_BITS // 8], "big")
            chunks = [
                e.content.ciphertexts
                for e in federation.network.passed
                if e.body in {"contribution", "combined"}
            ]
            made = [c for chunk in chunks for c in _pieces(chunk, LAYOUT.ciphertext_bytes, list)]
            ciphertexts.append(set(made))
            residues.append({gmpy2.mpz.from_bytes(c, "big") % n for c in made})
            assert len(residues[-1]) == len(made)  # four parties' ciphertexts, no randomness twice
    assert not pseudonyms[0] & pseudonyms[1]
    for kind in (ciphertexts, residues):
        assert not kind[0] & kind[1]
        assert not kind[1] & kind[2]
        assert not kind[0] & kind[2]


def _pieces(data, size, kind=set):
    return kind(data[at : at + size] for at in range(0, len(data), size))


def sizes(federation, view):
    """Sizes and counts of all that the coordinator sees: messages by stream and type, files, rows of its store."""
    messages = Counter(
        (each.node, each.from_node, each.body, each.message.ByteSize()) for each in federation.network.passed
    )
    # The job's name is random; what a job took, and when, is not a matter of who is eligible.
    kept = {
        re.sub("[0-9a-f]{32}", "JOB", name.removeprefix(str(federation.home))): len(data)
        for name, data in files(federation).items()
        if not name.startswith(federation.disk.name) and not name.endswith("report.json")
    }
    [[report]] = [
        json.loads(data) for name, data in files(federation).items() if name.endswith("report.json")
    ]
    figures = {key: value for key, value in report.items() if isinstance(value, dict) and key != "seconds"}
    rows = {
        name: sorted(
            str(
                {
                    column: len(cell) if isinstance(cell, bytes) else cell
                    for column, cell in row.items()
                    if column not in {"seconds", "linked"}
                }
            )
            for row in found
        )
        for name, found in view.rows.items()
    }
    return {"messages": messages, "files": kept, "report": sorted(report), "figures": figures, "rows": rows}


def one_by_one(calls, **_):
    return {name: call() for name, call in calls.items()}


def test_the_coordinators_view_is_the_same_whoever_is_eligible(tmp_path, monkeypatch):
    # The number of dummies is random, whoever is eligible: here it is the same in all runs.
    monkeypatch.setattr("veilmatch_coordinator.slots.secrets", SimpleNamespace(randbelow=lambda _: 100))
    # Whoever is told last that a job is over is told of most heads: here they are told in one order.
    monkeypatch.setattr("veilmatch_coordinator.closing.in_parallel", one_by_one)
    everybody = dict.fromkeys(range(PEOPLE), 1)
    nobody = dict.fromkeys(range(PEOPLE), 0)
    half = {number: number % 2 for number in range(PEOPLE)}
    worlds = {
        "everybody": dict.fromkeys(NAMES, everybody),
        "nobody": dict.fromkeys(NAMES, nobody),
        "half": {**dict.fromkeys(NAMES, half), "tax": everybody},
    }
    seen, found = {}, {}
    for case, answers in worlds.items():
        home = tmp_path / case
        given = {name: table(name, answers[name]) for name in NAMES}
        with Federation(home, given) as federation:
            federation.link()
            view = View(federation)
            with federation.tapped(view.tap):
                federation.run(POLICY)
            seen[case] = sizes(federation, view)
            found[case] = len(federation.eligible("aid"))
    assert found == {"everybody": PEOPLE, "nobody": 0, "half": PEOPLE // 2}
    for one, other in pairwise(seen):
        for part, figures in seen[one].items():
            assert figures == seen[other][part], (one, other, part)


def test_check_characters_are_of_the_standard():
    assert check_character("11010519491231002") == "X"  # the example of GB 11643-1999
