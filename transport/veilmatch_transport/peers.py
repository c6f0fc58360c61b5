"""The other members, as a service last saw them: who answers, and how far their clocks are from ours."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from veilmatch_policy.clock import Clock, utc_now
from veilmatch_transport.channel import open_channel
from veilmatch_transport.errors import PeerError
from veilmatch_transport.status import Said, ask_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc

    from veilmatch_transport.tls import TlsIdentity

_WITHIN: Final = 3.0  # seconds that a peer has to say how it stands
_AT_ONCE: Final = 8  # peers that are asked at once


class Peers:
    """Asks the members that listen for their status.  Safe for several threads."""

    def __init__(self, addresses: Mapping[str, str], tls: TlsIdentity, clock: Clock = utc_now) -> None:
        """Take the members to ask, name and host:port; nothing is dialled before ``ask``."""
        self._addresses = dict(addresses)
        self._tls = tls
        self._clock = clock
        self._channels: dict[str, grpc.Channel] = {}
        self._said: dict[str, Said | PeerError] = {}
        self._asking = threading.Lock()

    def ask(self) -> Mapping[str, Said | PeerError]:
        """Ask all, each within seconds; what each said, or why it said nothing."""
        with self._asking:
            for name, address in self._addresses.items():
                if name not in self._channels:
                    self._channels[name] = open_channel(address, name, self._tls)
            if self._addresses:
                with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="status") as pool:
                    self._said = dict(zip(self._addresses, pool.map(self._one, self._addresses), strict=True))
        return self._said

    def said(self) -> Mapping[str, Said | PeerError]:
        """What came of asking last."""
        return self._said

    def close(self) -> None:
        """Close all channels."""
        with self._asking:
            for channel in self._channels.values():
                channel.close()
            self._channels.clear()
            self._addresses.clear()

    def _one(self, name: str) -> Said | PeerError:
        try:
            return ask_status(self._channels[name], name, timeout=_WITHIN, clock=self._clock)
        except PeerError as error:
            return error
