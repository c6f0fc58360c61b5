"""What holds for every request and answer of the page, whatever it is about."""

import re
from collections.abc import Collection, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Of a request's body: the longest form is a reason of 1,000 characters, percent-encoded.
MOST_BYTES = 16 * 1024
FORM = "application/x-www-form-urlencoded"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # With no-referrer, browsers would not say where a form comes from (`Origin: null`).
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_TOO_LARGE = "veilmatch: the request is too large"
_OTHER_NAME = "veilmatch: this page has another name; use that one, or add this one to console.hosts"
_PORT = re.compile(r":[0-9]*\Z")
_ONE_YEAR = "max-age=31536000"


class Guard:
    """ASGI middleware: refuses what is too large, no form, or sent by another site's page; sets the headers."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        """Wrap an application; ``secure``: it is served over HTTPS."""
        self._app = app
        self._headers = {**_HEADERS, **({"Strict-Transport-Security": _ONE_YEAR} if secure else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        refusal = _refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, sending)
            return
        await self._app(scope, _Limited(receive), sending)


class NamedHosts:
    """ASGI middleware: refuses requests for a host that is not the page's.

    Whoever makes a name of theirs point to this machine (DNS rebinding) has its page read ours as their own.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        """Wrap an application; ``names``: hosts as a Host header has them, without port, in lower case."""
        self._app = app
        self._names = frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if _PORT.sub("", Headers(scope=scope).get("host", "")).lower() in self._names:
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse(_OTHER_NAME, 421)(scope, receive, send)


class _Limited:
    """A request's body, up to the limit."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._taken = 0

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        if self._taken > MOST_BYTES:
            raise HTTPException(413, _TOO_LARGE)
        return message


def _refusal(scope: Scope) -> PlainTextResponse | None:
    headers = Headers(scope=scope)
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length) > MOST_BYTES:
        return PlainTextResponse(_TOO_LARGE, 413)
    if scope["method"] in {"GET", "HEAD"}:
        return None
    if scope["method"] != "POST":
        return PlainTextResponse("veilmatch: this page takes GET and POST", 405)
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return PlainTextResponse("veilmatch: this page takes forms only", 415)
    # Beside the form's token: browsers say where a request comes from, and no page can change what they say.
    origin = headers.get("origin")
    if headers.get("sec-fetch-site", "same-origin") != "same-origin" or (
        origin is not None and origin.partition("://")[2] != headers.get("host")
    ):
        return PlainTextResponse("veilmatch: this form was sent by another site's page", 403)
    return None
