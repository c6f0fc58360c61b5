"""RFC 9497 vectors, the laws of the function, and what must be refused."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rbcl
from hypothesis import given, settings
from hypothesis import strategies as st

from veilmatch_crypto.errors import ElementError
from veilmatch_crypto.oprf import BlindingState, OprfKey, blind
from veilmatch_crypto.threads import WorkerThreads

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors/rfc9497/ristretto255_sha512_oprf.json").read_text(encoding="utf-8")
)
# Every suite and mode of the RFC in its authors' form, where the shared test data is at hand.
SHARED = Path(__file__).parents[3] / "shared/data/vectors/rfc9497_allVectors.json"

ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 9496, 4: the group's order

# RFC 9496, A.2 and A.3: the generator, and encodings that must be refused.
GENERATOR = bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")
NOT_CANONICAL = {
    "above 2^255": "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "between p and 2^255": "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "p itself, again zero": "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "negative": "0100000000000000000000000000000000000000000000000000000000000000",
    "not a square": "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
    "identity": "0000000000000000000000000000000000000000000000000000000000000000",
}

inputs = st.lists(st.binary(max_size=40), min_size=1, max_size=5)


def scalar(number: int) -> bytes:
    return number.to_bytes(32, "little")


def prf(key: OprfKey, data: bytes) -> bytes:
    """The function without blinding, from the RFC's definition (3.3.1, Evaluate)."""
    dst = b"HashToGroup-OPRFV1-\x00-ristretto255-SHA512"
    dst_prime = dst + bytes([len(dst)])
    b0 = hashlib.sha512(bytes(128) + data + b"\x00\x40" + b"\x00" + dst_prime).digest()
    b1 = hashlib.sha512(b0 + b"\x01" + dst_prime).digest()
    element = rbcl.crypto_scalarmult_ristretto255(key.to_bytes(), rbcl.crypto_core_ristretto255_from_hash(b1))
    lengths = [len(data).to_bytes(2, "big"), (32).to_bytes(2, "big")]
    return hashlib.sha512(lengths[0] + data + lengths[1] + element + b"Finalize").digest()


def run_vector(key: OprfKey, *, data: str, blinds: str, blinded: str, evaluated: str, output: str) -> None:
    """Check one vector of one or more inputs, the parts of a batch joined by commas as in the RFC."""
    join = lambda text: bytes.fromhex(text.replace(",", ""))  # noqa: E731  local
    state = BlindingState([bytes.fromhex(part) for part in data.split(",")], join(blinds))
    assert state.blinded() == join(blinded)
    assert key.evaluate(state.blinded()) == join(evaluated)
    assert state.finalize(join(evaluated)).tobytes() == join(output)


def test_rfc_9497_derives_the_key():
    key = OprfKey.derive(bytes.fromhex(VECTORS["seed"]), bytes.fromhex(VECTORS["key_info"]))
    assert key.to_bytes().hex() == VECTORS["key"]


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["section"])
def test_rfc_9497_vector(case):
    run_vector(
        OprfKey(bytes.fromhex(VECTORS["key"])),
        data=case["input"],
        blinds=case["blind"],
        blinded=case["blinded"],
        evaluated=case["evaluated"],
        output=case["output"],
    )


def test_both_vectors_as_one_batch():
    joined = {name: ",".join(case[name] for case in VECTORS["cases"]) for name in VECTORS["cases"][0]}
    run_vector(
        OprfKey(bytes.fromhex(VECTORS["key"])),
        data=joined["input"],
        blinds=joined["blind"],
        blinded=joined["blinded"],
        evaluated=joined["evaluated"],
        output=joined["output"],
    )


def test_the_authors_vectors():
    if not SHARED.exists():
        pytest.skip("the RFC authors' allVectors.json is not beside this repository")
    group = next(
        group
        for group in json.loads(SHARED.read_text(encoding="utf-8"))
        if group["identifier"] == "ristretto255-SHA512" and group["mode"] == 0
    )
    key = OprfKey.derive(bytes.fromhex(group["seed"]), bytes.fromhex(group["keyInfo"]))
    assert key.to_bytes().hex() == group["skSm"]
    for vector in group["vectors"]:
        run_vector(
            key,
            data=vector["Input"],
            blinds=vector["Blind"],
            blinded=vector["BlindedElement"],
            evaluated=vector["EvaluationElement"],
            output=vector["Output"],
        )


@given(inputs=inputs)
@settings(max_examples=30, deadline=None)
def test_blind_evaluate_finalize_is_the_function(inputs):
    key = OprfKey.generate()
    state, elements = blind(inputs)
    outputs = state.finalize(key.evaluate(elements))
    assert outputs.shape == (len(inputs), 64)
    assert outputs.dtype == np.uint8
    assert [row.tobytes() for row in outputs] == [prf(key, data) for data in inputs]


