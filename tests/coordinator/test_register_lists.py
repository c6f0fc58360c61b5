"""Shows what the coordinator asks of a register's list and claims before any node hears of them."""

import os

import pytest

from veilmatch_coordinator.errors import LinkageError
from veilmatch_coordinator.slots import RegisterLists, check_register
from veilmatch_policy.epoch import RegisterStatement

VALUE = 32  # bytes
PEOPLE = 5


def lists(values, claims, count=PEOPLE):
    return RegisterLists(RegisterStatement(count, bytes(32), bytes(64)), values, claims)


def test_one_value_and_one_claim_for_each_of_its_people():
    values, claims = os.urandom(VALUE * PEOPLE), os.urandom(VALUE * PEOPLE)
    check_register("police", lists(values, claims), PEOPLE)
    check_register("police", lists(b"", b"", 0), 0)
    for wrong in (
        lists(values, claims, PEOPLE + 1),
        lists(values[VALUE:], claims),
        lists(values[:-1], claims),
        lists(values, claims[VALUE:]),
        lists(values, claims + claims[:1]),
        lists(values[VALUE:], claims[VALUE:], PEOPLE - 1),
    ):
        with pytest.raises(LinkageError, match="police drew slots for another number of people"):
            check_register("police", wrong, PEOPLE)


def test_no_value_occurs_twice():
    values, claims = os.urandom(VALUE * PEOPLE), os.urandom(VALUE * PEOPLE)
    for wrong in (
        lists(values[:VALUE] * 2 + values[2 * VALUE :], claims),
        lists(values, claims[VALUE:] + claims[-VALUE:]),
        lists(values, values),
        lists(values, claims[:-VALUE] + values[:VALUE]),
    ):
        with pytest.raises(LinkageError, match="police gave one value to two people") as caught:
            check_register("police", wrong, PEOPLE)
        assert values[:VALUE].hex() not in str(caught.value)
