"""AES-256-CMAC of many short messages of one length at once (NIST SP 800-38B).

A pseudorandom function of values that look random already, such as outputs of the OPRF: every message
takes a few blocks of the cipher, which the processor has in hardware, and no hash.  All messages go through
one call of the cipher for each block, so that there is no loop over them.
"""

import numpy as np
from Crypto.Cipher import AES
from Crypto.Cipher._mode_ecb import EcbMode
from numpy.typing import NDArray

_BLOCK = 16  # bytes of AES
_KEY = 32  # bytes: AES would take 16 or 24 as well
_ROWS = 1 << 14  # messages a piece: what is worked on stays in the processor's cache
_REDUCTION = 0x87  # SP 800-38B, 5.3: R_128


def cmac_rows(key: bytes, rows: NDArray[np.uint8], *, blocks: int = 1) -> NDArray[np.uint8]:
    """Expand each of n messages to 16 ``blocks`` bytes: shape (n, 16 blocks).

    ``rows``: shape (n, width), each row one message.  With m a row, block i of its result is
    CMAC(``key``, m || i), i as 16 bytes, big-endian.  A key serves messages of one width only.
    Raises ValueError where ``key`` is not 32 bytes, or ``width`` no positive multiple of 16.
    """
    count, width = rows.shape
    if len(key) != _KEY or width == 0 or width % _BLOCK:
        raise ValueError(f"a key of {len(key)} bytes and messages of {width} bytes are not for AES-256-CMAC")
    cipher = AES.new(key, AES.MODE_ECB)
    last = _last_blocks(cipher, blocks)
    expanded = np.empty((count, blocks, 2), np.uint64)
    for start in range(0, count, _ROWS):
        piece = rows[start : start + _ROWS]
        state = np.zeros((len(piece), 2), np.uint64)
        for place in range(0, width, _BLOCK):
            state ^= np.ascontiguousarray(piece[:, place : place + _BLOCK]).view(np.uint64)
            _encrypt(cipher, state)
        ends = state[:, None] ^ last
        _encrypt(cipher, ends)
        expanded[start : start + len(piece)] = ends
    return expanded.view(np.uint8).reshape(count, blocks * _BLOCK)


def _last_blocks(cipher: EcbMode, blocks: int) -> NDArray[np.uint64]:
    """The last block of each message, i, with the subkey K1 of whole blocks in it; shape (blocks, 2)."""
    doubled = int.from_bytes(cipher.encrypt(bytes(_BLOCK)), "big") << 1
    carry = doubled >> (8 * _BLOCK)
    subkey = (doubled ^ carry << (8 * _BLOCK)) ^ carry * _REDUCTION
    ends = b"".join((subkey ^ number).to_bytes(_BLOCK, "big") for number in range(blocks))
    return np.frombuffer(ends, np.uint64).reshape(blocks, 2)


def _encrypt(cipher: EcbMode, words: NDArray[np.uint64]) -> None:
    """Encrypt whole blocks in place."""
    if words.size:
        data = words.data.cast("B")
        cipher.encrypt(data, output=data)
