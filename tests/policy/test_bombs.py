"""Documents that are small to send and large to read: refused, or read, within a second and in bounded memory."""

import base64
import io
import resource
import time
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest

from veilmatch.errors import DocumentRefusedError
from veilmatch.membership.documents import read_request
from veilmatch_crypto import CertificateRefusedError, KeyFileError, Passphrase, fingerprint
from veilmatch_node.frozen import FrozenAnswers
from veilmatch_policy import canonical
from veilmatch_policy.approvals import decode_decision, decode_request, open_decision
from veilmatch_policy.catalog import parse_catalog
from veilmatch_policy.column_types import exact_number, whole_number
from veilmatch_policy.directory import Directory, Member, open_directory
from veilmatch_policy.epoch import open_epoch
from veilmatch_policy.errors import PolicyError, PolicyRefusedError
from veilmatch_policy.expression import bind
from veilmatch_policy.manifest import open_draft
from veilmatch_policy.policy import LARGEST_JOB, LARGEST_POLICY, parse_policies, parse_policy
from veilmatch_policy.questions import MOST_QUESTIONS, ask
from veilmatch_policy.strict_yaml import LARGEST_FILE, MOST_PARTS

SECONDS = 1.0  # of this thread's own work
MEMORY = 256 << 20  # bytes by which the process may grow

KEY = "ab" * 32
MEMBERS = {
    "office": Member(role="coordinator", certificate=KEY, identity=KEY),
    "tax": Member(role="node", certificate=KEY, identity=KEY, officer=KEY),
    "social": Member(role="node", certificate=KEY, identity=KEY, officer=KEY),
}
HEAD = 'policy: aid\nrecipient: social\nconditions:\n  rent: {department: housing, where: "v < 8"}\n'
TABLE = "department: d\ntables:\n  t:\n    source: x.csv\n    id: i\n    identifier: opaque\n    columns:\n"
CATALOG = parse_catalog(
    (
        TABLE + "      v: {type: integer, range: [0, 9]}\n      s: {type: text}\n      d: {type: date}\n"
    ).encode(),
    "catalog.yaml",
)


@contextmanager
def bounded():
    """The body needs little time and little memory."""
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    began = time.thread_time()
    yield
    assert time.thread_time() - began < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - grown < MEMORY


