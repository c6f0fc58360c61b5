"""The officer's page in a real browser, over HTTPS: read in both languages, approved, refused; nothing inline runs."""

import shutil
import ssl
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from console_world import NEWER, PASSPHRASE, PASSWORD, POLICY, SIMILAR, World
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from playwright.sync_api import expect, sync_playwright

from veilmatch_node.config import ConsoleSettings
from veilmatch_node.console.server import serving
from veilmatch_transport import SettingsError

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",  # CI is root in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def certificate(folder):
    """A certificate of this machine's own, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "page.pem", folder / "page.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    return paths


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The page of a department with an approved policy, served over HTTPS: the department, and the address."""
    folder = tmp_path_factory.mktemp("page")
    world = World(folder)
    world.lock_officer_key()
    chain, key = certificate(folder)
    settings = ConsoleSettings(
        listen="127.0.0.1:0",
        certificate=chain,
        key=key,
        hosts=("page.tax.example",),
        accounts=folder / "accounts.toml",
        officer_key=world.officer_key,
    )
    with serving(settings, world.desk) as port:
        yield world, f"https://localhost:{port}"
    world.close()


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Visitor:
    """A page with all that its browser complained of."""

    def __init__(self, browser, base, **settings):
        self.base = base
        self.context = browser.new_context(ignore_https_errors=True, base_url=base, **settings)
        self.complaints = []
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("requestfailed", lambda request: self.complaints.append(request.url))

    def log_in(self):
        self.page.goto("/")
        self.page.get_by_label("Name").fill("li")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        expect(self.page).to_have_url(f"{self.base}/requests")
        return self.page


def test_an_officer_reads_in_both_languages_and_decides(served, chromium):
    world, base = served
    [first] = world.ask(POLICY)
    world.approve(first)
    [newer], [similar] = world.ask(NEWER), world.ask(SIMILAR)
    visitor = Visitor(chromium, base, locale="en-GB")
    page = visitor.log_in()
    page.get_by_role("row", name="top-up, version 2").get_by_role("link").click()
    expect(page).to_have_title("Income supplement for <script>alert(1)</script> pensioners · Tax bureau")
    expect(page.get_by_role("heading", name="What changed since you last approved it")).to_be_visible()
    expect(page.locator("ins", has_text="age >= 60 AND alive").first).to_be_visible()
    bar = page.get_by_role("img", name="0 of 3 used; this job takes 1, then 2 are left")
    whole, taken = (bar.locator(f"rect.{each}").bounding_box()["width"] for each in ("limit", "taken"))
    assert taken == pytest.approx(whole / 3, rel=0.01)

    page.get_by_role("link", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(page.get_by_role("heading", name="各方可获知的信息")).to_be_visible()
    expect(page.get_by_text("每人一个“是/否”（low-wage").first).to_be_visible()
    assert page.url.endswith(f"/requests/{newer}")
    page.get_by_role("link", name="English").click()

    # A wrong passphrase: htmx changes the form only, and what was typed elsewhere stays.
    page.get_by_text("The policy's file").click()
    approve = page.locator("form", has=page.get_by_role("heading", name="Approve"))
    approve.get_by_label("Number of jobs allowed").fill("3")
    approve.get_by_label("Passphrase").fill("another")
    approve.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_have_text("The passphrase does not open the officer's key.")
    expect(page.locator("pre", has_text="policy: top-up").last).to_be_visible()
    expect(approve.get_by_label("Number of jobs allowed")).to_have_value("3")
    approve.get_by_label("Passphrase").fill(PASSPHRASE)
    approve.get_by_role("button").click()
    expect(page.get_by_role("heading", name="top-up, version 2")).to_be_visible()
    assert world.desk.decisions()[0].decision.runs == 3

    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Decisions").click()
    expect(page.get_by_role("row", name="top-up version 2")).to_contain_text("in force")
    page.goto(f"/requests/{similar}")
    expect(page.get_by_role("heading", name="Careful")).to_be_visible()
    refuse = page.locator("form", has=page.get_by_role("heading", name="Refuse"))
    refuse.get_by_label("Reason").fill("gives one condition away")
    refuse.get_by_label("Passphrase").fill(PASSPHRASE)
    refuse.get_by_role("button").click()
    expect(page.get_by_text("gives one condition away")).to_be_visible()
    assert visitor.complaints == []

    # The list is asked for again by itself; what came since is there.
    page.goto("/requests")
    expect(page.get_by_text("Nothing waits for a decision.")).to_be_visible()
    world.ask(POLICY.replace("policy: top-up", "policy: newcomer").replace("< :line", "< 9"))
    page.evaluate("htmx.trigger('#waiting', 'every')")
    expect(page.get_by_role("row", name="newcomer")).to_be_visible()
    # And the policy of the page itself refuses what an author might have brought in.
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(1)><p style=color:red>')"
    )
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'alert(2)'}))")
    page.wait_for_function("performance.now() > 0")
    refused = [said for said in visitor.complaints if "Content Security Policy" in said]
    assert len(refused) >= 3
    assert not {"1", "2"} & set(visitor.complaints)
    visitor.context.close()


