"""Shows that a coordinator gains nothing by telling the dealer other sizes than the recipient goes by.

Were both still to draw from one stream, what masks the dealer's corrections would be what the recipient
sends in clear: in the first round of a comparison its second inputs are 0 in 13 rows of 25.
"""

import numpy as np
import pytest
from attacked_world import CATALOG
from fakes.federation import Federation, Given, csv_text, tap_on

from veilmatch_coordinator.errors import JobError
from veilmatch_crypto import circuit_key

PEOPLE, TOLD = 256, 128  # whom the recipient presents, and what the dealer is told
WORDS, TOLD_WORDS = PEOPLE // 64, TOLD // 64
ROWS, OPEN_ROWS = 25, 13  # ANDs of the first round, and those of which the recipient sends its mask itself
POLICY = f"""
policy: aid
recipient: social
among: "v_social >= 0"
among_at_most: {PEOPLE}
conditions:
  poor: {{total: {{housing: v_housing, tax: v_tax}}, below: 700}}
"""


def table(name):
    rows = [(f"p{number}", str(number % 7)) for number in range(PEOPLE)]
    return Given(CATALOG.format(name=name), {"people.csv": csv_text(("number", f"v_{name}"), rows)})


def told_less(passing):
    passing.content.presented[0] = TOLD


def test_the_corrections_say_nothing_about_what_the_recipient_opens_under(tmp_path):
    tables = {name: table(name) for name in ("housing", "social", "tax")}
    with Federation(tmp_path, tables, dealer=True) as federation:
        federation.link()
        with federation.tapped(tap_on("deal", told_less)), pytest.raises(JobError, match="cannot go on"):
            federation.run(POLICY)
        first = next(each for each in federation.network.sent("round", node="social") if each.from_node)
        opened = np.frombuffer(first.content.body, "<u8").reshape(2, ROWS * WORDS)[1, : OPEN_ROWS * WORDS]
        corrections = np.frombuffer(federation.network.sent("corrections")[0].content.corrections, "<u8")
    dealt = corrections[: ROWS * TOLD_WORDS]
    # Under one stream the XOR is an AND of uniform bits, and every fourth bit is 1.
    ones = np.unpackbits((dealt ^ opened[: len(dealt)]).view(np.uint8)).mean()
    assert 0.45 < ones < 0.55  # of 3,200 bits: more than five standard deviations


def test_other_sizes_give_another_key():
    seed, manifest = bytes(32), bytes([1]) * 32
    sizes = [(0, [5, 3]), (0, [5, 4]), (1, [5, 3]), (0, [5]), (0, [53]), (0, [])]
    keys = {circuit_key(seed, manifest, households=each, presented=asked) for each, asked in sizes}
    assert len(keys) == len(sizes)
