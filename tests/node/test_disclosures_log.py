"""What the front desk reads out of a log and the store's tags: roles, how jobs ended, and what is not remembered."""

import hashlib
import hmac
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.identity_numbers import check_digit

from veilmatch_crypto import IdentityKey, Vault
from veilmatch_evidence.actions import (
    Closed,
    Contributed,
    Delivered,
    Opened,
    PolicyUse,
    Presented,
    Refused,
    ServiceStarted,
    Started,
    ToldHouseholds,
)
from veilmatch_evidence.errors import LogError
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.disclosures import Disclosures
from veilmatch_node.errors import DataError, StoreError
from veilmatch_node.linked import is_linked, linked_tags, tags_of
from veilmatch_node.people import UNKNOWN, SlotTable
from veilmatch_node.store import TAG_KEY, NodeStore, StoredEpoch
from veilmatch_policy.catalog import parse_catalog

KEY = bytes(range(32))
FIRST, SECOND, FORGOTTEN = (bytes([number]) * 32 for number in (1, 2, 3))
CATALOG = parse_catalog(
    b"""
department: tax
tables:
  residents: {source: a.csv, id: n, identifier: cn-resident-id, columns: {wage: {type: integer}}}
  firms: {source: b.csv, id: n, identifier: {scheme: text, normalise: [upper]}, columns: {rent: {type: integer}}}
""",
    "catalog",
)
NUMBER = "110105194912310021"[:17]
NUMBER += check_digit(NUMBER)
OLD = NUMBER[:6] + NUMBER[8:17]  # of the same person, before 1999
RESIDENT, FIRM = b"cn-resident-id\0" + NUMBER.encode(), b"text\0ACME-1"


def table(*inputs, slots=None):
    slots = range(len(inputs)) if slots is None else slots
    return SlotTable(pa.array(inputs, pa.large_binary()), np.array(slots, np.uint32))


def tags(key, people):
    return linked_tags(tags_of(key, people.inputs), people.slots)


@pytest.fixture
def store(tmp_path):
    """Two epochs are linked: the resident was in both, the firm in the second."""
    store = NodeStore(tmp_path / "tax.sqlite", Vault(bytes(32)))
    key = store.setting_once(TAG_KEY, KEY)
    for context, people in ((FIRST, [RESIDENT]), (SECOND, [FIRM, RESIDENT])):
        store.save_epoch(context, StoredEpoch(b"{}", 9, b""), tags(key, table(*people)))
    yield store
    store.close()


@pytest.fixture
def log(tmp_path):
    log = EvidenceLog(tmp_path / "tax.log", "tax", IdentityKey.generate())
    yield log
    log.close()


def desk(store, log):
    return Disclosures("tax", catalog=CATALOG, linkage=store, desk=store.desk, log=log)


def use(policy="aid", **changes):
    fields = {
        "policy": policy,
        "version": 1,
        "content": "c" * 64,
        "recipient": "social",
        "purpose": "relief",
        "reveal": "members",
        "columns": ("wage",),
        "approval": None,
        "run": 0,
    }
    return PolicyUse(**(fields | changes))


def named(job):
    return {"job": f"{job:032x}", "manifest": f"{job:064x}"}


def start(log, job, *uses, epoch=SECOND):
    log.append(Started(**named(job), epoch=epoch.hex(), policies=uses or (use(),), debits=()))


def chunk(job):
    return {**named(job), "outcome": 0, "chunk": 0, "sha256": "d" * 64}


def uses(store, log, person=NUMBER):
    return desk(store, log).of(person.encode()).uses


def test_only_jobs_over_epochs_that_linked_the_person_are_told(store, log):
    start(log, 1, epoch=FIRST)
    start(log, 2, epoch=SECOND)
    assert [int(each.job, 16) for each in uses(store, log)] == [1, 2]
    assert [int(each.job, 16) for each in uses(store, log, "acme-1")] == [2]
    assert uses(store, log, "acme-2") == ()


def test_every_scheme_of_the_catalog_that_accepts_the_identifier_is_looked_up(store, log):
    start(log, 1)
    assert len(uses(store, log, OLD)) == len(uses(store, log, f" {NUMBER} ")) == len(uses(store, log)) == 1


def test_what_no_scheme_accepts_is_refused_with_every_reason(store, log):
    with pytest.raises(DataError, match=r"refused \(cn-resident-id: empty; text: empty\)"):
        desk(store, log).of(b"")


def test_jobs_over_epochs_that_nobody_remembers_are_counted_not_denied(store, log):
    start(log, 1, epoch=FORGOTTEN)
    start(log, 2, epoch=FIRST)
    told = desk(store, log).of(NUMBER.encode())
    assert ([int(each.job, 16) for each in told.uses], told.not_remembered) == ([2], 1)


def test_the_answer_says_since_when_the_log_knows(store, log):
    before = datetime.now(UTC).replace(microsecond=0)
    log.append(ServiceStarted(release="1", directory="a" * 64, directory_version=1))
    told = desk(store, log).of(NUMBER.encode())
    assert before <= told.since <= datetime.now(UTC)
    assert (told.department, told.uses) == ("tax", ())


