"""The one encoding of tuples, used for everything that is signed, hashed or derived.

protocol.md, 1: "Tuples are encoded with 4-byte length prefixes, everywhere."  The encoding is
injective: no two different tuples give the same bytes, whatever the parts contain.
"""


def encode_tuple(*parts: bytes | str | int) -> bytes:
    """Encode ``parts`` in order, each behind its length as 4 bytes, big-endian.

    Text is UTF-8; an integer (0 <= i < 2**64) is 8 bytes, big-endian.  Raises ValueError for
    an integer outside that range and OverflowError for a part of 4 GiB or more.
    """
    encoded = bytearray()
    for part in parts:
        match part:
            case str():
                data = part.encode()
            case int():
                if not 0 <= part < 2**64:
                    raise ValueError(f"integers in tuples are 0 <= i < 2**64, not {part.bit_length()} bits")
                data = part.to_bytes(8, "big")
            case _:
                data = part
        encoded += len(data).to_bytes(4, "big")
        encoded += data
    return bytes(encoded)
