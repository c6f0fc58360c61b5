# /// script
# requires-python = ">=3.10"
# dependencies = ["phe==1.5.0", "gmpy2>=2.2"]
# ///
"""python-paillier (phe) with gmpy2: plain Paillier, r**n as noise."""

import sys

import phe
from paillier_rounds import operations
from peer import serve, timed


def main() -> None:
    """Make a key of so many bits, and serve."""
    keys = []
    apart = timed(lambda: keys.append(phe.generate_paillier_keypair(n_length=int(sys.argv[1]))))
    [(public, private)] = keys
    serve(
        apart,
        ("phe", "gmpy2"),
        operations(public.encrypt, lambda one, other: one + other, private.decrypt),
    )


if __name__ == "__main__":
    main()
