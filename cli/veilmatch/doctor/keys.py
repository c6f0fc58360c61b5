"""Private keys: each is there, for its owner alone, and opens; TLS's belongs to the certificate."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from veilmatch.doctor.examination import Examined, Line, refused
from veilmatch_coordinator.config import CoordinatorConfig
from veilmatch_crypto import KeyUse
from veilmatch_node.config import NodeConfig
from veilmatch_transport import CredentialError, SettingsError, read_secret, read_tls, read_tls_key
from veilmatch_transport.checks import look_at_certificate
from veilmatch_transport.health import Status, ok


def look(member: Examined) -> Iterator[Line]:
    """Look at the files of keys, then at the certificate."""
    config = member.config
    for use, path in _secrets(member).items():
        try:
            read_secret(path, cast("KeyUse", use), member.unlock)
            yield Line(f"keys.{use}", ok(f"{path} opens"))
        except SettingsError as error:
            yield Line(f"keys.{use}", refused(error))
    try:
        read_tls_key(config.tls.key, member.unlock)
        yield Line("tls.key", ok(f"{config.tls.key} opens"))
    except SettingsError as error:
        yield Line("tls.key", refused(error))
    yield from _certificate(member)


def _certificate(member: Examined) -> Iterator[Line]:
    try:
        found = look_at_certificate(member.config.tls.certificate.read_bytes())
    except (OSError, ValueError):
        yield Line(
            "certificate",
            refused(SettingsError(f"{member.config.tls.certificate}: is no PEM certificate; restore it")),
        )
        return
    if found.status is not Status.FAILED:  # else TLS would only say the same once more
        try:
            member.tls = read_tls(member.config.tls, member.unlock)
        except (CredentialError, SettingsError) as error:
            yield Line("certificate", refused(error))
            return
    yield Line("certificate", found)


def _secrets(member: Examined) -> Mapping[str, Path]:
    config = member.config
    if isinstance(config, NodeConfig):
        files = {name: getattr(config.keys, name) for name in ("identity", "sealing", "store", "officer")}
        return {name: path for name, path in files.items() if path is not None}
    return {"identity": config.keys.identity} if isinstance(config, CoordinatorConfig) else {}
