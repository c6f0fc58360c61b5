"""Paillier against the numbers of other implementations.

Vectors (not in the repository; read where they lie beside it): Apache Milagro crypto-c,
testVectors/paillier, commit 4ede6268; python-paillier's own test suite; the package
damgard-jurik 0.0.3, whose s = 1 is Paillier.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from gmpy2 import mpz

from veilmatch_crypto import ciphertexts
from veilmatch_crypto.ciphertexts import encrypt, multiply_chunks
from veilmatch_crypto.paillier import PrivateKey, PublicKey

VECTORS = Path(__file__).parents[3] / "shared" / "data" / "vectors"


def load(name: str) -> dict[str, Any]:
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"{name} does not lie beside the repository")
    return json.loads(path.read_text())


def encrypt_with(monkeypatch: pytest.MonkeyPatch, n: int, plaintext: int, r: int) -> mpz:
    """Encrypt under a strict key with the operating system's draw replaced by ``r``."""
    with monkeypatch.context() as patch:
        patch.setattr(ciphertexts.secrets, "randbelow", lambda limit: r % limit)
        return encrypt(PublicKey(n, None), [mpz(plaintext)], 1)[0]


def numbers(case: dict[str, Any]) -> dict[str, int]:
    return {name: int(value, 16) for name, value in case.items() if isinstance(value, str) and name != "key"}


def test_milagro_encryptions(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [numbers(case) for case in load("paillier_milagro.json")["encrypt"]]
    assert len(cases) == 11
    for case in cases:
        assert encrypt_with(monkeypatch, case["N"], case["PLAINTEXT"], case["R"]) == case["CIPHERTEXT"]


def test_milagro_decryptions() -> None:
    cases = [numbers(case) for case in load("paillier_milagro.json")["decrypt"]]
    assert len(cases) == 10
    for case in cases:
        key = PrivateKey(case["P"], case["Q"])
        assert key.decrypt(case["CIPHERTEXT"]) == key.decrypt_full(case["CIPHERTEXT"]) == case["PLAINTEXT"]


def test_milagro_additions_are_chunk_products() -> None:
    cases = [numbers(case) for case in load("paillier_milagro.json")["add"]]
    # Ours have exactly 2048 bits; the first of Milagro's moduli has 2047.
    cases = [case for case in cases if case["N"].bit_length() == 2048]
    assert len(cases) >= 90
    for case in cases:
        chunks = [case[name].to_bytes(512, "big") for name in ("CIPHERTEXT1", "CIPHERTEXT2")]
        product = multiply_chunks(PublicKey(case["N"], None), chunks)
        assert product == case["CIPHERTEXT"].to_bytes(512, "big")


@pytest.mark.parametrize(
    ("plaintext", "r", "ciphertext"),
    [(10100, 74384, 935906717), (1, 1, 126870)],  # phe/tests/paillier_test.py, with p = 293, q = 433
)
def test_phes_known_answers(monkeypatch: pytest.MonkeyPatch, plaintext: int, r: int, ciphertext: int) -> None:
    assert encrypt_with(monkeypatch, 293 * 433, plaintext, r) == ciphertext
    assert PrivateKey(293, 433).decrypt(ciphertext) == plaintext


def test_phes_known_answers_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    for case in load("paillier_phe_small.json")["cases"]:
        assert encrypt_with(monkeypatch, case["n"], case["plaintext"], case["r"]) == case["ciphertext"]
        assert PrivateKey(case["p"], case["q"]).decrypt(case["ciphertext"]) == case["plaintext"]


def test_plaintexts_are_modulo_n(monkeypatch: pytest.MonkeyPatch) -> None:
    """As python-paillier's testEncryptRegression has it: n - 1 stays, n is 0, n + 1 is 1."""
    n, key = 293 * 433, PrivateKey(293, 433)
    for plaintext, opened in ((n - 1, n - 1), (n, 0), (n + 1, 1)):
        assert key.decrypt(encrypt_with(monkeypatch, n, plaintext, 5)) == opened


def test_damgard_jurik_of_degree_one_is_paillier(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [numbers(case) for case in load("damgard_jurik.json")["cases"] if case["s"] == 1]
    assert len(cases) >= 5
    for case in cases:
        p, q = case["p"], case["q"]
        assert encrypt_with(monkeypatch, p * q, case["plaintext"], case["r"]) == case["ciphertext"]
        assert PrivateKey(p, q).decrypt_full(case["ciphertext"]) == case["plaintext"]
