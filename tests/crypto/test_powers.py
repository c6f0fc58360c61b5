"""Powers with a secret exponent: OpenSSL's and GMP's against plain powers, in threads and other processes."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st

from veilmatch_crypto import powers
from veilmatch_crypto.powers import GmpPower, OpensslPower, make_power

ODD = st.integers(1, 2**3072).map(lambda n: 2 * n + 1)
EXPONENTS = st.integers(1, 2**256)


def kinds(modulus, exponent):
    yield GmpPower(modulus, exponent)
    if powers._OPENSSL is not None:
        yield OpensslPower(powers._OPENSSL, modulus, exponent)


@given(base=st.integers(0, 2**6144), exponent=EXPONENTS, modulus=ODD)
def test_powers_are_powers(base, exponent, modulus):
    for power in kinds(mpz(modulus), mpz(exponent)):
        assert power.of(mpz(base)) == gmpy2.powmod(base, exponent, modulus)


@pytest.mark.parametrize("base", [0, 1, 2, 34, 35, 36, 70, 35**5 + 2])
@pytest.mark.parametrize("exponent", [1, 2, 65537])
def test_small_numbers_and_multiples_of_the_modulus(base, exponent):
    for power in kinds(mpz(35), mpz(exponent)):
        assert power.of(mpz(base)) == pow(base, exponent, 35)


def test_this_interpreter_shows_its_openssl():
    assert isinstance(make_power(mpz(35), mpz(3)), OpensslPower)


def test_without_openssl_gmp_does_it(monkeypatch):
    monkeypatch.setattr(powers, "_OPENSSL", None)
    assert isinstance(make_power(mpz(35), mpz(3)), GmpPower)


def test_one_power_in_many_threads():
    modulus, exponent = mpz(2) ** 3071 + 1, mpz(2) ** 255 + 3
    for power in kinds(modulus, exponent):
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(power.of, map(mpz, range(2, 66))))
        assert found == [gmpy2.powmod(base, exponent, modulus) for base in range(2, 66)]


def test_it_crosses_to_another_process_and_shows_nothing():
    for power in kinds(mpz(1000003), mpz(77777)):
        assert pickle.loads(pickle.dumps(power)).of(mpz(5)) == pow(5, 77777, 1000003)
        assert "77777" not in repr(power)
        assert "1000003" not in repr(power)


def test_no_memory_is_an_error(monkeypatch):
    class Full:
        """OpenSSL on a machine without memory."""

        def __getattr__(self, name):
            return lambda *_arguments: None

    with pytest.raises(MemoryError, match="OpenSSL has no memory"):
        OpensslPower(Full(), mpz(35), mpz(3))
