"""Slots: how 61 people's 40-bit words share one plaintext (protocol.md, 4.2).

A plaintext integer is a row of 48-bit slots, the lowest bits first: 40 bits of value under 8 of
headroom, so that 254 contributions add up without a carry into the neighbour.  The top slot is
the check slot, the one below it padding, all others belong to people.  Slots are whole bytes:
an array of words becomes plaintexts by dropping bytes, without a loop over people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from veilmatch_crypto.errors import CiphertextError
from veilmatch_crypto.prg import WORD_BITS

SLOT_BITS = 48
SLOT_BYTES = SLOT_BITS // 8
MAX_CONTRIBUTIONS = 254  # sums of 2**8 words would still fit; protocol.md, 4.2 keeps two in reserve

_WORD_BYTES = 8  # a word in an array is a little-endian uint64

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is in a plaintext under a modulus of ``bits`` bits.

    Arrays of words have shape (m, slots): one row a ciphertext, column k for bits 48k to 48k+47.
    Person s is in ciphertext s // data_slots at column s % data_slots.
    """

    bits: int

    @property
    def slots(self) -> int:
        """Slots of a plaintext: 63 at 3072 bits, 42 at 2048."""
        return (self.bits - 1) // SLOT_BITS

    @property
    def data_slots(self) -> int:
        """People that share a ciphertext: 61 at 3072 bits, 40 at 2048."""
        return self.slots - 2

    @property
    def padding_index(self) -> int:
        """Column of the padding slot: it takes the borrow of whoever subtracts below the check slot."""
        return self.slots - 2

    @property
    def check_index(self) -> int:
        """Column of the check slot, the top one (protocol.md, 4.5)."""
        return self.slots - 1

    @property
    def plaintext_bytes(self) -> int:
        """Bytes of a packed plaintext: 378 at 3072 bits."""
        return self.slots * SLOT_BYTES

    @property
    def ciphertext_bytes(self) -> int:
        """Bytes of a ciphertext, big-endian and fixed length: 768 at 3072 bits."""
        return self.bits // 4

    def ciphertexts_for(self, people: int) -> int:
        """How many ciphertexts hold ``people`` slots (the padded count of the epoch)."""
        return -(-people // self.data_slots)

    def chunks(self, people: int, chunk_size: int) -> list[slice]:
        """People of each chunk in turn, ``chunk_size`` ciphertexts a chunk; the last may be shorter."""
        step = chunk_size * self.data_slots
        return [slice(start, min(start + step, people)) for start in range(0, people, step)]

    def spread(self, values: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Put one value a person, shape (people,), into shape (m, slots); all other slots are zero."""
        count = self.ciphertexts_for(len(values))
        data = np.zeros(count * self.data_slots, dtype=values.dtype)
        data[: len(values)] = values
        words = np.zeros((count, self.slots), dtype=values.dtype)
        words[:, : self.data_slots] = data.reshape(count, self.data_slots)
        return words

    def gather(self, words: NDArray[_Scalar], people: int) -> NDArray[_Scalar]:
        """Take the first ``people`` people's values out of shape (m, slots): the inverse of ``spread``."""
        return words[:, : self.data_slots].reshape(-1)[:people]

    def pack(self, words: NDArray[np.uint64]) -> list[mpz]:
        """Pack words, shape (m, slots), values below 2**40, into m plaintext integers.

        Raises ValueError where the shape or a value is wrong.
        """
        if words.ndim != 2 or words.shape[1] != self.slots:
            raise ValueError(f"words have shape (m, {self.slots}), not {words.shape}")
        if words.size and int(words.max()) >> WORD_BITS:
            raise ValueError(f"words are below 2**{WORD_BITS}")
        octets = np.ascontiguousarray(words, dtype="<u8").view(np.uint8)
        packed = octets.reshape(len(words), self.slots, _WORD_BYTES)[:, :, :SLOT_BYTES].tobytes()
        size = self.plaintext_bytes
        return [mpz.from_bytes(packed[at : at + size], "little") for at in range(0, len(packed), size)]

    def unpack(self, plaintexts: Sequence[mpz]) -> NDArray[np.uint64]:
        """Unpack m plaintext integers into slots, shape (m, slots), values below 2**48.

        Raises CiphertextError where a plaintext does not fit its slots: nobody who packed and
        added as agreed made it.
        """
        size = self.plaintext_bytes
        try:
            packed = b"".join(plaintext.to_bytes(size, "little") for plaintext in plaintexts)
        except OverflowError:
            raise CiphertextError("an opened plaintext does not fit its slots") from None
        slots = np.zeros((len(plaintexts), self.slots), dtype="<u8")
        octets = slots.view(np.uint8).reshape(len(plaintexts), self.slots, _WORD_BYTES)
        octets[:, :, :SLOT_BYTES] = np.frombuffer(packed, np.uint8).reshape(-1, self.slots, SLOT_BYTES)
        return slots
