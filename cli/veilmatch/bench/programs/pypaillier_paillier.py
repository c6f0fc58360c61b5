# /// script
# requires-python = ">=3.10"
# dependencies = ["pypaillier==0.8.0"]
# ///
"""pypaillier: the subgroup variant with an exponent of half the modulus's length, in Rust over GMP."""

import sys

import paillier
from paillier_rounds import operations
from peer import serve, timed


def main() -> None:
    """Make a key of so many bits, and serve."""
    keys = []
    apart = timed(lambda: keys.append(paillier.generate_keypair(int(sys.argv[1]))))
    [(public, secret)] = keys
    serve(
        apart,
        ("pypaillier",),
        operations(
            lambda number: paillier.encrypt_integers(public, [number])[0],
            lambda one, other: paillier.add_many(public, [one, other]),
            lambda ciphertext: int(paillier.decrypt(secret, ciphertext)),
        ),
    )


if __name__ == "__main__":
    main()
