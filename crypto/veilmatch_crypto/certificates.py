"""The federation's TLS certificates: a root, and one certificate a member (protocol.md, 2).

X.509 v3 (RFC 5280) with ECDSA on P-256, which gRPC's BoringSSL accepts on both sides (it does
not offer Ed25519 for certificates).  A member's name stands in a URI SAN, ``veilmatch://<federation>/<member>``,
percent-encoded, because names may be in any script.

Bytes in, bytes out: PEM, with keys as unencrypted PKCS #8, whose file's mode is the caller's concern.
``member_name`` reads a certificate that TLS has already verified against the root; it verifies no chain.
A member's private key stays with it: the root issues for a request.
TLS says who is on the line; who wrote a relayed message, the Ed25519 signature says.
"""

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Self
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from veilmatch_crypto.errors import CertificateRefusedError

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")

_SCHEME: Final = "veilmatch://"
_MAX_NAME: Final = 64  # RFC 5280, A.1: ub-organization-name and ub-common-name
_CLOCK_SKEW: Final = timedelta(hours=1)


class Credential(NamedTuple):
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"<Credential {fingerprint(self.certificate)[:16]}>"


class RequestedCertificate(NamedTuple):
    """A request for a certificate (PKCS #10) and the private key that it is for, both PEM."""

    request: bytes
    key: bytes

    def __repr__(self) -> str:
        return "<RequestedCertificate>"


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate is valid, both with a time zone; not empty, or ValueError."""

    not_before: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        if self.not_before >= self.not_after:
            raise ValueError("a certificate's validity ends after it begins")

    @classmethod
    def for_days(cls, days: int) -> Self:
        """From an hour ago, as the members' clocks differ, until ``days`` days from now."""
        now = datetime.now(UTC)
        return cls(now - _CLOCK_SKEW, now + timedelta(days=days))


