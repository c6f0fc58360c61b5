"""Certificates for a key that its member made: what the root takes from a request, and what the member checks."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from veilmatch_crypto.certificates import (
    LOOPBACK,
    Validity,
    issue,
    issue_requested,
    make_request,
    make_root,
    member_name,
    verify_issued,
)
from veilmatch_crypto.errors import CertificateRefusedError

ROOT = make_root("benefits", Validity.for_days(30))
DAYS = Validity.for_days(10)


def request_with(key, *names):
    """A request of another program's making."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "police")])
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def test_the_certificate_is_for_the_key_that_stays_with_the_member():
    asked = make_request("tax")
    certificate = issue_requested(ROOT, asked.request, "tax", hosts=["tax.example"], validity=DAYS)
    assert member_name(certificate, "benefits") == "tax"
    key = load_pem_private_key(asked.key, password=None)
    assert key.public_key() == x509.load_pem_x509_certificate(certificate).public_key()
    assert b"PRIVATE" not in asked.request + certificate
    verify_issued(ROOT.certificate, certificate, asked.request)


def test_another_request_for_the_same_key():
    first = make_request("tax")
    again = make_request("tax", first.key)
    assert again.key == first.key
    verify_issued(
        ROOT.certificate,
        issue_requested(ROOT, again.request, "tax", hosts=[], validity=DAYS),
        first.request,
    )


def test_the_root_takes_only_the_key_from_a_request():
    """A request that names another member, other hosts or itself an authority gets none of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    uri = x509.UniformResourceIdentifier("veilmatch://benefits/police")
    request = request_with(key, uri, x509.DNSName("police.example"))
    certificate = issue_requested(ROOT, request, "tax", hosts=["tax.example"], validity=DAYS)
    assert member_name(certificate, "benefits") == "tax"
    parsed = x509.load_pem_x509_certificate(certificate)
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["tax.example"]
    assert parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "tax"


def test_requests_that_are_refused():
    good = make_request("tax").request
    der = bytearray(x509.load_pem_x509_csr(good).public_bytes(Encoding.DER))
    der[-1] ^= 1
    unsigned = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    for request in (
        unsigned,
        request_with(ec.generate_private_key(ec.SECP384R1())),
        request_with(rsa.generate_private_key(65537, 2048)),
        b"",
        b"no request",
        ROOT.certificate,
    ):
        with pytest.raises(CertificateRefusedError):
            issue_requested(ROOT, request, "tax", hosts=[], validity=DAYS)


def test_what_a_member_does_not_take():
    asked, other = make_request("tax"), make_request("tax")
    certificate = issue_requested(ROOT, asked.request, "tax", hosts=[], validity=DAYS)
    foreign = make_root("benefits", Validity.for_days(30))
    with pytest.raises(CertificateRefusedError, match="not for the key that asked"):
        verify_issued(ROOT.certificate, certificate, other.request)
    with pytest.raises(CertificateRefusedError, match="not from the federation's root"):
        verify_issued(foreign.certificate, certificate, asked.request)
    below = issue(ROOT, "police", hosts=LOOPBACK, validity=DAYS)
    with pytest.raises(CertificateRefusedError, match="not from the federation's root"):
        verify_issued(below.certificate, certificate, asked.request)
    for data in (b"", b"no certificate", asked.request):
        with pytest.raises(CertificateRefusedError):
            verify_issued(ROOT.certificate, data, asked.request)


def test_keys_that_are_none_of_ours():
    rsa_key = rsa.generate_private_key(65537, 2048)
    pem = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
    )
    for key in (pem, locked, b"", b"no key"):
        with pytest.raises(CertificateRefusedError):
            make_request("tax", key)
    with pytest.raises(CertificateRefusedError, match="1 to 64"):
        make_request("x" * 65)


def test_keys_do_not_print():
    asked = make_request("tax")
    assert asked.key.decode().splitlines()[1] not in f"{asked!r}{asked}"
