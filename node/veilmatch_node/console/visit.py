"""One request to the page: who asks, in which language, with which form."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from veilmatch_node.console.accounts import Accounts
from veilmatch_node.console.chinese import SENTENCES
from veilmatch_node.console.guard import FORM
from veilmatch_node.console.sessions import Attempts, Session, Sessions, new_token
from veilmatch_node.desk import Desk
from veilmatch_policy.words import LANGUAGES, Language, Words

_MOST_FIELDS = 20
_FAILURES_SECONDS = 15 * 60.0
_LANGUAGE_COOKIE = "language"
_LANGUAGE_SECONDS = 365 * 24 * 3600

_WORDS: Mapping[Language, Words] = {
    "en": LANGUAGES["en"],
    "zh-Hans": LANGUAGES["zh-Hans"].and_also(SENTENCES),
}
_templates = Environment(
    loader=PackageLoader("veilmatch_node.console"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Console:
    """What the page works with; one a node."""

    def __init__(
        self,
        desk: Desk,
        accounts: Accounts,
        officer_key: Path | None,
        *,
        secure: bool,
        sessions: Sessions | None = None,
    ) -> None:
        """Take the desk, the accounts and the officer's key file (None: decisions are signed elsewhere).

        ``secure``: the page is served over HTTPS.
        """
        self.desk = desk
        self.accounts = accounts
        self.officer_key = officer_key
        self.secure = secure
        self.sessions = sessions or Sessions()
        self.attempts = Attempts(_FAILURES_SECONDS)
        self.one_key_at_a_time = threading.Lock()  # opening the officer's key takes 128 MiB, up to 512 MiB
        # With this prefix browsers take the cookie over HTTPS only, and from this host only.
        self.cookie = "__Host-session" if secure else "session"


@dataclass(frozen=True)
class Visit:
    """One request, its form read, its session looked up; ``token`` is its cookie's, drawn where it has none."""

    console: Console
    request: Request
    form: Mapping[str, str]
    token: str
    session: Session | None
    say: Words

    @classmethod
    async def of(cls, console: Console, request: Request, *, touch: bool) -> "Visit":
        """Read a request.  Raises HTTPException for a form without its token."""
        token = request.cookies.get(console.cookie) or new_token()
        say = _WORDS[_language(request)]
        form: Mapping[str, str] = {}
        if request.method == "POST":
            form = _fields(await request.body())
            expected = console.sessions.form_token(token)
            # htmx repeats it in a header, which no form of another site can send.
            from_htmx = request.headers.get("hx-request") is not None
            brought = [form.get("form_token"), *([request.headers.get("x-form-token")] if from_htmx else [])]
            if any(each is None or not _same(each, expected) for each in brought):
                raise HTTPException(
                    403, say("the form is too old: open the page again and repeat what you did")
                )
        session = _session(console, token, touch=touch)
        return cls(console, request, form, token, session, say)

    @property
    def htmx(self) -> bool:
        """Whether the page itself asked for a part of it."""
        return self.request.headers.get("hx-request") is not None

    @property
    def may_decide(self) -> bool:
        """Whether whoever asks is an officer, and this node holds the officer's key."""
        return (
            self.session is not None
            and self.session.account.role == "officer"
            and self.console.officer_key is not None
        )

    @property
    def address(self) -> str:
        """Where the request comes from."""
        return self.request.client.host if self.request.client is not None else ""

    def page(self, template: str, shown: Mapping[str, object] | None = None, status: int = 200) -> Response:
        """Return a page made of a template and what it shows."""
        text = _templates.get_template(template).render(
            say=self.say,
            languages=_WORDS,
            path=self.request.url.path,
            department=self.console.desk.catalog.title or self.console.desk.name,
            session=self.session,
            may_decide=self.may_decide,
            form_token=self.console.sessions.form_token(self.token),
            **(shown or {}),
        )
        return self.remember(HTMLResponse(text, status))

    def go_to(self, path: str) -> Response:
        """Send the browser to another page, after a form or without a session."""
        if self.htmx:
            return Response(status_code=200, headers={"HX-Redirect": path})
        return RedirectResponse(path, 303)

    def remember(self, response: Response, token: str | None = None) -> Response:
        """Give the browser its cookie: the visit's own, or another ``token``."""
        if token is None and self.console.cookie in self.request.cookies:
            return response
        response.set_cookie(
            self.console.cookie,
            token or self.token,
            path="/",
            secure=self.console.secure,
            httponly=True,
            samesite="strict",
        )
        return response

    def speak(self, language: Language, response: Response) -> Response:
        """Remember in which language the pages are."""
        response.set_cookie(
            _LANGUAGE_COOKIE,
            language,
            max_age=_LANGUAGE_SECONDS,
            path="/",
            secure=self.console.secure,
            httponly=True,
            samesite="strict",
        )
        return response


def _session(console: Console, token: str, *, touch: bool) -> Session | None:
    """The session of a token, unless its account was taken out or changed since."""
    session = console.sessions.find(token, touch=touch)
    if session is not None and console.accounts.read().get(session.name) != session.account:
        console.sessions.close(token)
        return None
    return session


def _language(request: Request) -> Language:
    chosen = request.cookies.get(_LANGUAGE_COOKIE)
    for language in _WORDS:
        if language == chosen:
            return language
    first = request.headers.get("accept-language", "").partition(",")[0]
    return "zh-Hans" if first.strip().lower().startswith("zh") else "en"


def _fields(body: bytes) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise HTTPException(400, f"veilmatch: the form is not {FORM}") from None
    return dict(pairs)


def _same(brought: str, expected: str) -> bool:
    return compare_digest(brought.encode(), expected.encode())