@pytest.mark.parametrize("kind", [WorkerThreads, ThreadPoolExecutor])
@pytest.mark.parametrize("count", [0, 1, 256, 600])
def test_a_batch_in_threads_is_the_batch_in_one(count, kind):
    """Parts of at least 256 elements, in their order."""
    key, inputs = OprfKey.generate(), [b"opaque\0%d" % number for number in range(count)]
    with kind(2) as pool:
        state, elements = blind(inputs, pool)
        evaluated = key.evaluate(elements, pool)
        outputs = state.finalize(evaluated, pool)
    assert state.blinded() == elements
    assert key.evaluate(elements) == evaluated
    assert np.array_equal(state.finalize(evaluated), outputs)


def test_a_bad_element_in_any_thread_is_refused():
    state, elements = blind([b"%d" % number for number in range(600)])
    bad = elements[:-32] + bytes(32)
    with WorkerThreads(2) as pool:
        for refused in (OprfKey.generate().evaluate, state.finalize):
            with pytest.raises(ElementError, match="canonical"):
                refused(bad, pool)


@given(inputs=inputs, trustees=st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_the_key_is_the_product_over_the_trustees(inputs, trustees):
    keys = [OprfKey.generate() for _ in range(trustees)]
    state, elements = blind(inputs)
    for key in keys:
        elements = key.evaluate(elements)
    product = 1
    for key in keys:
        product = product * int.from_bytes(key.to_bytes(), "little") % ORDER
    whole = OprfKey(scalar(product))
    assert [row.tobytes() for row in state.finalize(elements)] == [prf(whole, data) for data in inputs]


def test_two_blindings_of_one_input_share_nothing():
    one, first = blind([b"same", b"same"])
    two, second = blind([b"same", b"same"])
    elements = [batch[i : i + 32] for batch in (first, second) for i in (0, 32)]
    assert len(set(elements)) == 4
    assert len({one.blinds[:32], one.blinds[32:], two.blinds[:32], two.blinds[32:]}) == 4
    key = OprfKey.generate()
    assert np.array_equal(one.finalize(key.evaluate(first)), two.finalize(key.evaluate(second)))


def test_a_stored_blinding_makes_the_same_request_again():
    state, elements = blind([b"a", b"b"])
    assert BlindingState([b"a", b"b"], state.blinds).blinded() == elements


def test_an_empty_batch_has_no_outputs():
    state, elements = blind([])
    assert elements == b""
    assert OprfKey.generate().evaluate(b"") == b""
    assert state.finalize(b"").shape == (0, 64)


def test_scheme_and_normal_form_keep_apart():
    key = OprfKey.generate()
    state, elements = blind([b"opaque\x001", b"opaque\x002", b"text\x001"])
    assert len({row.tobytes() for row in state.finalize(key.evaluate(elements))}) == 3


@pytest.mark.parametrize("fault", NOT_CANONICAL)
def test_a_bad_element_is_refused_wherever_it_arrives(fault):
    state, elements = blind([b"a", b"b"])
    bad = elements[:32] + bytes.fromhex(NOT_CANONICAL[fault])
    with pytest.raises(ElementError, match="canonical"):
        OprfKey.generate().evaluate(bad)
    with pytest.raises(ElementError, match="canonical"):
        state.finalize(bad)


@pytest.mark.parametrize("length", [1, 31, 33, 63])
def test_a_part_of_an_element_is_refused(length):
    state, _ = blind([b"a"])
    with pytest.raises(ElementError, match="whole elements"):
        OprfKey.generate().evaluate(bytes(length))
    with pytest.raises(ElementError, match="whole elements"):
        state.finalize(bytes(length))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_elements_is_refused(count):
    state, _ = blind([b"a", b"b"])
    with pytest.raises(ElementError, match=f"2 elements were sent, {count} came back"):
        state.finalize(GENERATOR * count)


@pytest.mark.parametrize(
    "bad",
    [scalar(0), scalar(ORDER), scalar(ORDER + 1), b"\xff" * 32, b"", bytes(31), scalar(1) + b"\0"],
    ids=["zero", "order", "order + 1", "all ones", "empty", "short", "long"],
)
def test_a_bad_scalar_is_refused(bad):
    with pytest.raises(ElementError):
        OprfKey(bad)
    with pytest.raises(ElementError):
        BlindingState([b"a"], bad)


def test_the_largest_scalar_is_taken():
    assert OprfKey(scalar(ORDER - 1)).evaluate(OprfKey(scalar(ORDER - 1)).evaluate(GENERATOR)) == GENERATOR


def test_an_input_that_is_too_long_is_refused():
    blind([bytes(2**16 - 1)])
    with pytest.raises(ElementError, match="65535"):
        blind([bytes(2**16)])


def test_a_seed_of_another_length_is_refused():
    with pytest.raises(ElementError, match="32 bytes"):
        OprfKey.derive(bytes(31))


def test_keys_and_blinds_do_not_print():
    key = OprfKey.generate()
    state, _ = blind([b"110101199003074258"])
    secrets = [key.to_bytes(), state.blinds, b"110101199003074258"]
    for shown in (repr(key), str(key), f"{key}", repr(state), str(state)):
        for secret in secrets:
            assert secret.hex() not in shown
            assert repr(secret)[2:-1] not in shown
