"""What an option can be, where several commands have it."""

from enum import StrEnum


class LinkageMode(StrEnum):
    """How people are matched (protocol.md, 3)."""

    oprf = "oprf"
    shared_key = "shared-key"


class SlotMode(StrEnum):
    """Whose people have slots (protocol.md, 3 step 4)."""

    union = "union"
    register = "register"


class KeyBits(StrEnum):
    """Length of the Paillier modulus."""

    short = "2048"
    usual = "3072"
