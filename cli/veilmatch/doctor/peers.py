"""The members that this one talks to: they answer, show the certificate that the directory lists, and keep time."""

import hashlib
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography import x509

from veilmatch.doctor.examination import Examined, Line, refused
from veilmatch_policy.directory import Directory
from veilmatch_transport import PeerError, TlsIdentity, open_channel, server_name
from veilmatch_transport.checks import CLOCK_APART, look_at_validity
from veilmatch_transport.health import Finding, degraded, failed, ok
from veilmatch_transport.status import Said, ask_status

_WITHIN = 5.0  # seconds that a peer has


def look(member: Examined) -> Iterator[Line]:
    """Look at the coordinator, and as the coordinator at every node that listens."""
    directory, tls = member.directory, member.tls
    if directory is None or tls is None:
        return
    names = directory.nodes if member.role == "coordinator" else (directory.coordinator,)
    for name in names:
        address = directory.member(name).address
        if not address:
            yield Line(f"peer {name}", ok("dials in; ask the running service's /health whether it has"))
            continue
        try:
            certificate = _shown(name, address, tls)
            with open_channel(address, name, tls) as channel:
                said = ask_status(channel, name, timeout=_WITHIN)
        except PeerError as error:
            yield Line(f"peer {name}", refused(error))
            continue
        yield Line(f"peer {name}", _stands(said, directory))
        yield Line(f"clock of {name}", look_at_clock(said.ahead))
        if certificate is not None:
            yield Line(f"certificate of {name}", _certificate(certificate, name, directory))


def look_at_clock(ahead: float) -> Finding:
    """Say how far a peer's clock is from ours, in seconds."""
    words = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} ours"
    if abs(ahead) > CLOCK_APART:
        return degraded(words, "set the clocks of both machines; beyond five minutes work is refused")
    return ok(words)


def _stands(said: Said, directory: Directory) -> Finding:
    from importlib.metadata import version  # noqa: PLC0415  only here

    words = f"answers, release {said.release}, directory version {said.directory_version}"
    if said.directory_version != directory.version:
        return degraded(words, f"ours is version {directory.version}: bring both to the newest")
    if said.release != version("veilmatch"):
        return degraded(words, f"ours is release {version('veilmatch')}: bring both to the same")
    return ok(words)


def _certificate(der: bytes, name: str, directory: Directory) -> Finding:
    if hashlib.sha256(der).hexdigest() != directory.member(name).certificate:
        return failed("is not the one that the directory lists", "get the newest directory, or ask the root")
    shown = x509.load_der_x509_certificate(der)
    return look_at_validity(shown.not_valid_before_utc, shown.not_valid_after_utc, datetime.now(UTC))


def _shown(name: str, address: str, tls: TlsIdentity) -> bytes | None:
    """The certificate that a peer shows, DER; None where TLS does not come about: gRPC then says why.

    Our own is not needed for this: in TLS 1.3 a server shows its certificate before it asks for ours.
    """
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cadata=tls.root.decode("ascii"))
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), timeout=_WITHIN) as line,
            context.wrap_socket(line, server_hostname=server_name(name)) as secured,
        ):
            return secured.getpeercert(binary_form=True)
    except (OSError, ValueError):
        return None
