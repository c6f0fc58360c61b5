"""The page's web server: uvicorn in a thread of the node, which ends with it."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from veilmatch_crypto import is_key_file
from veilmatch_node.config import ConsoleSettings
from veilmatch_node.console.accounts import Accounts
from veilmatch_node.console.app import console_app
from veilmatch_node.console.guard import NamedHosts
from veilmatch_node.console.visit import Console
from veilmatch_node.desk import Desk
from veilmatch_transport import SettingsError

_OTHERS = 0o077  # permission bits of group and others
_CONNECTIONS = 64
_HEAD_BYTES = 16 * 1024  # of a request's line and headers
_STOP_SECONDS = 5

_log = structlog.get_logger(__name__)


@contextmanager
def serving(settings: ConsoleSettings, desk: Desk) -> Iterator[int]:
    """Serve the page until the context ends; yields its port.

    Raises SettingsError, before anything is served, for an address, certificate, accounts or key that
    cannot be used.
    """
    accounts = Accounts(settings.accounts)
    accounts.read()
    _require_locked_key(settings)
    console = Console(desk, accounts, settings.officer_key, secure=settings.key is not None)
    config = uvicorn.Config(
        NamedHosts(console_app(console), settings.names),
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        interface="asgi3",
        http="h11",
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_STOP_SECONDS,
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError):
        raise SettingsError(
            f"{settings.certificate}: does not go with {settings.key}, or one of them is no PEM file; check both"
        ) from None
    listening = _listen(settings)
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listening]}, name="officer's page", daemon=True
    )
    thread.start()
    port: int = listening.getsockname()[1]
    _log.info("officer's page", port=port, https=settings.key is not None)
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def _listen(settings: ConsoleSettings) -> socket.socket:
    host, port = settings.address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_CONNECTIONS)
    except OSError as error:
        raise SettingsError(
            f"console.listen: cannot listen on {settings.listen} ({error.strerror}); name another address"
        ) from None


def _require_locked_key(settings: ConsoleSettings) -> None:
    """Refuse an officer's key that anybody could use who reads the file."""
    path = settings.officer_key
    if path is None:
        return
    try:
        text, mode = path.read_text(encoding="ascii"), path.stat().st_mode
    except (OSError, UnicodeError):
        raise SettingsError(f"{path}: cannot be read; check console.officer_key") from None
    if mode & _OTHERS:
        raise SettingsError(f"{path}: others can read this key; run chmod 600 on it")
    if not is_key_file(text):
        raise SettingsError(f"{path}: is not encrypted; lock the officer's key with a passphrase")
