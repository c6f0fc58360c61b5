"""What a ``mysql://`` or ``mariadb://`` URL says, as arguments of PyMySQL's connect.

Options are called as the servers' own command line calls them: ``ssl-mode``, ``ssl-ca``, ``ssl-cert``,
``ssl-key``, ``socket``, ``defaults-file``.
"""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_OPTIONS = frozenset({"ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "socket", "defaults-file"})
_MODES = ("DISABLED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")


class UrlError(ValueError):
    """The URL cannot be used; the message does not quote it."""


def connect_arguments(url: str) -> Mapping[str, Any]:
    """Read the URL.  Raises UrlError for an option or mode that is none, and for TLS files that do not open.

    Without ``ssl-mode`` a server that is not this machine must show a certificate of its own name.
    """
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        port = parts.port or 3306
    except ValueError:
        raise UrlError("it is no URL") from None
    if not options.keys() <= _OPTIONS:
        raise UrlError(f"its options are {', '.join(sorted(_OPTIONS))}")
    arguments: dict[str, Any] = {"database": unquote(parts.path.removeprefix("/")) or None}
    if parts.username is not None:
        arguments["user"] = unquote(parts.username)
    if parts.password is not None:
        arguments["password"] = unquote(parts.password)
    if "defaults-file" in options:
        arguments["read_default_file"] = options["defaults-file"]
    if "socket" in options:
        return {**arguments, "unix_socket": options["socket"]}
    host = parts.hostname or "localhost"
    mode = options.get("ssl-mode", "DISABLED" if host in _LOOPBACK else "VERIFY_IDENTITY").upper()
    return {**arguments, "host": host, "port": port, **_tls(mode, options)}


def _tls(mode: str, options: Mapping[str, str]) -> Mapping[str, Any]:
    if mode not in _MODES:
        raise UrlError(f"its ssl-mode is none of {', '.join(_MODES)}")
    if mode == "DISABLED":
        return {"ssl_disabled": True}
    try:
        context = ssl.create_default_context(cafile=options.get("ssl-ca"))
        if "ssl-cert" in options:
            context.load_cert_chain(options["ssl-cert"], options.get("ssl-key"))
    except (OSError, ssl.SSLError):
        raise UrlError("its ssl-ca, ssl-cert or ssl-key cannot be read") from None
    # The certificates that these servers make for themselves lack what strict reading wants.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = mode == "VERIFY_IDENTITY"
    context.verify_mode = ssl.CERT_NONE if mode == "REQUIRED" else ssl.CERT_REQUIRED
    return {"ssl": context}
