"""Mutual TLS: who we are, who the peer must be, who called (protocol.md, 2).

Both sides present a certificate from the federation's root.  A server learns its caller from the URI
SAN (``veilmatch_crypto.certificates``) and from the fingerprint, which the directory must list.  A client
cannot look at the server's certificate through gRPC's Python API, so BoringSSL does it: every member's
certificate carries a DNS name derived from the member's name, and the client asks for exactly that.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from veilmatch_crypto import CertificateRefusedError, fingerprint, member_name
from veilmatch_transport.errors import CredentialError

# 128 bits: nobody finds a member name whose server name is another's, even choosing both.
_LABEL_HEX: Final = 32


def server_name(member: str) -> str:
    """Return the DNS name under which a member's certificate is asked for, whatever its address.

    ``issue`` must be given it among the hosts:
    ``issue(root, member, hosts=[*hosts, server_name(member)], validity=...)``.  A hash, since member
    names may be in any script and of any length; ``.internal`` is never resolved in the public DNS.
    """
    digest = hashlib.sha256(f"veilmatch/1/server-name/{member}".encode()).hexdigest()
    return f"m-{digest[:_LABEL_HEX]}.veilmatch.internal"


@dataclass(frozen=True)
class TlsIdentity:
    """This party's side of every connection: the federation's root, our certificate and its key, all PEM.

    Raises CredentialError when one of them is not what it should be, the key or the root does not
    belong to the certificate, or the certificate is not valid now: gRPC would report each of these
    as a port that cannot be bound.
    """

    root: bytes
    certificate: bytes
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        root = _certificate(self.root, "the federation's root")
        certificate = _certificate(self.certificate, "our certificate")
        try:
            key = load_pem_private_key(self.key, password=None)
        except (ValueError, TypeError):
            raise CredentialError("TLS: our key is not an unencrypted PEM key; restore it") from None
        if key.public_key() != certificate.public_key():
            raise CredentialError("TLS: our key does not belong to our certificate; check the two paths")
        try:
            certificate.verify_directly_issued_by(root)
        except (InvalidSignature, ValueError, TypeError):
            raise CredentialError(
                "TLS: our certificate is not from the federation's root; check the two paths"
            ) from None
        now = datetime.now(UTC)
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise CredentialError(
                f"TLS: our certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to "
                f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, not now; ask the root for a new one"
            )

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials for a listener; callers without a certificate from the root are cut off."""
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)], root_certificates=self.root, require_client_auth=True
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return credentials for dialling; ``open_channel`` adds whom we expect to find."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.root, private_key=self.key, certificate_chain=self.certificate
        )


@dataclass(frozen=True)
class PeerCertificate:
    """Whom TLS authenticated: the member's name and its certificate's SHA-256, 64 hex digits."""

    member: str
    fingerprint: str


def peer_certificate(context: grpc.ServicerContext, federation: str) -> PeerCertificate:
    """Read a caller's certificate, which TLS has verified against the root.

    Raises CertificateRefusedError when there is none (the connection is not TLS) or it does not name a
    member of ``federation``.  Whether the directory lists it is for the caller to ask.
    """
    # The stub says bytes; grpcio gives a sequence of them for each property.
    properties: dict[str, Any] = dict(context.auth_context())
    match properties.get("x509_pem_cert", ()):
        case [bytes() as certificate]:
            return PeerCertificate(member_name(certificate, federation), fingerprint(certificate))
    raise CertificateRefusedError("the caller showed no certificate")


def _certificate(pem: bytes, what: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise CredentialError(f"TLS: {what} is not a PEM certificate; check the path") from None
