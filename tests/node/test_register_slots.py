"""Shows that a node takes its slots only from the list that the register signed for this epoch and these keys."""

import hashlib
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilmatch_crypto import AgreementKey, IdentityKey
from veilmatch_node.epoch_keys import draw_secret, open_secret, seal_secret
from veilmatch_node.errors import LinkageError
from veilmatch_node.people import UNKNOWN, SlotTable
from veilmatch_node.register import RegisterSlots
from veilmatch_policy.directory import Member, encode_directory, open_directory, signed_bytes
from veilmatch_policy.epoch import Epoch, OpenEpoch, RegisterStatement, signed_register

VALUE = 32  # bytes
NAMES = ("police", "tax")
IDENTITY = {name: IdentityKey.generate() for name in (*NAMES, "office")}
SEALING = {name: AgreementKey.generate() for name in NAMES}


def directory():
    members = {
        name: Member(role="node", certificate="00" * 32, identity=IDENTITY[name].public.hex())
        for name in NAMES
    }
    members = {
        name: member.model_copy(update={"sealing": SEALING[name].public.hex()})
        for name, member in members.items()
    }
    members["office"] = Member(
        role="coordinator", certificate="00" * 32, identity=IDENTITY["office"].public.hex()
    )
    root = IdentityKey.generate()
    data = encode_directory("two", 1, ("police",), members, {}, register="police")
    return open_directory(data, root.sign(signed_bytes(data)), root.public)


DIRECTORY = directory()


def opened(slots="register"):
    epoch = Epoch(
        epoch=IdentityKey.generate().public.hex()[:32],
        federation="two",
        directory=DIRECTORY.digest.hex(),
        linkage="oprf",
        slots=slots,
        register="police" if slots == "register" else None,
        reference_date=date(2025, 12, 31),
        nodes=NAMES,
        trustees=("police",),
    )
    return OpenEpoch(epoch, epoch.encode())


def keys_of(epoch, secret):
    sealed = seal_secret(
        secret, "police", "tax", sequence=1, epoch=epoch, directory=DIRECTORY, identity=IDENTITY["police"]
    )
    return open_secret(sealed, "tax", last_sequence=0, epoch=epoch, directory=DIRECTORY, key=SEALING["tax"])


EPOCH = opened()
KEYS = keys_of(EPOCH, draw_secret())


def people(numbers, epoch=EPOCH, keys=KEYS):
    """People before they have slots; an OPRF output is 32 bytes that look random."""
    inputs = [b"opaque\0p%d" % number for number in numbers]
    outputs = np.frombuffer(b"".join(hashlib.sha256(linked).digest() for linked in inputs), np.uint8)
    outputs = outputs.reshape(-1, VALUE)
    return RegisterSlots(epoch, DIRECTORY, keys, pa.array(inputs, pa.large_binary()), outputs)


def drawn(numbers, **options):
    return people(numbers, **options).draw(IDENTITY["police"])


@given(st.integers(0, 60), st.sets(st.integers(0, 80), max_size=50))
def test_a_node_finds_exactly_the_registered_among_its_people(registered, known):
    register = drawn(range(registered))
    table = people(known).find(register.statement, register.values)
    own = dict(zip(register.table.inputs.to_pylist(), register.table.slots.tolist(), strict=True))
    assert sorted(own.values()) == list(range(registered))
    inputs = table.inputs.to_pylist()
    assert table.slots.tolist() == [own.get(linked, int(UNKNOWN)) for linked in inputs]
    assert table.outside == sum(number >= registered for number in known)
    slots = table.slots[table.slots != UNKNOWN]
    claims = np.frombuffer(register.claims, np.uint8).reshape(-1, VALUE)
    again = SlotTable.decode(table.encode())
    assert again.claims_of(slots) == claims[slots].tobytes()
    assert again.find(table.inputs).tolist() == table.slots.tolist()


def test_a_slot_table_of_nobody_is_kept_as_it_is():
    for claims in (None, np.empty((0, VALUE), np.uint8)):
        table = SlotTable(pa.array([], pa.large_binary()), np.empty(0, np.uint32), claims)
        again = SlotTable.decode(table.encode())
        assert (again.claims is None) == (claims is None)
        assert len(again.slots) == 0


def swap(values):
    return values[VALUE : 2 * VALUE] + values[:VALUE] + values[2 * VALUE :]


def signed(values, signer="police", epoch=EPOCH, keys=KEYS, count=None):
    count = len(values) // VALUE if count is None else count
    digest = hashlib.sha256(values).digest()
    return RegisterStatement(
        count, digest, IDENTITY[signer].sign(signed_register(epoch, keys.digest, count, digest))
    )


@pytest.mark.parametrize(
    "change",
    [
        swap,
        lambda values: bytes([values[0] ^ 1]) + values[1:],
        lambda values: values[:VALUE] * 2 + values[2 * VALUE :],
        lambda values: values[:-VALUE],
        lambda values: values[:-1],
        lambda values: values + values[:VALUE],
        lambda values: b"",
    ],
)
def test_attack_a_list_that_is_not_the_signed_one(change):
    register = drawn(range(6))
    with pytest.raises(LinkageError, match="is not the one that the register signed"):
        people(range(4)).find(register.statement, change(register.values))


def test_attack_a_statement_that_the_register_did_not_sign():
    register = drawn(range(6))
    good, other = register.statement, swap(register.values)
    for statement in (
        replace(good, count=5),
        replace(good, digest=hashlib.sha256(other).digest()),
        replace(good, signature=bytes(64)),
        signed(other, signer="tax"),
        signed(other, signer="office"),
        signed(other, epoch=opened()),
        signed(other, keys=keys_of(EPOCH, draw_secret())),
    ):
        with pytest.raises(LinkageError, match="the register's list is not police's own for this epoch"):
            people(range(4)).list_bytes(statement)
        with pytest.raises(LinkageError):
            people(range(4)).find(statement, other)


def test_a_list_that_names_somebody_twice_is_refused_also_where_it_is_signed():
    values = drawn(range(6)).values
    twice = values + values[VALUE : 2 * VALUE]
    with pytest.raises(LinkageError, match="the register lists somebody twice"):
        people(range(0)).find(signed(twice), twice)


def test_a_list_of_more_people_than_an_epoch_holds_is_not_waited_for():
    assert people([]).list_bytes(signed(b"", count=2**31 - 1)) == VALUE * (2**31 - 1)
    with pytest.raises(LinkageError, match="police lists more people than an epoch holds"):
        people([]).list_bytes(signed(b"", count=2**31))


def test_a_list_in_union_mode_is_refused():
    union = opened("union")
    with pytest.raises(LinkageError, match="a register's list came in union mode"):
        people([], epoch=union).list_bytes(signed(b"", epoch=union))


def test_list_claims_and_pseudonyms_have_keys_of_their_own():
    keys = [KEYS.pseudonym, KEYS.link, KEYS.listing, KEYS.claim]
    other = keys_of(opened(), draw_secret())
    assert len({*keys, other.listing, other.claim}) == 6
    assert drawn(range(30)).values != drawn(range(30)).values  # a fresh order


def test_nothing_of_a_person_prints():
    register = drawn(range(3))
    for shown in (register, people(range(3)), register.table, KEYS):
        text = repr(shown)
        assert "p1" not in text
        assert "\\x" not in text
