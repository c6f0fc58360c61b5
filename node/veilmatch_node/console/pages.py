"""The pages: plain functions from a visit to an answer, run in threads since the desk and scrypt block."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from veilmatch_crypto import IdentityKey, KeyFileError, Passphrase
from veilmatch_node.console.shown import moment, shown_budgets, shown_request, state_of
from veilmatch_node.console.visit import Visit
from veilmatch_node.desk import Held
from veilmatch_policy.approvals import LONGEST_REASON
from veilmatch_policy.words import LANGUAGES
from veilmatch_transport import SettingsError, read_secret

_FAILURES = 5  # for one name from one address, or one officer's passphrase, in a quarter of an hour
_FAILURES_OF_AN_ADDRESS = 20
_FAILURES_OF_A_NAME = 20  # from all addresses: whoever has many of them has no more guesses
_USUAL_DAYS = 90  # of an approval
_MOST_RUNS = 1000

_log = structlog.get_logger(__name__)


def login(visit: Visit) -> Response:
    """Show the form to log in with."""
    if visit.session is not None:
        return visit.go_to("/requests")
    return visit.page("login.html", {"refused": None})


def log_in(visit: Visit) -> Response:
    """Open a session."""
    console, say = visit.console, visit.say
    name = visit.form.get("name", "")
    # A few failures at one address do not lock an officer out who sits at another.
    here = ("name", visit.address, name)
    address, anywhere = ("address", visit.address), ("name", name)
    limits = {here: _FAILURES, address: _FAILURES_OF_AN_ADDRESS, anywhere: _FAILURES_OF_A_NAME}
    if not console.attempts.begin(limits):
        raise HTTPException(429, say("too many attempts: wait a quarter of an hour"))
    account = console.accounts.check(name, visit.form.get("password", ""))
    if account is None:
        _log.warning("login refused", address=visit.address)
        return visit.page("login.html", {"refused": say("Name or password is not right.")}, 401)
    console.attempts.succeeded(here, address, anywhere)
    console.sessions.close(visit.token)
    _log.info("login", account=name, role=account.role)
    return visit.remember(visit.go_to("/requests"), console.sessions.open(name, account))


def logout(visit: Visit) -> Response:
    """End the session."""
    visit.console.sessions.close(visit.token)
    return visit.go_to("/login")


def language(visit: Visit) -> Response:
    """Change the language, and go back to where the visitor was."""
    path = visit.request.query_params.get("back", "/")
    # A path of this site: "//" would begin another site's address.
    back = path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"
    for known in LANGUAGES:
        if known == visit.request.path_params["language"]:
            return visit.speak(known, RedirectResponse(back, 303))
    raise HTTPException(404, visit.say("there is no such page"))


def requests(visit: Visit) -> Response:
    """List what waits; ``/requests/list`` is the list alone, which the page asks for again and again."""
    waiting = [
        {
            "digest": each.digest.hex(),
            "policy": each.policy,
            "received": moment(each.received),
            "recipient": each.request.recipient,
        }
        for each in visit.console.desk.waiting()
    ]
    template = "_waiting.html" if visit.request.url.path.endswith("/list") else "requests.html"
    return visit.page(template, {"waiting": waiting})


def request(visit: Visit) -> Response:
    """Show one request."""
    return _request(visit, None)


def approve(visit: Visit) -> Response:
    """Sign an approval."""
    try:
        runs, expires = _runs(visit), _expires(visit)
        officer = _officer(visit)
    except _FormError as error:
        return _request(visit, error)
    _require_open(visit)
    signed = visit.console.desk.approve(_digest(visit), officer, runs=runs, expires=expires)
    return _decided(visit, "approve", signed.digest)


def refuse(visit: Visit) -> Response:
    """Sign a refusal."""
    try:
        reason = _reason(visit)
        officer = _officer(visit)
    except _FormError as error:
        return _request(visit, error)
    _require_open(visit)
    signed = visit.console.desk.refuse(_digest(visit), officer, reason=reason)
    return _decided(visit, "refuse", signed.digest)


def decisions(visit: Visit) -> Response:
    """List what was decided."""
    rows = [
        {
            "digest": held.signed.digest.hex(),
            "decision": held.decision,
            "state": held.state,
            "said": state_of(held, visit.say),
            "decided": moment(held.decision.decided),
            "left": max((held.decision.runs or 0) - held.used, 0),
            "expires": None if held.decision.expires is None else moment(held.decision.expires),
        }
        for held in visit.console.desk.decisions()
    ]
    return visit.page("decisions.html", {"decisions": rows})


def decision(visit: Visit) -> Response:
    """Show one decision."""
    return _decision(visit, None)


def revoke(visit: Visit) -> Response:
    """Sign a revocation."""
    try:
        reason = _reason(visit)
        officer = _officer(visit)
    except _FormError as error:
        return _decision(visit, error)
    signed = visit.console.desk.revoke(_digest(visit), officer, reason=reason)
    return _decided(visit, "revoke", signed.digest)


def budgets(visit: Visit) -> Response:
    """Show what the budgets have lost."""
    return visit.page("budgets.html", {"budgets": shown_budgets(visit.console.desk.budgets(), visit.say)})


@dataclass
class _FormError(Exception):
    """What is wrong with a form, in the officer's language, and which of the page's forms it is."""

    said: str
    form: str


def _is_open(visit: Visit) -> bool:
    return any(waiting.digest == _digest(visit) for waiting in visit.console.desk.waiting())


def _require_open(visit: Visit) -> None:
    # A form that is sent twice must not sign twice: each approval has runs of its own.
    if not _is_open(visit):
        raise HTTPException(409, visit.say("this request is decided already: look at the decisions"))


def _request(visit: Visit, error: _FormError | None) -> Response:
    waiting = visit.console.desk.waiting_for(_digest(visit))
    shown = {
        "digest": waiting.digest.hex(),
        "is_open": _is_open(visit),
        "error": error,
        "form": visit.form,
        "expires": (datetime.now(UTC).date() + timedelta(days=_USUAL_DAYS)).isoformat(),
        "most_runs": _MOST_RUNS,
        "longest_reason": LONGEST_REASON,
        "has_key": visit.console.officer_key is not None,
    }
    if visit.htmx:
        return visit.page("_decide.html", shown)
    asked = shown_request(visit.console.desk, waiting, visit.say)
    return visit.page("request.html", {"asked": asked, **shown}, _status(error))


def _decision(visit: Visit, error: _FormError | None) -> Response:
    held = _held(visit)
    shown = {
        "held": held,
        "digest": held.signed.digest.hex(),
        "said": state_of(held, visit.say),
        "decided": moment(held.decision.decided),
        "expires": None if held.decision.expires is None else moment(held.decision.expires),
        "error": error,
        "form": visit.form,
        "longest_reason": LONGEST_REASON,
    }
    if visit.htmx:
        return visit.page("_revoke.html", shown)
    return visit.page("decision.html", shown, _status(error))


def _status(error: _FormError | None) -> int:
    return 200 if error is None else 422


def _held(visit: Visit) -> Held:
    digest = _digest(visit)
    for held in visit.console.desk.decisions():
        if held.signed.digest == digest:
            return held
    raise HTTPException(404, visit.say("there is no such page"))


def _decided(visit: Visit, kind: str, digest: bytes) -> Response:
    name = visit.session.name if visit.session is not None else ""
    _log.info("decision signed", kind=kind, account=name, decision=digest.hex())
    return visit.go_to(f"/decisions/{digest.hex()}")


def _digest(visit: Visit) -> bytes:
    try:
        return bytes.fromhex(visit.request.path_params["digest"])
    except ValueError:
        raise HTTPException(404, visit.say("there is no such page")) from None


def _form(visit: Visit) -> str:
    return visit.request.url.path.rpartition("/")[2]


def _runs(visit: Visit) -> int:
    text = visit.form.get("runs", "").strip()
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST_RUNS:
        raise _FormError(
            visit.say("Give the number of runs, from 1 to {most}.", most=_MOST_RUNS), _form(visit)
        )
    return int(text)


def _expires(visit: Visit) -> datetime:
    """The end of the day that the officer gave."""
    try:
        day = date.fromisoformat(visit.form.get("expires", "").strip())
    except ValueError:
        raise _FormError(visit.say("Give the last day as 2026-12-31, say."), _form(visit)) from None
    end = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
    if end <= datetime.now(UTC):
        raise _FormError(visit.say("The last day has passed already."), _form(visit))
    return end


def _reason(visit: Visit) -> str:
    reason = visit.form.get("reason", "").strip()
    if not 1 <= len(reason) <= LONGEST_REASON:
        raise _FormError(
            visit.say("Give a reason of at most {most} characters.", most=LONGEST_REASON), _form(visit)
        )
    return reason


def _officer(visit: Visit) -> IdentityKey:
    """Open the officer's key for this one decision; ``by`` of the route has held the account against its role."""
    console, say, session, key_file = visit.console, visit.say, visit.session, visit.console.officer_key
    if session is None or key_file is None:
        raise HTTPException(403)
    key = ("passphrase", session.name)
    if not console.attempts.begin({key: _FAILURES}):
        raise HTTPException(429, say("too many attempts: wait a quarter of an hour"))
    try:
        with console.one_key_at_a_time:
            secret = read_secret(key_file, "officer", Passphrase(visit.form.get("passphrase", "")))
    except (KeyFileError, SettingsError):
        _log.warning("the officer's key did not open", account=session.name)
        raise _FormError(say("The passphrase does not open the officer's key."), _form(visit)) from None
    console.attempts.succeeded(key)
    return IdentityKey.from_bytes(secret)
