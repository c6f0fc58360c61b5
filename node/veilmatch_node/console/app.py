"""The page as an ASGI application: which function answers which path, for whom."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from veilmatch_node.console import pages
from veilmatch_node.console.guard import Guard
from veilmatch_node.console.visit import Console, Visit
from veilmatch_policy.errors import PolicyError

Page = Callable[[Visit], Response]
Endpoint = Callable[[Request], Awaitable[Response]]
Reader = Literal["anybody", "account", "officer"]

_log = structlog.get_logger(__name__)


def console_app(console: Console) -> ASGIApp:
    """Return the application."""

    def route(
        path: str, page: Page, *, by: Reader = "account", post: bool = False, touch: bool = True
    ) -> Route:
        endpoint = _endpoint(console, page, by=by, touch=touch)
        return Route(path, endpoint, methods=["POST"] if post else ["GET"])

    one = "{digest:str}"
    app = Starlette(
        routes=[
            Route("/", _start),
            route("/login", pages.login, by="anybody"),
            route("/login", pages.log_in, by="anybody", post=True),
            route("/logout", pages.logout, post=True),
            route("/language/{language:str}", pages.language, by="anybody"),
            route("/requests", pages.requests),
            # Asked for by the page itself: nobody is there because of it.
            route("/requests/list", pages.requests, touch=False),
            route(f"/requests/{one}", pages.request),
            route(f"/requests/{one}/approve", pages.approve, by="officer", post=True),
            route(f"/requests/{one}/refuse", pages.refuse, by="officer", post=True),
            route("/decisions", pages.decisions),
            route(f"/decisions/{one}", pages.decision),
            route(f"/decisions/{one}/revoke", pages.revoke, by="officer", post=True),
            route("/budgets", pages.budgets),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ],
        exception_handlers={HTTPException: _one_line},
    )
    return Guard(app, secure=console.secure)


def _endpoint(console: Console, page: Page, *, by: Reader, touch: bool) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        visit = await Visit.of(console, request, touch=touch)
        if by != "anybody" and visit.session is None:
            return visit.go_to("/login")
        if by == "officer" and not visit.may_decide:
            raise HTTPException(
                403, visit.say("only an officer's account may decide, at a node with the officer's key")
            )
        try:
            return await run_in_threadpool(page, visit)
        except HTTPException:
            raise
        except PolicyError as error:
            raise HTTPException(409, str(error)) from None
        except Exception as error:  # noqa: BLE001  nothing of it may reach a browser: it could quote a form
            on_purpose = isinstance(getattr(error, "exit_code", None), int)
            _log.error(
                "page failed", page=page.__name__, reason=str(error) if on_purpose else type(error).__name__
            )
            raise HTTPException(500, visit.say("this page failed: the node's log says more")) from None

    return endpoint


async def _start(_request: Request) -> Response:
    return RedirectResponse("/requests", 303)


async def _one_line(_request: Request, error: Exception) -> Response:
    """Answer with one plain line, whatever it is that is refused."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    said = error.detail if isinstance(error, HTTPException) else ""
    return PlainTextResponse(" ".join(said.split()), status)
