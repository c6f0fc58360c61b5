"""The officer's page without a browser: who gets in, forms, headers, escaping, decisions, refusals."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from console_world import HOUSEHOLDS, NEWER, PASSPHRASE, PASSWORD, POLICY, SIMILAR, Browser, form_token, world
from starlette.testclient import TestClient

from veilmatch_crypto import IdentityKey, Passphrase
from veilmatch_node.console import pages
from veilmatch_node.console.guard import MOST_BYTES
from veilmatch_node.console.sessions import IDLE_SECONDS
from veilmatch_transport import SettingsError

LATER = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()


@pytest.fixture
def desk(tmp_path):
    with world(tmp_path) as made:
        yield made


@pytest.fixture
def opened(desk, monkeypatch):
    """The officer's key opens with its passphrase at no cost: scrypt has its own tests."""

    def read_secret(_path, use, unlock):
        if unlock._passphrase != Passphrase(PASSPHRASE)._passphrase:
            raise SettingsError("officer.key: does not open")
        assert use == "officer"
        return desk.officers["tax"].to_bytes()

    monkeypatch.setattr(pages, "read_secret", read_secret)
    return desk


def one_line(answer, status):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "\n" not in answer.text
    assert answer.text
    return answer.text


# Who gets in.


@pytest.mark.parametrize(
    "path", ["/requests", "/requests/list", f"/requests/{'0' * 64}", "/decisions", "/budgets"]
)
def test_without_a_session_there_is_only_the_login(desk, path):
    browser = Browser(desk.app())
    answer = browser.get(path)
    assert (answer.status_code, answer.headers["location"], answer.text) == (303, "/login", "")
    assert browser.get(path, **{"HX-Request": "true"}).headers["hx-redirect"] == "/login"


def test_login_and_logout(desk):
    app = desk.app()
    browser = Browser(app)
    before = browser.get("/login").cookies["session"]
    browser.log_in()
    cookie = browser.client.cookies["session"]
    assert cookie != before  # a token that somebody planted is worth nothing
    assert "Waiting requests" in browser.get("/requests").text
    assert browser.get("/login").headers["location"] == "/requests"
    assert browser.post("/logout").headers["location"] == "/login"
    assert browser.get("/requests").status_code == 303
    assert reused(app, cookie).status_code == 303
    # Nor does a session live on that somebody else logged in over.
    browser.log_in()
    cookie = browser.client.cookies["session"]
    browser.log_in("wang")
    assert "wang (reader)" in browser.get("/requests").text
    assert reused(app, cookie).status_code == 303


def reused(app, cookie):
    thief = Browser(app)
    thief.client.cookies.set("session", cookie)
    return thief.get("/requests")


@pytest.mark.parametrize(("name", "password"), [("li", "wrong password"), ("nobody", PASSWORD), ("", "")])
def test_a_wrong_login(desk, name, password):
    answer = Browser(desk.app()).post("/login", name=name, password=password)
    assert answer.status_code == 401
    assert "Name or password is not right." in answer.text
    assert password not in answer.text or not password


def test_attempts_to_log_in_are_limited_by_name_and_address(desk):
    app = desk.app()
    browser = Browser(app)
    for _ in range(5):
        assert browser.post("/login", name="li", password="wrong password").status_code == 401
    assert "too many attempts" in one_line(browser.post("/login", name="li", password=PASSWORD), 429)
    # A name that does not exist is no different.
    for _ in range(5):
        assert browser.post("/login", name="nobody", password=PASSWORD).status_code == 401
    one_line(browser.post("/login", name="nobody", password=PASSWORD), 429)
    # Another name still gets in, until the address has failed too often.
    Browser(app).log_in("wang")
    for number in range(10):
        browser.post("/login", name=f"other{number}", password=PASSWORD)
    one_line(Browser(app).post("/login", name="wang", password=PASSWORD), 429)


def test_attempts_to_log_in_are_limited_by_name_over_all_addresses(desk):
    app = desk.app()

    def at(address):
        browser = Browser(app)
        browser.client = TestClient(
            app, base_url="http://testserver", follow_redirects=False, client=(address, 1)
        )
        return browser

    for number in range(4):
        guessing = at(f"10.0.0.{number}")
        for _ in range(5):
            assert guessing.post("/login", name="li", password="wrong password").status_code == 401
        # Until it has had too many, an officer elsewhere gets in, which gives nobody further guesses.
        if number < 3:
            at("10.0.1.1").log_in()
    one_line(at("10.0.1.1").post("/login", name="li", password=PASSWORD), 429)
    at("10.0.1.1").log_in("wang")