def test_everything_works_without_scripts(served, chromium):
    world, base = served
    [digest] = world.ask(POLICY.replace("policy: top-up", "policy: unscripted").replace("< :line", "< 7"))
    visitor = Visitor(chromium, base, locale="en-GB", java_script_enabled=False)
    page = visitor.log_in()
    page.goto(f"/requests/{digest}")
    refuse = page.locator("form", has=page.get_by_role("heading", name="Refuse"))
    refuse.get_by_label("Reason").fill("no scripts")
    refuse.get_by_label("Passphrase").fill("another")
    refuse.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_have_text("The passphrase does not open the officer's key.")
    expect(refuse.get_by_label("Reason")).to_have_value("no scripts")
    refuse.get_by_label("Passphrase").fill(PASSPHRASE)
    refuse.get_by_role("button").click()
    expect(page.get_by_text("no scripts")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    visitor.context.close()


def test_the_server_speaks_https_only_and_says_little(served):
    _, base = served
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with httpx2.Client(verify=trusting) as client:
        answer = client.get(f"{base}/login")
        assert answer.status_code == 200
        assert "server" not in answer.headers
        long = client.get(f"{base}/login", headers={"X-Long": "x" * 1_000_000})
        assert long.status_code == 400
    with httpx2.Client() as client, pytest.raises(httpx2.RemoteProtocolError):
        client.get(base.replace("https", "http"))


def test_the_page_is_served_under_its_own_names_only(served):
    _, base = served
    port = base.rpartition(":")[2]
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with httpx2.Client(verify=trusting) as client:

        def asked_for(host):
            return client.get(f"{base}/login", headers={"Host": host})

        own = ("localhost", "LOCALHOST", "127.0.0.1", "[::1]", "page.tax.example")
        for host in (*own, *(f"{name}:{port}" for name in own)):
            assert asked_for(host).status_code == 200, host
        others = ("evil.example", "localhost.evil.example", "evil.page.tax.example", "10.0.0.1", "::1")
        for host in ("", *others, *(f"{name}:{port}" for name in others)):
            answer = asked_for(host)
            assert answer.status_code == 421, host
            assert "console.hosts" in answer.text


def refused(settings, desk):
    with pytest.raises(SettingsError) as error, serving(settings, desk):
        pass
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_be_served_is_refused_at_the_start(served, tmp_path):
    world, base = served
    accounts, key = tmp_path / "accounts.toml", tmp_path / "officer.key"
    local = {"listen": "127.0.0.1:0", "accounts": accounts}
    taken = base.rpartition(":")[2]
    assert "cannot listen on" in refused(
        ConsoleSettings(**{**local, "listen": f"127.0.0.1:{taken}"}), world.desk
    )
    key.write_text("00" * 32)
    key.chmod(0o600)
    assert "is not encrypted" in refused(ConsoleSettings(**local, officer_key=key), world.desk)
    key.chmod(0o644)
    assert "others can read" in refused(ConsoleSettings(**local, officer_key=key), world.desk)
    assert "cannot be read" in refused(ConsoleSettings(**local, officer_key=tmp_path / "none"), world.desk)
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("no PEM")
    broken = ConsoleSettings(**local, certificate=tmp_path / "c.pem", key=tmp_path / "k.pem")
    assert "one of them is no PEM file" in refused(broken, world.desk)
    accounts.write_text("[")
    accounts.chmod(0o600)
    assert "is not a file of accounts" in refused(ConsoleSettings(**local), world.desk)
