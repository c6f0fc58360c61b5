"""The noise of counts: its distribution is exactly the discrete Laplace, and its randomness the system's."""

import math
import random
import secrets
from collections import Counter
from fractions import Fraction

import pytest
from scipy.stats import binomtest, chisquare

from veilmatch_crypto import laplace
from veilmatch_crypto.laplace import discrete_laplace

DRAWS = 10_000
CASES = [(1, Fraction(1)), (1, Fraction(1, 3)), (7, Fraction("0.1")), (2, Fraction(5, 2))]


@pytest.fixture
def repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laplace, "randbelow", random.Random(20200401).randrange)


def pmf(x: int, scale: Fraction) -> float:
    """The distribution as the paper defines it."""
    ratio = math.exp(-1 / scale)
    return (1 - ratio) / (1 + ratio) * ratio ** abs(x)


@pytest.mark.parametrize(("sensitivity", "epsilon"), CASES, ids=str)
def test_the_distribution_is_the_discrete_laplace(
    repeatable: None, sensitivity: int, epsilon: Fraction
) -> None:
    scale = sensitivity / epsilon
    drawn = Counter(discrete_laplace(scale) for _ in range(DRAWS))
    # Cells of at least some ten expected draws; all that lies beyond is one cell more.
    reach = max(1, math.floor(scale * math.log(DRAWS / (20 * float(scale) + 20))))
    expected = {x: DRAWS * pmf(x, scale) for x in range(-reach, reach + 1)}
    seen = [drawn[x] for x in expected]
    beyond = DRAWS - sum(seen), DRAWS - sum(expected.values())
    assert chisquare([*seen, beyond[0]], [*expected.values(), beyond[1]]).pvalue > 1e-3
    assert binomtest(sum(n for x, n in drawn.items() if x < 0), DRAWS - drawn[0]).pvalue > 1e-3


def test_epsilon_is_kept_between_neighbouring_counts(repeatable: None) -> None:
    """No answer is more than exp(epsilon) times as likely for one count as for the next."""
    epsilon = Fraction(1, 2)
    drawn = Counter(discrete_laplace(1 / epsilon) for _ in range(DRAWS))
    for x in range(-4, 4):
        low, high = sorted((drawn[x], drawn[x + 1]))
        # Five standard deviations of the logarithm of a ratio of two counts.
        slack = 5 * math.sqrt(1 / low + 1 / high)
        assert math.log(high / low) < epsilon + slack


def test_exp_is_exact_at_both_ends(repeatable: None) -> None:
    assert all(laplace._bernoulli_exp(0, 5) for _ in range(100))
    often = sum(laplace._bernoulli_exp(1, 1) for _ in range(DRAWS))
    assert binomtest(often, DRAWS, math.exp(-1)).pvalue > 1e-3


def test_the_randomness_is_the_systems() -> None:
    assert laplace.randbelow is secrets.randbelow
    assert len({discrete_laplace(Fraction(10**12)) for _ in range(50)}) == 50


@pytest.mark.parametrize("scale", [Fraction(0), Fraction(-1, 3)])
def test_a_scale_that_is_not_above_zero_is_refused(scale: Fraction) -> None:
    with pytest.raises(ValueError, match="above 0"):
        discrete_laplace(scale)
