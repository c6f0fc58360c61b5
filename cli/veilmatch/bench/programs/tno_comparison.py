# /// script
# requires-python = ">=3.10"
# dependencies = [
#     "tno.mpc.protocols.secure_comparison[gmpy]==4.4.0",
#     "tno.mpc.encryption_schemes.utils==0.15.0",  # 0.16 wants another tno.mpc.communication than 4.4.0
# ]
# ///
"""TNO's secure comparison of two encrypted numbers: Paillier and DGK, 2048 bits, one after the other.

In its favour, messages are handed over in memory, so that neither a network nor serialising
counts, and the processes that draw its randomness do not count either.
"""

import asyncio
import secrets
import sys
import time

import gmpy2
from peer import BITS, LIMIT, check, numbers, serve
from tno.mpc.encryption_schemes.dgk import DGK
from tno.mpc.encryption_schemes.paillier import Paillier
from tno.mpc.encryption_schemes.utils import next_prime
from tno.mpc.protocols.secure_comparison import Initiator, KeyHolder


class Post:
    """One party's end of a wire between two."""

    def __init__(self, name: str, letters: dict[tuple[str, str], asyncio.Future]) -> None:
        self.name = name
        self.letters = letters

    def letter(self, party: str, msg_id: str) -> asyncio.Future:
        """A message to a party that is there, or will be."""
        fresh = asyncio.get_running_loop().create_future()
        return self.letters.setdefault((party, msg_id), fresh)

    async def send(self, party_id: str, message: object, msg_id: str) -> None:
        """Hand a message over."""
        self.letter(party_id, msg_id).set_result(message)

    async def recv(self, party_id: str, msg_id: str) -> object:  # noqa: ARG002  there is one other party
        """Wait for a message."""
        return await self.letter(self.name, msg_id)


def prime(bits: int) -> int:
    """A random prime of so many bits."""
    return int(gmpy2.next_prime(secrets.randbits(bits - 2) | 1 << (bits - 1)))


async def compare(paillier: Paillier, dgk: DGK, count: int) -> float:
    """Seconds of ``count`` comparisons."""
    letters: dict[tuple[str, str], asyncio.Future] = {}
    schemes = {"scheme_paillier": paillier, "scheme_dgk": dgk}
    initiator = Initiator(BITS, Post("initiator", letters), "keyholder", **schemes)
    holder = KeyHolder(BITS, Post("keyholder", letters), "initiator", **schemes)
    seconds = 0.0
    for _ in range(count):
        x, y = (number + LIMIT for number in numbers(2))
        encrypted = paillier.unsafe_encrypt(x), paillier.unsafe_encrypt(y)
        began = time.process_time()
        answer, _ = await asyncio.gather(
            initiator.perform_secure_comparison(*encrypted), holder.perform_secure_comparison()
        )
        seconds += time.process_time() - began
        check([bool(paillier.decrypt(answer))], [x <= y])
    return seconds


def main() -> None:
    """Make keys, and serve rounds of so many comparisons."""
    # Its own search for primes takes minutes for this plaintext space.
    DGK.get_prime = staticmethod(prime)
    count = int(sys.argv[1])
    began = time.process_time()
    paillier = Paillier.from_security_parameter(key_length=2048)
    space = next_prime(1 << (BITS + 2))
    dgk = DGK.from_security_parameter(v_bits=160, n_bits=2048, u=space, full_decryption=False)
    apart = time.process_time() - began
    asyncio.run(compare(paillier, dgk, 1))  # starts the processes that draw randomness
    packages = ("tno.mpc.protocols.secure-comparison", "tno.mpc.encryption-schemes.paillier", "gmpy2")
    serve(apart, packages, {"below": lambda: (asyncio.run(compare(paillier, dgk, count)), count)})
    paillier.shut_down()
    dgk.shut_down()


if __name__ == "__main__":
    main()
