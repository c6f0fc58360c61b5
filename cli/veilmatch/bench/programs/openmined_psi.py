# /// script
# requires-python = ">=3.10"
# dependencies = ["openmined-psi==2.0.6"]
# ///
"""OpenMined PSI: two parties' sets intersected by Diffie-Hellman over P-256, no false positives.

One item is an identity of each party: four multiplications, as a linkage through two trustees has.
"""

import sys

import private_set_intersection.python as psi
from peer import Sample, check, serve, timed


def main() -> None:
    """Serve rounds of so many identities at each party, half of them shared."""
    count = int(sys.argv[1])
    mine = [f"{number:018d}" for number in range(count)]
    theirs = [f"{number:018d}" for number in range(count // 2, count // 2 + count)]

    def intersect() -> Sample:
        found: list[int] = []

        def both() -> None:
            client = psi.client.CreateWithNewKey(True)
            server = psi.server.CreateWithNewKey(True)
            setup = server.CreateSetupMessage(0.0, count, theirs, psi.DataStructure.RAW)
            answered = server.ProcessRequest(client.CreateRequest(mine))
            found.extend(client.GetIntersection(setup, answered))

        seconds = timed(both)
        check(sorted(found), range(count // 2, count))
        return seconds, count

    serve(0.0, ("openmined-psi",), {"link": intersect})


if __name__ == "__main__":
    main()
