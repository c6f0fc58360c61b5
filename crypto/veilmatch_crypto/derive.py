"""Every derived key is bound to what it is for: one HKDF call, one label a use.

The labels are those of protocol.md, 4.4: ``mask``, ``check``, ``noise``, ``blank``; a key for
one use never equals a key for another, nor a key of another manifest or epoch.
"""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from veilmatch_crypto.encoding import encode_tuple

KEY_BYTES = 32  # 256 bits: every symmetric key of the protocol


def derive_key(secret: bytes, *, context: bytes, label: str, names: tuple[str, ...] = ()) -> bytes:
    """Derive a 32-byte key from ``secret`` (HKDF-SHA-256, RFC 5869).

    ``context`` is the hash that the key is bound to: H(manifest) for a job, H(directory, epoch)
    for an epoch; it is the salt.  ``label`` names the use, ``names`` the parties in the order
    that protocol.md, 4.4 gives (lower name first for a pair); both go into the info.
    """
    info = encode_tuple(f"veilmatch/1/{label}", *names)
    return HKDF(SHA256(), KEY_BYTES, salt=context, info=info).derive(secret)
