"""Shows which slot modes an epoch's statement can ask for, and what the directory must say of the register."""

from datetime import date

import pytest

from veilmatch_crypto import IdentityKey
from veilmatch_policy.directory import Member, encode_directory, open_directory, signed_bytes
from veilmatch_policy.epoch import Epoch, open_epoch, reopen_epoch, signed_statement
from veilmatch_policy.errors import DirectoryError, ManifestError

NAMES = ("police", "tax")
OFFICE = IdentityKey.generate()


def directory(register):
    key = IdentityKey.generate()
    members = {name: Member(role="node", certificate="00" * 32, identity=key.public.hex()) for name in NAMES}
    members["office"] = Member(role="coordinator", certificate="00" * 32, identity=OFFICE.public.hex())
    data = encode_directory("two", 1, ("police",), members, {}, register=register)
    return open_directory(data, key.sign(signed_bytes(data)), key.public)


def opened(known, slots, register, linkage="oprf"):
    epoch = Epoch(
        epoch="0" * 32,
        federation="two",
        directory=known.digest.hex(),
        linkage=linkage,
        slots=slots,
        register=register,
        reference_date=date(2025, 12, 31),
        nodes=NAMES,
        trustees=("police",),
    )
    statement = epoch.encode()
    return open_epoch(statement, OFFICE.sign(signed_statement(statement)), known)


def test_register_slots_name_the_directorys_register():
    known = directory("police")
    assert known.register == "police"
    epoch = opened(known, "register", "police")
    assert epoch.epoch.register == "police"
    assert b'"register":"police"' in epoch.statement
    assert reopen_epoch(epoch.statement) == epoch
    assert opened(directory(None), "union", None, "shared-key").epoch.register is None


@pytest.mark.parametrize(
    ("known", "slots", "register", "linkage", "said"),
    [
        ("police", "register", "police", "shared-key", "asks for register slots in shared-key mode"),
        ("police", "register", "tax", "oprf", "states another register than this node's directory"),
        ("police", "register", None, "oprf", "states another register than this node's directory"),
        (None, "register", "police", "oprf", "the directory names no register; link with union slots"),
        (None, "register", None, "oprf", "the directory names no register; link with union slots"),
        ("police", "union", None, "oprf", "asks for union slots where the directory names a register"),
        ("police", "union", "police", "oprf", "names a register in union mode"),
        ("police", "union", "police", "shared-key", "names a register in union mode"),
    ],
)
def test_modes_that_do_not_go_together_are_refused(known, slots, register, linkage, said):
    with pytest.raises(ManifestError) as caught:
        opened(directory(known), slots, register, linkage)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("register", ["office", "stranger"])
def test_a_register_that_is_no_node_is_refused(register):
    with pytest.raises(DirectoryError, match=f"directory: register {register} is no node"):
        directory(register)