def filled(head, unit, tail="\n", size=LARGEST_POLICY):
    return head + unit * ((size - len(head) - len(tail)) // len(unit)) + tail


POLICIES = {
    "laughing lists": "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n" + HEAD,
    "anchors": filled("a: ", "&a "),
    "deep lists": filled(HEAD + "vary: ", "["),
    "deep mappings": filled(HEAD + "vary: ", "{a: "),
    "deep items": filled(HEAD + "vary:\n ", "- "),
    "deep keys": filled(HEAD + "vary:\n ", "? "),
    "deep lines": HEAD + "".join(" " * level + "a:\n" for level in range(300)),
    "wide list": filled(HEAD + "vary: [", "1,", "1]\n"),
    "wide mapping": HEAD + "vary: {" + ",".join(f"k{number}: 1" for number in range(5000)) + "}\n",
    "documents": filled(HEAD, "---\n"),
    "directives": filled("", "%YAML 1.1\n"),
    "comments": filled("", "#\n"),
    "long key": HEAD + "k" * 60_000 + ": 1\n",
    "long key that is known": HEAD + "condition" * 6_000 + ": 1\n",
    "long name": HEAD.replace("aid", "a" * 60_000),
    "marks on a letter": HEAD.replace("aid", "a" + "\u0301\u0323" * 15_000),
    "long text": filled(HEAD + 'title: "', "\\n", '"\n'),
    "long block": filled(HEAD + "title: |\n", "  a\n"),
    "digits": filled(HEAD + "version: ", "9"),
    "digits of a parameter": filled(HEAD + "parameters: {a: ", "9", "}\n"),
    "digits behind the point": filled(HEAD + "parameters: {a: 0.", "0", "1}\n"),
    "unknown keys": HEAD + "".join(f"k{number}: a\n" for number in range(6000)),
    "unknown name among many": "policy: a\nrecipient: b\nreveal: count\nconditions:\n"
    + "".join(f"  c{'x' * 40}{number}: {{total: {{h: v}}, below: 5}}\n" for number in range(800))
    + "vary: {c" + "x" * 41 + ": [1]}\n",
    "formula of brackets": HEAD + "eligible: '" + "(" * 4000 + "'\n",
    "formula of negations": HEAD + "eligible: '" + "NOT " * 1000 + "rent'\n",
    "formula too long": HEAD + "eligible: '" + "rent AND " * 6000 + "rent'\n",
    "formula of digits": HEAD + "eligible: 'at_least(" + "9" * 4000 + ", rent)'\n",
    "rows of an example": HEAD + "examples:\n  - given: {a: [" + "{b: c}," * 9_000 + "]}\n    expect: eligible\n",
    "a parameter used everywhere": "policy: a\nrecipient: b\nreveal: count\nparameters: {p: 1}\nconditions:\n"
    + "".join(f"  c{number}: {{total: {{h: v}}, below: ':p'}}\n" for number in range(1300))
    + "vary: {p: [1]}\n",
}  # fmt: skip


@pytest.mark.parametrize("name", POLICIES)
def test_policies(name):
    with bounded(), pytest.raises(PolicyRefusedError) as refused:
        parse_policy(POLICIES[name].encode(), "policy.yaml")
    assert str(refused.value).startswith("policy.yaml")
    assert len(str(refused.value)) < 2500


def test_the_largest_policy_that_is_read():
    rows = "".join(f"  c{number}: {{department: h, where: v}}\n" for number in range(3000))
    text = ("policy: aid\nrecipient: social\nconditions:\n" + rows)[:LARGEST_POLICY].rsplit("\n", 1)[0]
    with bounded():
        assert len(parse_policy(text.encode(), "policy.yaml").conditions) > 1500


def test_many_policies_of_one_job():
    one = filled(HEAD, "# nothing\n").encode()
    with bounded(), pytest.raises(PolicyRefusedError, match=r"^job: its policies have \d+ bytes, more than"):
        parse_policies([one + b"#" * number for number in range(LARGEST_JOB // len(one) + 1)])


def test_many_questions_of_one_job():
    policies = [
        parse_policy(
            f"policy: p{name}\nrecipient: s\nconditions:\n".encode()
            + b"".join(
                b"  c%d: {department: h, where: 'v < %d'}\n" % (number, 2000 * name + number)
                for number in range(700)
            ),
            "policy.yaml",
        )
        for name in range(3)
    ]
    with (
        bounded(),
        pytest.raises(PolicyRefusedError, match=f"asks 2100 questions, more than {MOST_QUESTIONS}"),
    ):
        ask(policies, "2025-12-31")


CATALOGS = {
    "too many parts": TABLE + "".join(f"      c{number}: {{type: integer}}\n" for number in range(9000)),
    "too large": TABLE + "#" * LARGEST_FILE,
    "blanks in a type": TABLE + '      c: {type: "decimal' + " " * 200_000 + 'x"}\n',
    "letters in a type": TABLE + "      c: {type: " + "a" * 200_000 + "}\n",
    "digits in a type": TABLE + "      c: {type: decimal(" + "9" * 200_000 + ")}\n",
    "digits of days": TABLE.replace("    id:", "    max_age: " + "9" * 200_000 + "d\n    id:"),
}


@pytest.mark.parametrize("name", CATALOGS)
def test_catalogs(name):
    with bounded(), pytest.raises(PolicyError) as refused:
        parse_catalog(CATALOGS[name].encode(), "catalog.yaml")
    assert str(refused.value).startswith("catalog.yaml")
    assert "sys.set_int_max_str_digits" not in str(refused.value)


def test_the_number_of_parts_is_the_same_for_every_shape():
    text = "a: [" + "x," * MOST_PARTS + "x]\n"
    with bounded(), pytest.raises(PolicyError, match=f"more than {MOST_PARTS} keys and values"):
        parse_catalog(text.encode(), "catalog.yaml")


EXPRESSIONS = {
    "brackets": "(" * 4900 + "v<1" + ")" * 4900,
    "open brackets": "(" * 9990,
    "negations": "NOT " * 2400 + "v<1",
    "minus signs": "v < " + "- " * 4900 + "1",
    "a chain of ANDs": " AND ".join(["v<1"] * 1200),
    "a sum": "+".join(["v"] * 4900) + "<1",
    "a product": "*".join(["v"] * 4900) + "<1",
    "digits": "v < " + "9" * 9990,
    "digits behind the point": "v < 0." + "9" * 9990,
    "an exponent": "v<1e" + "9" * 9000,
    "a rounding": "round(v*0.5," + "9" * 9000 + ")<2",
    "nested choices": "CASE WHEN v<1 THEN " * 60 + "1" + " END" * 60 + " <2",
    "quotation marks": "s = '" + "'" * 9990,
    "dollar quotes": "$a$" * 3000,
    "comments": "/*" * 4900,
    "brackets of lists": "[" * 9990,
    "parameters": ":" * 9990,
    "a long name": "x" * 9000 + " < 1",
    "open choices": "CASE " * 1900,
    "comparisons": "v" + " = v" * 2400,
    "a date": "DATE '" + "1" * 9000 + "' = d",
    "too long": "v" * 10_001,
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions(name):
    with bounded(), pytest.raises(PolicyRefusedError):
        bind(EXPRESSIONS[name], CATALOG, kind="condition", parameters={}, where="aid")


@pytest.mark.parametrize(
    "text",
    [
        "v IN (" + ",".join(["1"] * 2400) + ")",
        "s IN (" + ",".join(["'a'"] * 2400) + ")",
        "coalesce(" + ",".join(["v"] * 2400) + ") < 2",
        "CASE " + "WHEN v<1 THEN 1 " * 550 + "ELSE 2 END < 3",
        "s LIKE 'a" + "%_" * 4900 + "'",
    ],
    ids=lambda text: text[:16],
)
def test_long_expressions_that_are_allowed(text):
    with bounded():
        bind(text, CATALOG, kind="condition", parameters={}, where="aid")


@pytest.mark.parametrize(
    "pattern", ["%_" * 20 + "Q", "%a_" * 12 + "Q_", "%_a" * 300 + "c%", "%" * 900 + "_Q"]
)
def test_patterns_do_not_blow_up_on_a_cell(pattern):
    """DuckDB's matching takes steps in proportion to cell times pattern, whatever the wildcards."""
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("CREATE TABLE t AS SELECT 'x' || repeat('a', 3000) AS cell FROM range(20)")
        with bounded():
            connection.execute(f"SELECT count(*) FROM t WHERE cell LIKE 'x{pattern}'").fetchall()


JSONS = {
    "deep lists": b"[" * 500_000,
    "deep objects": b'{"a":' * 100_000,
    "digits": b"1" * 2_000_000,
    "an exponent": b"1e999999999",
    "a fraction": b"0." + b"1" * 2_000_000,
    "escapes": b'"' + b"\\u0041" * 100_000 + b'"',
    "half a character": b'"\\ud800"',
    "keys that are there twice": b"{" + b",".join([b'"a":1'] * 50_000) + b"}",
    "objects": b"[" + b"{}," * 100_000 + b"{}]",
    "no text": b"\xff" * 2_000_000,
}


@pytest.mark.parametrize("name", JSONS)
def test_signed_documents_whose_signature_holds_nothing(name):
    """The readers of what a party sends: those that check a signature first never parse these."""
    data = JSONS[name]
    directory = Directory("spree", 1, ("tax",), MEMBERS, {}, digest=bytes(32), root=bytes(32))
    for read in (
        lambda: open_draft(data, directory, None, 1, now=None),
        lambda: open_epoch(data, bytes(64), directory),
        lambda: open_decision(data, bytes(64), directory),
        lambda: decode_decision(data, directory),
        lambda: decode_request(data, "request"),
        lambda: open_directory(data, bytes(64), bytes(32)),
    ):
        with bounded(), pytest.raises(PolicyError) as refused:
            read()
        assert "set_int_max_str_digits" not in str(refused.value)


@pytest.mark.parametrize("name", JSONS)
def test_documents_of_members_that_join(name):
    with bounded(), pytest.raises(DocumentRefusedError) as refused:
        read_request(JSONS[name], "request.json")
    assert "set_int_max_str_digits" not in str(refused.value)


PEMS = {
    "lines": b"-----BEGIN CERTIFICATE-----\n"
    + (b"A" * 64 + b"\n") * 100_000
    + b"-----END CERTIFICATE-----\n",
    "beginnings": b"-----BEGIN " * 500_000,
    "dashes": b"-" * 5_000_000,
    "nested": b"-----BEGIN CERTIFICATE-----\n"
    + base64.encodebytes(b"\x30\x80" * 500_000)
    + b"-----END CERTIFICATE-----\n",
}


@pytest.mark.parametrize("name", PEMS)
def test_certificates(name):
    with bounded(), pytest.raises(CertificateRefusedError):
        fingerprint(PEMS[name])


@pytest.mark.parametrize(
    ("scrypt", "locked"),
    [
        ("n=131072, r=8, p=1", "ab" * 2_000_000),
        ("n=4194304, r=8, p=8", "ab" * 100),
        ("n=131072, r=9999, p=1", "ab" * 100),
        ("n=131072, r=8, p=9999", "ab" * 100),
        ("n=99999999999, r=8, p=1", "ab" * 100),
    ],
)
def test_key_files(scrypt, locked):
    """A file says what it costs to open: no more than four times what ours do."""
    text = f"veilmatch key file, version 1\nuse: identity\nscrypt: {scrypt}\nsalt: {'0' * 32}\nlocked: {locked}\n"
    with bounded(), pytest.raises(KeyFileError):
        Passphrase("correct horse battery").unlock("identity", text)


def test_numbers_of_millions_of_digits():
    for text in ("9" * 3_000_000, "-" + "9" * 3_000_000, "0." + "0" * 3_000_000, "9" * 3_000_000 + "."):
        for read in (exact_number, whole_number):
            with bounded(), pytest.raises(ValueError, match="digits"):
                read(text)


def test_canonical_numbers_have_a_largest_length():
    with bounded(), pytest.raises(ValueError, match=r"."):
        canonical.decode(b"9" * 1_000_000)


def zipped(name, data):
    """An archive of one entry that is mostly zeros: a thousandth of its size."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return stream.getvalue()


def header(shape, dtype="<u8"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04" + bytes(100),
        zipped("padded.npy", header((2**40,))),
        zipped("padded.npy", header((), "|O") + b"cos\nsystem\n(S'true'\ntR."),
        zipped("other.npy", header((1,)) + bytes(8)),
    ],
    ids=["empty", "cut", "larger than it is", "pickle", "another entry"],
)
def test_frozen_answers_that_are_none(data):
    """Only the node's own vault holds them; a store that somebody changed is refused before this by its seal."""
    with bounded(), pytest.raises((ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, MemoryError)):
        FrozenAnswers.decode(data)