def at_once(many, do):
    """The statuses of as many answers to requests that begin together."""
    begin = threading.Barrier(many)

    def one(_):
        begin.wait()
        return do().status_code

    with ThreadPoolExecutor(many) as threads:
        return sorted(threads.map(one, range(many)))


class Slow:
    """A function that takes its time, and how often it was called, and at most at once."""

    def __init__(self, function):
        self.function = function
        self.calls = self.now = self.most_at_once = 0
        self.guard = threading.Lock()

    def __call__(self, *arguments):
        with self.guard:
            self.calls += 1
            self.now += 1
            self.most_at_once = max(self.most_at_once, self.now)
        time.sleep(0.1)
        with self.guard:
            self.now -= 1
        return self.function(*arguments)


def test_guesses_that_come_at_once_are_limited_too(desk, monkeypatch):
    slow = Slow(desk.accounts.check)
    monkeypatch.setattr(desk.accounts, "check", slow)
    browser = Browser(desk.app())
    token = form_token(browser.get("/login").text)
    statuses = at_once(12, lambda: browser.post("/login", token=token, name="li", password="wrong password"))
    assert (statuses, slow.calls) == ([401] * 5 + [429] * 7, 5)


def test_only_a_form_logs_in(desk):
    browser = Browser(desk.app())
    cross_site = {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}
    for _ in range(21):
        assert browser.client.head("/login", headers=cross_site).status_code == 200
    browser.log_in()
    assert browser.client.head("/login").headers["location"] == "/requests"


def test_a_session_ends_with_idleness_but_not_for_the_page_itself(desk):
    browser = Browser(desk.app()).log_in()
    desk.now += IDLE_SECONDS - 1
    assert browser.get("/requests/list", **{"HX-Request": "true"}).status_code == 200
    desk.now += 2
    assert browser.get("/requests/list", **{"HX-Request": "true"}).headers["hx-redirect"] == "/login"
    assert browser.get("/requests").status_code == 303


def test_an_account_that_is_taken_out_or_changed_is_out_at_once(desk):
    app = desk.app()
    officer, reader = Browser(app).log_in(), Browser(app).log_in("wang")
    desk.accounts.add("li", "another password", "officer")
    desk.accounts.remove("wang")
    assert officer.get("/requests").status_code == reader.get("/requests").status_code == 303


# Forms.


def test_a_form_needs_the_token_of_its_own_visitor(opened):
    app = opened.app()
    [digest] = opened.ask(POLICY)
    browser, other = Browser(app).log_in(), Browser(app).log_in("wang")
    token = form_token(browser.get("/budgets").text)
    said = {"runs": "1", "expires": LATER, "passphrase": PASSPHRASE}
    path = f"/requests/{digest}/approve"
    for wrong in ("", "x", "é", form_token(other.get("/budgets").text)):
        one_line(browser.client.post(path, data={"form_token": wrong, **said}), 403)
    one_line(browser.client.post(path, data=said), 403)
    # What htmx sends has it twice: no other site's form can set a header.
    for headers in ({}, {"X-Form-Token": "x"}):
        one_line(browser.post(path, headers={"HX-Request": "true", **headers}, **said), 403)
    assert opened.desk.decisions() == []
    assert (
        browser.post(path, headers={"HX-Request": "true", "X-Form-Token": token}, **said).status_code == 200
    )
    assert len(opened.desk.decisions()) == 1


def test_another_sites_form_is_refused_whatever_it_has(desk):
    browser = Browser(desk.app()).log_in()
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ):
        assert "another site" in one_line(browser.post("/logout", headers=headers), 403)
    ours = {"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver"}
    assert browser.post("/logout", headers=ours).status_code == 303


