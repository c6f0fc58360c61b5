"""What a running service shows of itself: its health, its metrics, and where both are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from veilmatch_transport.checks import (
    identity_of,
    look_at_certificate,
    look_at_clocks,
    look_at_log,
    look_at_peers,
    look_at_store,
)
from veilmatch_transport.health import Finding, Health
from veilmatch_transport.peers import Peers
from veilmatch_transport.watch import watched

if TYPE_CHECKING:
    from veilmatch_policy.directory import Directory
    from veilmatch_transport.metrics import Metrics
    from veilmatch_transport.settings import MetricsSettings
    from veilmatch_transport.tls import TlsIdentity


def _nobody() -> Mapping[str, bool]:
    return {}


@dataclass(frozen=True)
class Overseen:
    """A service, as far as it is looked at.

    ``transaction`` writes something to its store; ``require_writable`` is its log's.  ``asked`` are the peers that
    listen, by name; ``waiting`` says of those that dial in whether they are there.  ``more`` are further checks.
    """

    role: str
    name: str
    directory: Directory
    tls: TlsIdentity
    store: object  # where it is: a path, or a database's URL
    transaction: Callable[[], object]
    log: Path
    require_writable: Callable[[], None]
    asked: Mapping[str, str]
    waiting: Callable[[], Mapping[str, bool]] = _nobody
    more: Mapping[str, Callable[[], Finding]] = field(default_factory=dict)


@contextmanager
def overseen(
    service: Overseen,
    metrics: Metrics,
    settings: MetricsSettings | None,
    tell: Callable[[bool], None] = lambda _: None,
) -> Iterator[Health]:
    """Look at a service while the context is open, and answer for it where the settings say.

    ``tell`` hears whether work can be given to it.  Raises ListenError.
    """
    metrics.describe(service.role, service.name, service.tls.certificate, service.directory.version)
    peers = Peers(service.asked, service.tls)
    files = {service.store: identity_of(service.store)} if isinstance(service.store, Path) else {}

    def look_around() -> Finding:
        said, waiting = peers.ask(), service.waiting()
        metrics.peers(said, waiting)
        return look_at_peers(said, waiting)

    health = Health(
        {
            "store": lambda: look_at_store(service.transaction, files),
            "log": lambda: look_at_log(service.require_writable, service.log),
            "certificate": lambda: look_at_certificate(service.tls.certificate),
            "peers": look_around,
            "clock": lambda: look_at_clocks(peers.said()),
            **service.more,
        },
        tell,
    )
    with ExitStack() as stack:
        stack.callback(peers.close)
        if settings is not None:  # first: nothing is written to the store where the address cannot be had
            stack.enter_context(watched(settings.listen, metrics, health))
        stack.enter_context(health.watching())
        yield health
