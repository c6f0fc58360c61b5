"""A revoked member is named with day and reason, is a member no more, and has no part; old files still read."""

from datetime import date

import pytest
import tomli_w

from veilmatch_crypto import IdentityKey
from veilmatch_policy.directory import Member, Revocation, encode_directory, open_directory, signed_bytes
from veilmatch_policy.errors import DirectoryError

ROOT = IdentityKey.generate()
KEY = IdentityKey.generate().public.hex()
MEMBERS = {
    name: Member(role="node", certificate="11" * 32, identity=KEY, sealing=KEY, officer=KEY)
    for name in ("housing", "tax")
} | {"office": Member(role="coordinator", certificate="00" * 32, identity=KEY)}
REVOKED = {"police": Revocation(on=date(2026, 3, 1), reason="its keys were copied")}
SAID = r"^directory: police was revoked on 2026-03-01 \(its keys were copied\)"


def opened(data):
    return open_directory(data, ROOT.sign(signed_bytes(data)), ROOT.public)


def directory(members=MEMBERS, trustees=("housing",), **parts):
    return opened(encode_directory("two", 2, trustees, members, {}, **parts))


def test_a_revoked_member_is_named_with_day_and_reason():
    known = directory(revoked=REVOKED)
    assert known.revoked == REVOKED
    for asked in (known.member, known.identity, known.officer, known.sealing):
        with pytest.raises(DirectoryError, match=SAID):
            asked("police")
    assert known.roles_of("police", "11" * 32) is None
    assert "police" not in known.members
    assert "police" not in known.nodes
    assert "police" not in known.may_deal


def test_a_stranger_is_still_a_stranger():
    with pytest.raises(DirectoryError, match="customs is no member of two; members are housing, office, tax"):
        directory(revoked=REVOKED).member("customs")


@pytest.mark.parametrize(
    "part",
    [{"trustees": ("police",)}, {"dealers": ("tax", "police")}, {"register": "police"}],
    ids=["trustee", "dealer", "register"],
)
def test_a_revoked_member_has_no_part(part):
    with pytest.raises(DirectoryError, match="police is no node"):
        directory(revoked=REVOKED, **part)


def test_nobody_is_a_member_and_revoked():
    with pytest.raises(DirectoryError, match="tax is a member and revoked"):
        directory(revoked={"tax": REVOKED["police"]})


def test_a_file_of_before_there_were_revocations():
    members = {name: member.model_dump(exclude_none=True) for name, member in MEMBERS.items()}
    data = tomli_w.dumps(
        {"federation": "two", "version": 1, "trustees": ["tax"], "members": members}
    ).encode()
    assert opened(data).revoked == {}


@pytest.mark.parametrize(
    "entry",
    [
        {"on": date(2026, 3, 1)},
        {"on": date(2026, 3, 1), "reason": ""},
        {"on": date(2026, 3, 1), "reason": "x" * 201},
        {"on": "soon", "reason": "x"},
        {"on": date(2026, 3, 1), "reason": "x", "by": "me"},
    ],
    ids=str,
)
def test_an_entry_that_is_none(entry):
    members = {name: member.model_dump(exclude_none=True) for name, member in MEMBERS.items()}
    file = {"federation": "two", "version": 1, "trustees": ["tax"], "members": members}
    with pytest.raises(DirectoryError, match=r"cannot be read \(revoked\.police"):
        opened(tomli_w.dumps({**file, "revoked": {"police": entry}}).encode())
