"""A TCP relay that stands between two real parties and fails when it is told: cut, refusing, half open, held, slow."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from enum import Enum, auto

BUFFER = (
    1 << 16
)  # bytes that each socket of the relay holds, about as a router would; the largest piece that passes
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: to close sends RST and drops what is queued
SEGMENT = 1400  # bytes, as on Ethernet: with loopback's 64 KiB a slow reader looks like one that has stopped
_PIECES_A_SECOND = 20  # of a slow line


class State(Enum):
    """What becomes of bytes that come in."""

    WHOLE = auto()
    HELD = auto()  # nothing passes, nothing is lost: a path that is down for a while
    SWALLOWED = auto()  # taken and dropped, nothing closed: a firewall that forgot its connections


class Line:
    """One connection: the dialler's socket, the listener's, and the task that carries between them."""

    def __init__(self, dialler: socket.socket, listener: socket.socket) -> None:
        self.sockets = (dialler, listener)
        self.task: asyncio.Task[None] | None = None
        self.reset = False
        self.lost = False  # bytes are missing: no TLS record after them would be good

    def end(self, *, reset: bool) -> None:
        """End both connections, with RST or FIN."""
        self.reset = reset
        if self.task is not None:
            self.task.cancel()

    def close(self) -> None:
        """Give the sockets back."""
        for each in self.sockets:
            if self.reset:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            each.close()


class Relay:
    """Listens at ``address`` and carries every connection to ``target`` and back, until it is told to fail.

    Faults meet the connections that there are and the next ones, until ``mend``.  Every method may be called
    from any thread but the relay's own, and returns when the fault is there.
    """

    def __init__(self, address: str, target: str) -> None:
        self._address, self._target = _pair(address), _pair(target)
        self._state = State.WHOLE
        self._rate: float | None = None
        self._latency = 0.0
        self._lines: set[Line] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._left = 0
        self._fault: Callable[[], None] | None = None
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self.passed = 0
        """Bytes that went through, both ways together."""
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"relay at {address}", daemon=True
        )
        self._thread.start()
        self.mend()

    @property
    def lines(self) -> int:
        """How many connections there are."""
        return len(self._lines)

    def mend(self) -> None:
        """Be whole again: listen, carry everything at full speed; connections that lost bytes are reset."""

        async def mend() -> None:
            self._rate, self._latency, self._fault = None, 0.0, None
            self._become(State.WHOLE)
            for line in self._lines:
                if line.lost:
                    line.end(reset=True)
            if self._accepting is None:
                self._accepting = asyncio.create_task(self._accept(_listen(self._address)))

        self._do(mend())

    def cut(self, *, reset: bool) -> None:
        """End every connection, with RST or FIN; the next one is carried."""

        async def cut() -> None:
            await self._cut(reset=reset)

        self._do(cut())

    def refuse(self) -> None:
        """Listen no more, like a machine that restarts, and reset every connection."""

        async def refuse() -> None:
            if self._accepting is not None:
                self._accepting.cancel()
                await asyncio.wait([self._accepting])
                self._accepting = None
            await self._cut(reset=True)

        self._do(refuse())

    def hold(self) -> None:
        """Let nothing pass and lose nothing."""

        async def hold() -> None:
            self._become(State.HELD)

        self._do(hold())

    def swallow(self) -> None:
        """Accept, read and drop everything, and close nothing: half open."""

        async def swallow() -> None:
            self._become(State.SWALLOWED)

        self._do(swallow())

    def slow(self, *, bytes_a_second: float | None = None, latency: float = 0.0) -> None:
        """Carry so many bytes a second each way on each connection, each piece ``latency`` seconds late."""

        async def slow() -> None:
            self._rate, self._latency = bytes_a_second, latency

        self._do(slow())

    def after(self, count: int, fault: Callable[[], None]) -> None:
        """Call ``fault``, once, when ``count`` more bytes have passed; on their connection none passes before it."""

        async def after() -> None:
            self._left, self._fault = count, fault

        self._do(after())

    def close(self) -> None:
        """End everything."""
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, change: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(change, self._loop).result(10)

    def _become(self, state: State) -> None:
        self._state = state
        self._changed.set()
        self._changed = asyncio.Event()

    async def _cut(self, *, reset: bool) -> None:
        tasks = [line.task for line in self._lines if line.task is not None]
        for line in self._lines:
            line.end(reset=reset)
        if tasks:
            await asyncio.wait(tasks)

    async def _accept(self, listening: socket.socket) -> None:
        with listening:
            while True:
                dialler, _ = await self._loop.sock_accept(listening)
                listener = _socket()
                line = Line(dialler, listener)
                self._lines.add(line)
                line.task = asyncio.create_task(self._serve(line))

    async def _serve(self, line: Line) -> None:
        dialler, listener = line.sockets
        try:
            await self._loop.sock_connect(listener, self._target)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(line, dialler, listener))
                both.create_task(self._carry(line, listener, dialler))
        except* OSError:  # nobody listens there, or one side broke off
            line.reset = True
        finally:
            self._lines.discard(line)
            line.close()

    async def _carry(self, line: Line, source: socket.socket, sink: socket.socket) -> None:
        while piece := await self._loop.sock_recv(source, self._piece()):
            while piece:
                piece = await self._pass(line, piece, sink)
        sink.shutdown(socket.SHUT_WR)

    def _piece(self) -> int:
        return BUFFER if self._rate is None else max(1, min(BUFFER, int(self._rate / _PIECES_A_SECOND)))

    async def _pass(self, line: Line, piece: bytes, sink: socket.socket) -> bytes:
        """Carry a piece as the state says, up to where a fault is due; what is left of it."""
        await asyncio.sleep(self._latency + (len(piece) / self._rate if self._rate else 0.0))
        while self._state is State.HELD:
            await self._changed.wait()
        if line.lost or self._state is State.SWALLOWED:
            line.lost = True
            return b""
        now, fault = piece, None
        if self._fault is not None:
            now = piece[: self._left]
            self._left -= len(now)
            if not self._left:
                fault, self._fault = self._fault, None
        self.passed += len(now)
        await self._loop.sock_sendall(sink, now)
        if fault is not None:
            await asyncio.to_thread(fault)  # which may tell this relay to fail
        return piece[len(now) :]


def _pair(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    return made


def _listen(address: tuple[str, int]) -> socket.socket:
    listening = _socket()  # the sockets that it gives have its buffers
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # beside the one that reserves the port
    listening.bind(address)
    listening.listen()
    return listening