def make_root(federation: str, validity: Validity) -> Credential:
    """A fresh self-signed root for ``federation``; it signs members' certificates and nothing else.

    Raises CertificateRefusedError when ``federation`` has no or more than 64 characters.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(federation, "veilmatch federation root")
    builder = (
        _builder(name, name, key.public_key(), key.public_key(), validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
    )
    return Credential(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM), _pem(key))


def make_request(member: str, key: bytes | None = None) -> RequestedCertificate:
    """A request (PKCS #10, RFC 2986) for a certificate of ``member``, by a fresh key or that of ``key`` (PEM).

    The request proves that its maker has the key; it names no federation, and hosts are the root's to say.
    Raises CertificateRefusedError for a member name of no or more than 64 characters, or a key of another kind.
    """
    private = ec.generate_private_key(ec.SECP256R1()) if key is None else _private(key)
    _require_length(member)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, member)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(private, hashes.SHA256())
    return RequestedCertificate(request.public_bytes(Encoding.PEM), _pem(private))


def issue(root: Credential, member: str, *, hosts: Sequence[str], validity: Validity) -> Credential:
    """A fresh certificate and key for ``member`` of the root's federation, as TLS server and client.

    For a federation on one machine; elsewhere a member makes its key itself (``make_request``).
    Raises as ``issue_requested``.
    """
    requested = make_request(member)
    certificate = issue_requested(root, requested.request, member, hosts=hosts, validity=validity)
    return Credential(certificate, requested.key)


def issue_requested(
    root: Credential, request: bytes, member: str, *, hosts: Sequence[str], validity: Validity
) -> bytes:
    """A certificate (PEM) for ``member`` and the key of ``request`` (PKCS #10, PEM), as TLS server and client.

    Of the request only the key is used.  ``hosts`` are the DNS names and IP addresses that the member is
    reached at; ``LOOPBACK`` on one machine.
    Raises CertificateRefusedError for a request that its key did not sign or whose key is not on P-256, for a
    member name of no or more than 64 characters, for a host that is neither a DNS name in ASCII nor an
    address, and for a validity that outlives the root's.
    """
    issuer = x509.load_pem_x509_certificate(root.certificate)
    issuer_key = _private(root.key)
    if validity.not_after > issuer.not_valid_after_utc:
        raise CertificateRefusedError(
            f"the certificate of {member} would outlive the root, which ends on "
            f"{issuer.not_valid_after_utc:%Y-%m-%d}; ask for a shorter one"
        )
    federation = str(issuer.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value)
    key = _requested_key(request)
    names = [x509.UniformResourceIdentifier(_uri(federation, member)), *map(_host, hosts)]
    builder = (
        _builder(_name(federation, member), issuer.subject, key, issuer_key.public_key(), validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM)


def verify_issued(root: bytes, certificate: bytes, request: bytes) -> None:
    """Return if ``certificate`` is from ``root`` and for the key of ``request``, all PEM.

    Raises CertificateRefusedError otherwise.  Dates are not looked at: TLS does that.
    """
    issued = _load(certificate)
    try:
        issued.verify_directly_issued_by(_load(root))
    except (InvalidSignature, ValueError, TypeError):
        raise CertificateRefusedError("the certificate is not from the federation's root") from None
    if issued.public_key() != _requested_key(request):
        raise CertificateRefusedError("the certificate is not for the key that asked for it")


def member_name(certificate: bytes, federation: str) -> str:
    """The member that a certificate (PEM or DER) was issued to.

    Raises CertificateRefusedError when it is no certificate or does not name exactly one member of
    ``federation`` in exactly the form that ``issue`` writes.
    """
    parsed = _load(certificate)
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise CertificateRefusedError("the certificate names no member of any federation") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    members = [uri for uri in uris if uri.startswith(_SCHEME)]
    if len(members) != 1:
        raise CertificateRefusedError(f"the certificate names {len(members)} members, not one")
    member = unquote(members[0].removeprefix(_uri(federation, "")))
    if not member or members[0] != _uri(federation, member):
        raise CertificateRefusedError(f"the certificate names no member of the federation {federation}")
    return member


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of the certificate's (PEM or DER) DER bytes, 64 hex digits, as the directory lists it.

    Raises CertificateRefusedError when it is no certificate.
    """
    return hashlib.sha256(_load(certificate).public_bytes(Encoding.DER)).hexdigest()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    validity: Validity,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateRefusedError("the key is not an unencrypted PEM key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateRefusedError("the key is not one on P-256, as make_root and make_request make")
    return key


def _requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    try:
        parsed = x509.load_pem_x509_csr(request)
        signed, key = parsed.is_signature_valid, parsed.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateRefusedError("the bytes are not a request for a certificate in PEM") from error
    if (
        not signed
        or not isinstance(key, ec.EllipticCurvePublicKey)
        or not isinstance(key.curve, ec.SECP256R1)
    ):
        raise CertificateRefusedError("the request for a certificate is not signed by a key on P-256")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(federation: str, common_name: str) -> x509.Name:
    _require_length(federation)
    _require_length(common_name)
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, federation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _require_length(name: str) -> None:
    if not 1 <= len(name) <= _MAX_NAME:
        raise CertificateRefusedError(
            f"names of federations and members have 1 to {_MAX_NAME} characters, not {len(name)}"
        )


def _uri(federation: str, member: str) -> str:
    return f"{_SCHEME}{quote(federation, safe='')}/{quote(member, safe='')}"


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise CertificateRefusedError(f"{host!r} is neither an IP address nor a DNS name in ASCII") from error


def _load(certificate: bytes) -> x509.Certificate:
    try:
        if certificate.lstrip().startswith(b"-----BEGIN"):
            return x509.load_pem_x509_certificate(certificate)
        return x509.load_der_x509_certificate(certificate)
    except ValueError as error:
        raise CertificateRefusedError("the bytes are not an X.509 certificate in PEM or DER") from error
