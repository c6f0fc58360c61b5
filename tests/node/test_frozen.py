"""What a job froze of a node's data comes back from the node's store bit by bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from veilmatch_node.frozen import FrozenAnswers

WORDS = st.integers(0, 2**40 - 1)


@st.composite
def frozen(draw):
    padded = draw(st.integers(1, 70))  # whole bytes of bits, and not
    bits = arrays(np.bool_, padded)
    words = arrays(np.uint64, padded, elements=WORDS)
    return FrozenAnswers(
        padded,
        terms=draw(st.dictionaries(st.integers(0, 2000), bits | words, max_size=4)),
        presented=draw(st.dictionaries(st.integers(0, 63), bits, max_size=3)),
        own=draw(st.dictionaries(st.tuples(st.integers(0, 63), st.integers(0, 9)), bits, max_size=3)),
        labels=draw(st.none() | arrays(np.uint32, padded)),
    )


def same(one, other):
    """Equal by key, value and type: a type decides whether words are masked noise or amounts."""
    assert one.keys() == other.keys()
    for key, values in one.items():
        assert values.dtype == other[key].dtype
        assert np.array_equal(values, other[key])


@settings(max_examples=30)
@given(frozen())
def test_what_is_kept_comes_back(answers):
    again = FrozenAnswers.decode(answers.encode())
    assert again.padded == answers.padded
    for part in ("terms", "presented", "own"):
        same(getattr(again, part), getattr(answers, part))
    same(*({"labels": each.labels} if each.labels is not None else {} for each in (again, answers)))


def test_truth_values_take_a_bit_each_and_nothing_is_shown():
    padded = 80_000
    secret = np.ones(padded, dtype=np.bool_)
    answers = FrozenAnswers(padded, terms={0: secret})
    assert len(answers.encode()) < padded / 8 + 2000
    assert repr(answers) == "FrozenAnswers(80000 slots)"


def test_an_object_is_never_loaded():
    """numpy would run what a pickle says."""
    answers = FrozenAnswers(1, terms={0: np.array([print], dtype=object)})
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        answers.encode()
