# /// script
# requires-python = ">=3.10,<3.12"  # later ones have no wheels
# dependencies = ["sf-heu==0.5.2b0"]
# ///
"""SecretFlow HEU's ZPaillier: the subgroup variant of Damgard, Jurik and Nielsen, numbers as they are."""

import sys

from heu import phe
from paillier_rounds import operations
from peer import serve, timed


def main() -> None:
    """Make a key of so many bits, and serve."""
    kits = []
    apart = timed(lambda: kits.append(phe.setup(phe.SchemaType.ZPaillier, int(sys.argv[1]))))
    [kit] = kits
    serve(
        apart,
        ("sf-heu",),
        operations(kit.encryptor().encrypt_raw, kit.evaluator().add, kit.decryptor().decrypt_raw),
    )


if __name__ == "__main__":
    main()
