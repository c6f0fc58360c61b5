"""Certificates: what they say, that TLS takes them, and whose name is not read."""

import contextlib
import ipaddress
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from veilmatch_crypto.certificates import (
    LOOPBACK,
    Validity,
    fingerprint,
    issue,
    make_root,
    member_name,
)
from veilmatch_crypto.errors import CertificateRefusedError

ROOT = make_root("benefits", Validity.for_days(30))
TAX = issue(ROOT, "tax", hosts=LOOPBACK, validity=Validity.for_days(10))


def extension(credential, kind):
    return x509.load_pem_x509_certificate(credential.certificate).extensions.get_extension_for_class(kind)


def certificate_with(*names):
    """A certificate of another authority's making, with these SANs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tax")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def handshake(tmp_path, *, server, client, root, host):
    """A mutual TLS handshake in memory: no port is opened.  Returns the certificates each side saw."""
    (tmp_path / "root.pem").write_bytes(root.certificate)

    def context(purpose, credential, name):
        made = ssl.create_default_context(purpose, cafile=tmp_path / "root.pem")
        (tmp_path / f"{name}.pem").write_bytes(credential.certificate + credential.key)
        made.load_cert_chain(tmp_path / f"{name}.pem")
        made.verify_mode = ssl.CERT_REQUIRED
        return made

    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        context(ssl.Purpose.SERVER_AUTH, client, "client").wrap_bio(down, up, server_hostname=host),
        context(ssl.Purpose.CLIENT_AUTH, server, "server").wrap_bio(up, down, server_side=True),
    ]
    for _ in range(3):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return [end.getpeercert(binary_form=True) for end in ends]


@pytest.mark.parametrize("host", LOOPBACK)
def test_two_members_shake_hands(tmp_path, host):
    coordinator = issue(ROOT, "office", hosts=[], validity=Validity.for_days(10))
    seen = handshake(tmp_path, server=TAX, client=coordinator, root=ROOT, host=host)
    assert [member_name(der, "benefits") for der in seen] == ["tax", "office"]


def test_a_foreign_root_fails_the_handshake(tmp_path):
    foreign = issue(
        make_root("benefits", Validity.for_days(30)), "tax", hosts=LOOPBACK, validity=Validity.for_days(10)
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, server=foreign, client=TAX, root=ROOT, host="localhost")


def test_an_expired_certificate_fails_the_handshake(tmp_path):
    now = datetime.now(UTC)
    expired = issue(
        ROOT,
        "tax",
        hosts=LOOPBACK,
        validity=Validity(now - timedelta(days=3), now - timedelta(days=1)),
    )
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(tmp_path, server=expired, client=TAX, root=ROOT, host="localhost")


def test_a_member_cannot_issue(tmp_path):
    below = issue(TAX, "office", hosts=LOOPBACK, validity=Validity.for_days(5))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, server=below, client=TAX, root=ROOT, host="localhost")


def test_extensions_of_the_root():
    basic = extension(ROOT, x509.BasicConstraints)
    assert basic.critical
    assert (basic.value.ca, basic.value.path_length) == (True, 0)
    usage = extension(ROOT, x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.digital_signature) == (True, False)


def test_extensions_of_a_member():
    basic = extension(TAX, x509.BasicConstraints)
    assert basic.critical
    assert basic.value.ca is False
    usage = extension(TAX, x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.digital_signature) == (False, True)
    assert set(extension(TAX, x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    issuer = extension(ROOT, x509.SubjectKeyIdentifier).value.digest
    assert extension(TAX, x509.AuthorityKeyIdentifier).value.key_identifier == issuer
    names = extension(TAX, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["veilmatch://benefits/tax"]
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("::1"),
    ]


def test_keys_are_p256_and_belong_to_the_certificate():
    for credential in (ROOT, TAX):
        key = load_pem_private_key(credential.key, password=None)
        certificate = x509.load_pem_x509_certificate(credential.certificate)
        assert isinstance(key.curve, ec.SECP256R1)
        assert key.public_key() == certificate.public_key()


@pytest.mark.parametrize(
    "member", ["tax", "social_insurance", "民政局", "a-b", "Straße", "a/b", "a%2Fb", "a b"]
)
def test_a_name_in_any_script_is_read_back(member):
    root = make_root("福利", Validity.for_days(30))
    credential = issue(root, member, hosts=LOOPBACK, validity=Validity.for_days(10))
    assert member_name(credential.certificate, "福利") == member
    der = x509.load_pem_x509_certificate(credential.certificate).public_bytes(Encoding.DER)
    assert member_name(der, "福利") == member
    with pytest.raises(CertificateRefusedError):
        member_name(credential.certificate, "benefits")


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["https://benefits/tax"],
        ["veilmatch://other/tax"],
        ["veilmatch://benefits/"],
        ["veilmatch://benefits/tax/more"],
        ["veilmatch://benefits/t%61x"],
        ["veilmatch://benefits/%ff"],
        ["veilmatch://benefits"],
        ["veilmatch://benefits.example/tax"],
        ["VEILMATCH://benefits/tax"],
        ["veilmatch://benefits/tax", "veilmatch://benefits/housing"],
        ["veilmatch://benefits/tax", "veilmatch://other/tax"],
    ],
    ids=str,
)
def test_anything_but_one_member_in_our_spelling_is_refused(uris):
    names = [x509.UniformResourceIdentifier(uri) for uri in uris]
    with pytest.raises(CertificateRefusedError):
        member_name(certificate_with(x509.DNSName("tax"), *names), "benefits")


def test_the_common_name_is_not_a_name():
    with pytest.raises(CertificateRefusedError, match="names no member of any federation"):
        member_name(certificate_with(), "benefits")


@pytest.mark.parametrize("data", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\n", bytes(100)])
def test_what_is_no_certificate_is_refused(data):
    with pytest.raises(CertificateRefusedError):
        member_name(data, "benefits")
    with pytest.raises(CertificateRefusedError):
        fingerprint(data)


def test_the_fingerprint_is_that_of_the_der_bytes():
    parsed = x509.load_pem_x509_certificate(TAX.certificate)
    expected = parsed.fingerprint(hashes.SHA256()).hex()
    assert fingerprint(TAX.certificate) == fingerprint(parsed.public_bytes(Encoding.DER)) == expected


def test_a_certificate_does_not_outlive_its_root():
    with pytest.raises(CertificateRefusedError, match="would outlive the root"):
        issue(ROOT, "tax", hosts=LOOPBACK, validity=Validity.for_days(31))


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_name_that_a_certificate_cannot_hold_is_refused(name):
    with pytest.raises(CertificateRefusedError, match="1 to 64"):
        make_root(name, Validity.for_days(1))
    with pytest.raises(CertificateRefusedError, match="1 to 64"):
        issue(ROOT, name, hosts=LOOPBACK, validity=Validity.for_days(1))


def test_a_host_that_is_neither_name_nor_address_is_refused():
    with pytest.raises(CertificateRefusedError, match="neither"):
        issue(ROOT, "tax", hosts=["税务"], validity=Validity.for_days(1))


def test_an_empty_validity_is_refused():
    now = datetime.now(UTC)
    with pytest.raises(ValueError, match="ends after"):
        Validity(now, now)


def test_keys_do_not_print():
    body = TAX.key.decode().splitlines()[1]
    for shown in (repr(TAX), str(TAX), f"{TAX}"):
        assert body not in shown
        assert fingerprint(TAX.certificate)[:16] in shown