def test_what_is_too_large_or_no_form_is_refused(desk):
    browser = Browser(desk.app())
    too_large = "veilmatch: the request is too large"
    assert one_line(browser.post("/login", name="x" * MOST_BYTES), 413) == too_large
    pieces = (b"name=" + b"x" * 5000 for _ in range(10))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert one_line(browser.client.post("/login", content=pieces, headers=form), 413) == too_large
    one_line(browser.client.post("/login", json={"name": "li"}), 415)
    one_line(browser.client.post("/login", files={"name": b"li"}), 415)
    one_line(browser.client.post("/login", content="&".join(f"a{n}=1" for n in range(30)), headers=form), 400)
    one_line(browser.client.put("/login"), 405)
    one_line(browser.client.get("/nothing"), 404)
    one_line(browser.client.get("/static/../accounts.toml"), 404)


# Headers.


def test_headers(desk):
    browser = Browser(desk.app())
    for answer in (browser.get("/login"), browser.get("/nothing"), browser.post("/login", token="x")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "strict-transport-security" not in answer.headers


def test_cookies(desk):
    [cookie] = Browser(desk.app()).get("/login").headers.get_list("set-cookie")
    assert re.fullmatch(r"session=[\w-]{43}; HttpOnly; Path=/; SameSite=strict", cookie)
    secure = Browser(desk.app(secure=True), "https://testserver")
    answer = secure.get("/login")
    [cookie] = answer.headers.get_list("set-cookie")
    assert re.fullmatch(r"__Host-session=[\w-]{43}; HttpOnly; Path=/; SameSite=strict; Secure", cookie)
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    [cookie] = secure.get("/language/en").headers.get_list("set-cookie")
    assert cookie.startswith("language=en; HttpOnly; Max-Age=31536000; Path=/; SameSite=strict; Secure")


# Language.


def test_the_language_is_the_browsers_until_one_is_chosen(desk):
    browser = Browser(desk.app())
    assert '<html lang="en">' in browser.get("/login").text
    assert '<html lang="zh-Hans">' in browser.get("/login", **{"Accept-Language": "zh-CN,zh;q=0.9,en"}).text
    answer = browser.get("/language/zh-Hans?back=/login")
    assert answer.headers["location"] == "/login"
    assert "数据专员审批台" in browser.get("/login").text
    assert "用户名或密码不正确" in browser.post("/login", name="li", password="wrong password").text
    one_line(browser.get("/language/fr"), 404)


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "x"])
def test_the_way_back_stays_on_this_site(desk, back):
    assert Browser(desk.app()).get(f"/language/en?back={back}").headers["location"] == "/"


# What a request shows.


def shown(desk, digest, **settings):
    answer = Browser(desk.app(**settings)).log_in().get(f"/requests/{digest}")
    assert answer.status_code == 200
    return answer.text


def test_a_policy_cannot_write_into_the_page(desk):
    [digest] = desk.ask(POLICY)
    browser = Browser(desk.app()).log_in()
    for path in ("/requests", f"/requests/{digest}"):
        text = browser.get(path).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert "<script>alert" not in text


def test_a_request_in_words(desk):
    [digest] = desk.ask(POLICY)
    desk.decide_elsewhere(digest, "police", expires=datetime(2027, 1, 31, tzinfo=UTC), runs=3)
    text = shown(desk, digest)
    for line in (
        "code relief (Relief of hardship); Elderly Income Supplement Act, section 12",
        "line = 7200.50, approved from 6000 to 9000 (Decree 14)",
        "describes 2025-12-31, ",
        "one yes/no a person (low-wage: wage_year &lt; :line with line = 7200.50, approved from 6000 to 9000)",
        "encrypted under a key that social makes for this job",
        "possibly that police knows whoever fulfils all of it",
        "approved on 2026-01-05, until 2027-01-31, for 3 jobs",
        "no decision is known here",
        "You have not approved a policy of this name before.",
        "pension_month = 812.55",
        "not eligible",
        "0 of 3 used; this job takes 1, then 2 are left",
        "0 of 12 used; this job takes 1, then 11 are left",
        "conditions:\n  pensioner:\n    department: police",
    ):
        assert line in text, line
    assert "Careful" not in text


def test_the_difference_from_what_was_approved(desk):
    [first] = desk.ask(POLICY)
    desk.approve(first)
    [newer] = desk.ask(NEWER)
    text = shown(desk, newer)
    assert "You approved a policy of this name on " in text
    assert "<del>department: police\nwhere: age &gt;= 65 AND alive</del>" in text
    assert "<ins>department: police\nwhere: age &gt;= 60 AND alive</ins>" in text
    assert '<span class="added">+    where: &#34;age &gt;= 60 AND alive&#34;' in text


