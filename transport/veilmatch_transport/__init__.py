"""gRPC over mutual TLS, as both roles use it: streams, roles, limits, settings.  It knows no role's work."""

from veilmatch_transport.boundary import as_refusal
from veilmatch_transport.channel import call, open_channel, responses, wait_until_serving
from veilmatch_transport.errors import (
    Code,
    CredentialError,
    ListenError,
    MessageTooLargeError,
    PeerError,
    PeerRefusedError,
    PeerTimeoutError,
    PeerUnavailableError,
    PeerUntrustedError,
    RefusalError,
    StreamEnded,
    TransportError,
)
from veilmatch_transport.roles import RoleGate, caller
from veilmatch_transport.secrets_at_rest import read_passphrase, read_secret, read_tls, read_tls_key
from veilmatch_transport.server import Server
from veilmatch_transport.settings import (
    Federation,
    Section,
    SettingsError,
    Tls,
    Unlock,
    load_settings,
    read_directory,
    require_key,
    require_member,
)
from veilmatch_transport.sqlite import durable_engine, forget_erased, shared_engine
from veilmatch_transport.streams import WorkStream, open_stream, serve_stream
from veilmatch_transport.tls import TlsIdentity, server_name

__all__ = [
    "Code",
    "CredentialError",
    "Federation",
    "ListenError",
    "MessageTooLargeError",
    "PeerError",
    "PeerRefusedError",
    "PeerTimeoutError",
    "PeerUnavailableError",
    "PeerUntrustedError",
    "RefusalError",
    "RoleGate",
    "Section",
    "Server",
    "SettingsError",
    "StreamEnded",
    "Tls",
    "TlsIdentity",
    "TransportError",
    "Unlock",
    "WorkStream",
    "as_refusal",
    "call",
    "caller",
    "durable_engine",
    "forget_erased",
    "load_settings",
    "open_channel",
    "open_stream",
    "read_directory",
    "read_passphrase",
    "read_secret",
    "read_tls",
    "read_tls_key",
    "require_key",
    "require_member",
    "responses",
    "serve_stream",
    "server_name",
    "shared_engine",
    "wait_until_serving",
]
