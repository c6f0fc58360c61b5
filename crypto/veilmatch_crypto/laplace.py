"""Discrete Laplace noise, exact: integers and the system's randomness, nothing that rounds.

Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy" (NeurIPS 2020), its
Algorithms 1 and 2.  A sampler in floating point gives away the number that it hides through the gaps
between the floats that it can reach (Mironov, CCS 2012); here every probability is the exact one.
"""

from fractions import Fraction
from secrets import randbelow


def discrete_laplace(scale: Fraction) -> int:
    """Draw an integer x with probability proportional to exp(-abs(x) / ``scale``).

    ``scale`` is sensitivity / epsilon, above 0: a number that one person (or household) moves by at
    most the sensitivity is then epsilon-differentially private (protocol.md, 5.5).  Make it from
    exact numbers, ``sensitivity / Fraction("0.1")``: Fraction(0.1) is another fraction.
    Raises ValueError where ``scale`` is not above 0.
    """
    if scale <= 0:
        raise ValueError(f"the scale of a discrete Laplace distribution is above 0, not {scale}")
    whole, parts = scale.numerator, scale.denominator
    while True:
        # remainder + whole * quotient is geometric with ratio exp(-1 / whole); in steps of
        # ``parts`` its ratio is exp(-parts / whole), which is that of the magnitude.
        remainder = randbelow(whole)
        if not _bernoulli_exp(remainder, whole):
            continue
        quotient = 0
        while _bernoulli_exp(1, 1):
            quotient += 1
        magnitude = (remainder + whole * quotient) // parts
        negative = randbelow(2)
        if negative and not magnitude:
            continue  # zero has one sign, or it would come twice as often
        return -magnitude if negative else magnitude


def _bernoulli_exp(numerator: int, denominator: int) -> bool:
    """Draw true with probability exp(-numerator / denominator), the fraction in [0, 1] (Algorithm 1).

    The number of successes in a row, the k-th of probability fraction / k, is even with the
    probability that the alternating series of exp(-fraction) adds up to.
    """
    k = 1
    while randbelow(denominator * k) < numerator:
        k += 1
    return k % 2 == 1