def test_an_approved_policy_that_differs_in_one_condition_is_warned_of(desk):
    [first] = desk.ask(POLICY)
    desk.approve(first)
    [similar] = desk.ask(SIMILAR)
    text = shown(desk, similar)
    assert "Careful: you approved a policy that differs in one condition only" in text
    assert "<h3>top-up, version 1</h3>" in text


def test_a_job_of_several_policies_asks_for_each(desk):
    other = POLICY.replace("policy: top-up", "policy: other").replace("wage_year < :line", "wage_year < 5")
    first, second = desk.ask(POLICY, other)
    assert "low-wage: wage_year &lt; 5)" in shown(desk, second)
    assert "low-wage: wage_year &lt; 5)" not in shown(desk, first)
    # The job as a whole takes both runs.
    assert "0 of 3 used; this job takes 2, then 1 are left" in shown(desk, first)


def test_a_count_of_households(desk):
    [digest] = desk.ask(HOUSEHOLDS)
    text = shown(desk, digest)
    assert "0 of 10 used; this job takes 0.5, then 9.5 are left" in text
    assert "to the coordinator, how many are eligible; to the recipient nothing" in text
    assert "<dd>audit</dd>" in text


# Deciding.


def test_approve_see_and_revoke(opened):
    [digest] = opened.ask(POLICY)
    browser = Browser(opened.app()).log_in()
    answer = browser.post(f"/requests/{digest}/approve", runs="2", expires=LATER, passphrase=PASSPHRASE)
    [held] = opened.desk.decisions()
    assert answer.headers["location"] == f"/decisions/{held.signed.digest.hex()}"
    assert (held.decision.runs, held.decision.by) == (2, "officer")
    assert held.decision.expires == datetime.fromisoformat(f"{LATER}T23:59:59+00:00")
    assert "Nothing waits for a decision." in browser.get("/requests").text
    assert "2 of 2" in browser.get("/decisions").text
    page = browser.get(answer.headers["location"]).text
    assert "in force" in page
    one_line(browser.post(f"/requests/{digest}/approve", runs="2", expires=LATER, passphrase=PASSPHRASE), 409)
    answer = browser.post(
        f"/decisions/{held.signed.digest.hex()}/revoke", reason="the Act was repealed", passphrase=PASSPHRASE
    )
    newest, revoked = opened.desk.decisions()
    assert (newest.decision.reason, revoked.state) == ("the Act was repealed", "revoked")
    assert "the Act was repealed" in browser.get(answer.headers["location"]).text


def test_refuse(opened):
    [digest] = opened.ask(POLICY)
    browser = Browser(opened.app()).log_in()
    browser.post(f"/requests/{digest}/refuse", reason=" too broad ", passphrase=PASSPHRASE)
    [held] = opened.desk.decisions()
    assert (held.decision.kind, held.decision.reason, held.state) == ("refuse", "too broad", "refused")
    assert "This request is decided" in browser.get(f"/requests/{digest}").text


@pytest.mark.parametrize(
    ("decision", "said", "form"),
    [
        ("approve", "Give the number of runs", {"runs": "0"}),
        ("approve", "Give the number of runs", {"runs": "1001"}),
        ("approve", "Give the number of runs", {"runs": "²"}),
        ("approve", "Give the last day", {"expires": "tomorrow"}),
        ("approve", "The last day has passed already.", {"expires": "2020-01-01"}),
        ("approve", "The passphrase does not open", {"passphrase": "another"}),
        ("approve", "The passphrase does not open", {"passphrase": ""}),
        ("refuse", "Give a reason", {"reason": "  "}),
        ("refuse", "Give a reason", {"reason": "x" * 1001}),
        ("refuse", "The passphrase does not open", {"passphrase": "another"}),
    ],
)
def test_a_form_that_is_wrong_signs_nothing_and_says_why(opened, decision, said, form):
    [digest] = opened.ask(POLICY)
    browser = Browser(opened.app()).log_in()
    whole = {"runs": "1", "expires": LATER, "reason": "because", "passphrase": PASSPHRASE, **form}
    path = f"/requests/{digest}/{decision}"
    answer = browser.post(path, **whole)
    assert answer.status_code == 422
    assert said in answer.text
    assert "Who learns what" in answer.text  # the whole page is there again, without the passphrase
    assert whole["passphrase"] not in answer.text or not whole["passphrase"]
    headers = {"HX-Request": "true", "X-Form-Token": form_token(answer.text)}
    part = browser.post(path, headers=headers, **whole)
    assert (part.status_code, part.text.startswith("<section")) == (200, True)
    assert said in part.text
    assert opened.desk.decisions() == []


