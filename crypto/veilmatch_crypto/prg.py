"""The keyed generator: AES-256 in counter mode, expanded straight into arrays.

Every mask, check word, noise word and permutation of the protocol comes from here, so that two
parties with one key draw the same numbers and a repeat is identical (protocol.md, 4.4 and 4.7).
Nothing here chooses a key: the caller derives one for each use (``derive_key``), and one key
with one (outcome, chunk) is one stream, never two.
"""

import numpy as np
from Crypto.Cipher import AES
from numpy.typing import NDArray

WORD_BITS = 40  # protocol.md, 4.2: what a slot carries
WORD_MASK = np.uint64((1 << WORD_BITS) - 1)

_NO_NONCE = bytes(8)  # for keys that expand one stream only


def words40(key: bytes, outcome: int, chunk: int, count: int) -> NDArray[np.uint64]:
    """Expand ``key`` to the stream of (``outcome``, ``chunk``): shape (count,), values in [0, 2**40).

    protocol.md, 4.4: AES-256-CTR, nonce = BE32 outcome, BE32 chunk, then an 8-byte big-endian
    counter from 0; word j is the little-endian 64-bit word at byte 8j, and 2**40 - 1.
    Raises OverflowError where ``outcome`` or ``chunk`` is not 0 <= i < 2**32, ValueError where
    ``key`` is not 32 bytes.
    """
    words = _words64(key, outcome.to_bytes(4, "big") + chunk.to_bytes(4, "big"), count)
    words &= WORD_MASK
    return words


class KeyedStream:
    """One stream of a key, drawn piece by piece: two parties that draw the same pieces in the same order agree.

    For correlated randomness (protocol.md, 5): it only goes forward, so nothing drawn from it can serve twice.
    """

    def __init__(self, key: bytes) -> None:
        """Start the stream of ``key``, 32 bytes that serve this stream and nothing else; else ValueError."""
        _require_key(key)
        self._cipher = AES.new(key, AES.MODE_CTR, nonce=_NO_NONCE)

    def words64(self, count: int) -> NDArray[np.uint64]:
        """Draw ``count`` uniform 64-bit words, shape (count,)."""
        words = np.zeros(count, dtype="<u8")
        if count:
            stream = words.data.cast("B")
            self._cipher.encrypt(stream, output=stream)
        return words

    def words40(self, count: int) -> NDArray[np.uint64]:
        """Draw ``count`` uniform words below 2**40, shape (count,); each takes 64 bits of the stream."""
        words = self.words64(count)
        words &= WORD_MASK
        return words


def permutation(key: bytes, count: int) -> NDArray[np.int64]:
    """Draw the permutation of range(count) that ``key`` gives: shape (count,).

    Entry i is the element that comes to place i.  Sorting 128-bit random keys is uniform up to
    two keys being equal: less than 2**-88 for a million elements.  ``key`` serves this and
    nothing else; ValueError where it is not 32 bytes.
    """
    high, low = _words64(key, _NO_NONCE, 2 * count).reshape(count, 2).T.copy()
    # The first half alone sorts several times as fast, and decides unless two of them are equal.
    order = np.argsort(high)
    ranked = high[order]
    if (ranked[1:] == ranked[:-1]).any():
        order = np.lexsort((low, high))
    return order


def _words64(key: bytes, nonce: bytes, count: int) -> NDArray[np.uint64]:
    _require_key(key)
    words = np.zeros(count, dtype="<u8")
    if count:
        stream = words.data.cast("B")
        AES.new(key, AES.MODE_CTR, nonce=nonce).encrypt(stream, output=stream)
    return words


def _require_key(key: bytes) -> None:
    if len(key) != 32:
        # AES would take 16 or 24 bytes and quietly be another, weaker generator.
        raise ValueError(f"an expansion key has 32 bytes, not {len(key)}")
