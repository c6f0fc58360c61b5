"""Who is who over a department's tables: people stand in the order of their inputs' bytes, each once."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from veilmatch_node.identifiers import linkage_inputs, normal_forms
from veilmatch_node.numbering import number_people, sort_keys

# Few characters and short, as identifiers are, or anything.
TEXTS = st.lists(
    st.one_of(
        st.text("0123456789", max_size=12), st.text("019X", max_size=20), st.text(max_size=6), st.just("\0")
    ),
    max_size=20,
)
FORMS = st.lists(st.text("0123456789", min_size=1, max_size=3), max_size=12)
TABLES = st.lists(
    st.tuples(st.sampled_from(["cn-resident-id", "opaque", "text"]), FORMS), min_size=1, max_size=4
)


def chunks(texts):
    """In two parts, neither at the beginning of its buffer."""
    whole = pa.array(["before", *texts, "behind"], pa.string())
    middle = len(texts) // 2
    return pa.chunked_array([whole[1 : 1 + middle], whole[1 + middle : -1]], pa.string())


def large(texts):
    return chunks(texts).cast(pa.large_string())


@given(TEXTS)
@example(["1", "10", "1\0", "0", ""])
@example(["110199197001010011", "11019919700101003X", "99999999999999999X"])
@example(["9" * 19, "8" * 19])
def test_keys_compare_as_bytes_do(texts):
    keys = sort_keys(large(texts))
    encoded = [text.encode() for text in texts]
    if keys is None:
        lengths = set(map(len, encoded))
        assert (len(set(b"".join(encoded))) + (len(lengths) > 1)) ** max(lengths) > 2**64
        return
    assert [[a < b for b in keys.tolist()] for a in keys.tolist()] == [
        [a < b for b in encoded] for a in encoded
    ]


def test_a_resident_id_fits_and_more_does_not():
    assert sort_keys(large(["110199197001010011", "22345678912345678X"])) is not None
    assert sort_keys(large(["0123456789ABCDEFGH", "0123456789abcdefgh"])) is None


@given(TABLES)
@example([("text", ["2", "1", "1"]), ("opaque", ["1"]), ("text", ["1", "3"]), ("cn-resident-id", [])])
@example([("opaque", ["ABCDEFGHIJKLMNOPQRSTUVWXYZ", "b", "b", "a" * 40])])
def test_people_are_numbered_in_the_order_of_their_inputs(tables):
    inputs, places = number_people(
        [
            SimpleNamespace(
                table=SimpleNamespace(identifier=SimpleNamespace(scheme=scheme)), forms=chunks(forms)
            )
            for scheme, forms in tables
        ]
    )
    written = [[f"{scheme}\0{form}".encode() for form in forms] for scheme, forms in tables]
    assert inputs.type == pa.large_binary()
    assert inputs.to_pylist() == sorted({each for table in written for each in table})
    assert [[inputs[int(place)].as_py() for place in table] for table in places] == written
    assert all(table.dtype == np.int32 for table in places)


@given(st.lists(st.text(min_size=1, max_size=8), max_size=5), st.sampled_from(["opaque", "text"]))
def test_normal_forms_come_back_from_inputs(forms, scheme):
    assert normal_forms(linkage_inputs(pa.array(forms, pa.string()), scheme)).to_pylist() == forms