def test_a_revocation_needs_a_reason(opened):
    [digest] = opened.ask(POLICY)
    held = opened.approve(digest)
    path = f"/decisions/{held.digest.hex()}/revoke"
    answer = Browser(opened.app()).log_in().post(path, reason="", passphrase=PASSPHRASE)
    assert answer.status_code == 422
    assert "Give a reason" in answer.text
    assert len(opened.desk.decisions()) == 1


def test_guesses_of_the_passphrase_are_limited(opened):
    [digest] = opened.ask(POLICY)
    browser = Browser(opened.app()).log_in()
    said = {"runs": "1", "expires": LATER}
    for _ in range(5):
        assert browser.post(f"/requests/{digest}/approve", **said, passphrase="another").status_code == 422
    one_line(browser.post(f"/requests/{digest}/approve", **said, passphrase=PASSPHRASE), 429)
    assert opened.desk.decisions() == []


def test_guesses_of_the_passphrase_that_come_at_once_are_limited_and_made_one_by_one(opened, monkeypatch):
    slow = Slow(pages.read_secret)
    monkeypatch.setattr(pages, "read_secret", slow)
    [digest] = opened.ask(POLICY)
    browser = Browser(opened.app()).log_in()
    token = form_token(browser.get("/budgets").text)
    form = {"runs": "1", "expires": LATER, "passphrase": "another"}
    statuses = at_once(8, lambda: browser.post(f"/requests/{digest}/approve", token=token, **form))
    assert (statuses, slow.calls) == ([422] * 5 + [429] * 3, 5)
    assert slow.most_at_once == 1  # each takes the memory of a scrypt


def test_a_reader_and_a_node_without_the_key_decide_nothing(opened):
    [digest] = opened.ask(POLICY)
    held = opened.approve(opened.ask(NEWER)[0])
    reader = Browser(opened.app()).log_in("wang")
    officer = Browser(opened.app(with_key=False)).log_in()
    said = {"runs": "1", "expires": LATER, "reason": "because", "passphrase": PASSPHRASE}
    for browser, why in ((reader, "Your account may read"), (officer, "is not kept at this node")):
        page = browser.get(f"/requests/{digest}").text
        assert why in page
        assert 'type="password"' not in page
        assert "Revoke" not in browser.get(f"/decisions/{held.digest.hex()}").text
        for path in (
            f"/requests/{digest}/approve",
            f"/requests/{digest}/refuse",
            f"/decisions/{held.digest.hex()}/revoke",
        ):
            one_line(browser.post(path, **said), 403)
    assert len(opened.desk.decisions()) == 1


def test_another_officers_key_signs_nothing(opened, monkeypatch):
    monkeypatch.setattr(pages, "read_secret", lambda *_: IdentityKey.generate().to_bytes())
    [digest] = opened.ask(POLICY)
    answer = (
        Browser(opened.app())
        .log_in()
        .post(f"/requests/{digest}/approve", runs="1", expires=LATER, passphrase=PASSPHRASE)
    )
    assert "another key than the officer's of tax" in one_line(answer, 409)
    assert opened.desk.decisions() == []


def test_what_does_not_exist_and_what_fails_is_one_line(desk, monkeypatch):
    browser = Browser(desk.app()).log_in()
    one_line(browser.get(f"/requests/{'0' * 64}"), 409)
    one_line(browser.get("/requests/nothing"), 404)
    one_line(browser.get(f"/decisions/{'0' * 64}"), 404)
    monkeypatch.setattr(desk.desk, "waiting", lambda: 1 / 0)
    assert one_line(browser.get("/requests"), 500) == "this page failed: the node's log says more"