def ended(store, log):
    [each] = uses(store, log)
    return each.left, each.delivered, each.refused, each.closed


def test_how_far_a_contributors_job_came(store, log):
    log.append(
        Refused(job=named(1)["job"], rule="no-approval")
    )  # it waited for the officer: before it started
    start(log, 1)
    assert ended(store, log) == (False, False, None, False)
    log.append(Contributed(**chunk(1)))
    log.append(Contributed(**chunk(9)))  # of a job that never started here
    assert ended(store, log) == (True, False, None, False)
    log.append(Refused(job=named(1)["job"], rule="revoked"))
    log.append(Refused(job=named(1)["job"], rule="job"))  # whatever comes after, of the same cause
    log.append(Refused(job=None, rule="job"))
    log.append(Closed(**named(1)))
    assert ended(store, log) == (True, False, "revoked", True)


def test_how_far_the_recipients_job_came(store, log):
    start(log, 1, use("other"), use(recipient="tax", columns=()))
    log.append(Presented(**named(1), policy=1, people=2))
    log.append(Opened(**chunk(1)))
    other, asking = uses(store, log)
    assert (other.roles, other.left) == (("contributor",), False)
    assert (asking.roles, asking.left, asking.delivered) == (("recipient",), True, False)
    log.append(Delivered(**named(1), policy="aid"))
    assert [each.delivered for each in uses(store, log)] == [False, True]


@pytest.mark.parametrize(
    ("asked", "told", "contributed", "roles"),
    [
        (use(columns=()), True, False, [("household-register",)]),  # its column is open
        (use(columns=(), approval="a" * 64, run=1), True, False, [("household-register",)]),
        (use(columns=(), approval="a" * 64, run=1), False, False, [("contributor",)]),  # did not come to it
        (use(columns=()), False, True, [("contributor",)]),  # `count(*)`
        (use(columns=()), True, True, [("contributor", "household-register")]),
        (use(), True, False, [("contributor", "household-register")]),
        (use(columns=(), recipient="tax"), True, False, [("recipient", "household-register")]),
        (use(columns=()), False, False, []),  # a dealer's part is not about rows
    ],
)
def test_what_a_department_did_in_a_job(store, log, asked, told, contributed, roles):
    start(log, 1, asked)
    if told:
        log.append(ToldHouseholds(**named(1)))
    if contributed:
        log.append(Contributed(**chunk(1)))
    found = uses(store, log)
    assert [each.roles for each in found] == roles
    assert {each.left for each in found} <= {told or contributed}


def test_an_approval_that_is_not_in_the_store_is_still_named(store, log):
    start(log, 1, use(approval="a" * 64, run=4))
    [each] = uses(store, log)
    assert (each.approval.digest, each.approval.run) == ("a" * 64, 4)
    assert each.approval.signed_by is each.approval.expires is None


def test_without_a_log_nothing_is_told(store, log, tmp_path):
    (tmp_path / "tax.log").unlink()
    with pytest.raises(LogError):
        desk(store, log).of(NUMBER.encode())


# The store's part.


def test_tags_outlive_the_people_of_their_epoch_and_lie_locked(store, tmp_path):
    tag = hmac.digest(KEY, RESIDENT, hashlib.sha256)[:8]
    assert store.epoch(FIRST) is None
    assert store.linked(FIRST) == tag
    assert len(store.linked(SECOND)) == 16
    assert store.linked(FORGOTTEN) is None
    held = b"".join(path.read_bytes() for path in tmp_path.glob("tax.sqlite*"))
    assert FIRST in held
    for secret in (tag, KEY, RESIDENT, NUMBER.encode()):
        assert secret not in held


def test_an_epoch_that_is_refused_changes_no_tags(store):
    before = store.linked(FIRST)
    with pytest.raises(StoreError, match="already linked"):
        store.save_epoch(FIRST, StoredEpoch(b"{}", 9, b""), b"others")
    assert store.linked(FIRST) == before


def test_people_outside_the_register_are_not_linked():
    kept = tags(KEY, table(b"in", b"out", slots=[5, UNKNOWN]))
    assert len(kept) == 8
    assert is_linked(kept, KEY, [b"in"])
    assert not is_linked(kept, KEY, [b"out"])


@given(st.sets(st.binary(max_size=30), max_size=40), st.binary(max_size=30))
def test_whoever_was_linked_is_found_and_nobody_else(people, asked):
    kept = tags(KEY, table(*people))
    assert [kept[start : start + 8] for start in range(0, len(kept), 8)] == sorted(
        hmac.digest(KEY, person, hashlib.sha256)[:8] for person in people
    )
    assert is_linked(kept, KEY, [b"nobody has this one: it is too long", asked]) == (asked in people)
    assert not is_linked(kept, bytes(32), list(people)[:1])
    assert not is_linked(kept, KEY, [])
