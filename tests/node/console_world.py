"""The officer's page of the tax department over a real desk, store and log, for the tests of the console."""

from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from policy.policy_world import REFERENCE_DATE, TAX, catalogs, changed
from starlette.testclient import TestClient

from veilmatch_crypto import AgreementKey, IdentityKey, Passphrase, Vault
from veilmatch_evidence.log import EvidenceLog
from veilmatch_node.console.accounts import Accounts, Hashing
from veilmatch_node.console.app import console_app
from veilmatch_node.console.sessions import Sessions
from veilmatch_node.console.visit import Console
from veilmatch_node.desk import Desk
from veilmatch_node.errors import ApprovalNeededError
from veilmatch_node.rights import Rights, Rules
from veilmatch_node.store import NodeStore
from veilmatch_policy.approvals import Decision, Request, new_name, sign_decision
from veilmatch_policy.check import bind_questions, declare, declared_by
from veilmatch_policy.directory import Member, encode_directory, open_directory, signed_bytes
from veilmatch_policy.epoch import Epoch, reopen_epoch
from veilmatch_policy.manifest import Draft, entries_of, reopen_draft
from veilmatch_policy.planning import derive_plan
from veilmatch_policy.policy import parse_policy
from veilmatch_policy.questions import ask

HERE = "tax"
PASSPHRASE = "a passphrase of the officer"
PASSWORD = "a password of twelve and more"
CHEAP = Hashing(n=2)  # tests do not wait for scrypt

POLICY = """\
policy: top-up
version: 1
title: Income supplement for <script>alert(1)</script> pensioners
purpose: {code: relief, law: "Elderly Income Supplement Act, section 12"}
reference_date: 2025-12-31
recipient: social
among: "pension_month > 0"
among_at_most: 50000
parameters: {line: {value: 7200.50, allow: [6000, 9000], law: Decree 14}}
conditions:
  pensioner:
    department: police
    where: "age >= 65 AND alive"
  low-wage:
    department: tax
    where: "wage_year < :line"
examples:
  - {given: {police: {age: 70}, tax: {wage_year: 0}, social: {pension_month: 812.55}}, expect: eligible}
  - {given: {police: {age: 70}, tax: {wage_year: 7201}}, expect: not eligible}
"""
NEWER = changed(changed(POLICY, "version: 1", "version: 2"), "age >= 65 AND alive", "age >= 60 AND alive")
# Of one condition less: approved together with the policy, it gives that condition's answers away.
SIMILAR = changed(
    changed(POLICY, "policy: top-up", "policy: like-it"),
    '  pensioner:\n    department: police\n    where: "age >= 65 AND alive"\n',
    '  pensioner:\n    department: police\n    where: "age >= 66 AND alive"\n',
)
HOUSEHOLDS = """\
policy: households
recipient: social
unit: household
household: {department: police, column: household_id}
conditions:
  old: {department: police, where: "max(age) >= 65"}
  low: {total: {tax: "wage_year", police: "age"}, below: 9000}
reveal: count
epsilon: 0.5
dealer: audit
"""


class World:
    """The tax department's desk, and its page's parts, in one folder."""

    def __init__(self, folder, catalog=TAX):
        self.folder = folder
        self.officers = {name: IdentityKey.generate() for name in ("tax", "police", "social", "audit")}
        self.root = IdentityKey.generate()
        self.catalogs = catalogs(tax=catalog)
        members = {name: self._member("node", officer.public) for name, officer in self.officers.items()}
        members["office"] = self._member("coordinator", None)
        data = encode_directory(
            "example", 1, ("police", "tax"), members, {"relief": "Relief of hardship"}, dealers=("audit",)
        )
        signature = self.root.sign(signed_bytes(data))
        self.directory = open_directory(data, signature, self.root.public)
        self.store = NodeStore(folder / "store.sqlite", Vault(bytes(32)))
        self.log = EvidenceLog(folder / "log.jsonl", HERE, IdentityKey.generate())
        parts = {
            "catalog": self.catalogs[HERE],
            "directory": self.directory,
            "store": self.store.desk,
            "log": self.log,
            "rules": Rules(),
        }
        self.desk = Desk(HERE, **parts)
        self.rights = Rights(HERE, **parts)
        self.officer_key = folder / "officer.key"
        self.accounts = Accounts(folder / "accounts.toml", CHEAP)
        self.accounts.add("li", PASSWORD, "officer")
        self.accounts.add("wang", PASSWORD, "reader")
        self.now = 0.0

    def close(self):
        self.log.close()
        self.store.close()

    def ask(self, *texts):
        """A job's policies reach the department; the requests' hashes, in the order of the policies."""
        policies = [parse_policy(text.encode(), "policy") for text in texts]
        declarations, tasks = declared_by(policies, self.catalogs, REFERENCE_DATE, self.directory.may_deal)
        questions = ask(policies, REFERENCE_DATE)
        plan = derive_plan(
            policies, declarations, reference_date=REFERENCE_DATE, dealers=self.directory.may_deal
        )
        epoch = Epoch(
            epoch="ab" * 16,
            federation="example",
            directory=self.directory.digest.hex(),
            linkage="oprf",
            slots="union",
            register=None,
            reference_date=REFERENCE_DATE,
            nodes=self.directory.nodes,
            trustees=self.directory.trustees,
        )
        opened = reopen_epoch(epoch.encode())
        draft = Draft(
            job="cd" * 16,
            federation="example",
            directory=self.directory.digest.hex(),
            epoch=opened.context.hex(),
            linkage="oprf",
            padded=1024,
            policies=texts,
            declarations=tuple(
                declare(policies, questions, tasks[name], self.catalogs[name]) for name in sorted(tasks)
            ),
            reference_date=REFERENCE_DATE,
            recipient=plan.recipient,
            recipient_rows=10,
            registrar=plan.registrar,
            dealer=plan.dealer,
            participants=plan.participants,
            outcomes=entries_of(plan),
            key_bits=2048,
            chunk_ciphertexts=1,
            expires=datetime.now(UTC) + timedelta(hours=1),
        )
        drafted = draft.encode()
        draft, plan = reopen_draft(drafted, self.directory, opened)
        task = bind_questions(policies, plan.questions, REFERENCE_DATE, self.catalogs[HERE])
        with suppress(ApprovalNeededError):
            self.rights.require(drafted, draft, plan, task, opened)
        digests = {waiting.policy.digest: waiting.digest.hex() for waiting in self.desk.waiting()}
        return [digests[policy.digest] for policy in policies]

    def decide_elsewhere(self, digest, name, kind="approve", **said):
        """What another department's officer decided about the same policy."""
        request = self.desk.waiting_for(bytes.fromhex(digest)).request
        own = Request(**{**request.model_dump(), "department": name, "catalog": "00" * 32})
        decision = Decision(
            kind=kind,
            name=new_name(),
            request=own,
            decided=datetime(2026, 1, 5, tzinfo=UTC),
            by="officer",
            **said,
        )
        self.store.desk.keep_other(sign_decision(decision, self.officers[name]))

    def approve(self, digest, runs=2, days=30):
        return self.desk.approve(
            bytes.fromhex(digest),
            self.officers[HERE],
            runs=runs,
            expires=datetime.now(UTC) + timedelta(days=days),
        )

    def lock_officer_key(self):
        """The officer's key file.  Slow: scrypt at full cost."""
        self.officer_key.write_text(Passphrase(PASSPHRASE).lock("officer", self.officers[HERE].to_bytes()))
        self.officer_key.chmod(0o600)

    def console(self, *, secure=False, with_key=True):
        key = self.officer_key if with_key else None
        return Console(self.desk, self.accounts, key, secure=secure, sessions=Sessions(lambda: self.now))

    def app(self, **settings):
        return console_app(self.console(**settings))

    @staticmethod
    def _member(role, officer):
        return Member(
            role=role,
            certificate="00" * 32,
            identity=IdentityKey.generate().public.hex(),
            sealing=AgreementKey.generate().public.hex() if role == "node" else None,
            officer=None if officer is None else officer.hex(),
        )


class Browser:
    """A browser without scripts: cookies, and the token of the last form that it saw."""

    def __init__(self, app, base="http://testserver"):
        self.client = TestClient(app, base_url=base, follow_redirects=False)

    def get(self, path, **headers):
        return self.client.get(path, headers=headers)

    def post(self, path, /, *, token=None, headers=None, **form):
        """Send a form, with the token of this browser's pages unless another is given."""
        if token is None:
            token = form_token(self.get("/budgets").text) or form_token(self.get("/login").text)
        return self.client.post(path, data={"form_token": token, **form}, headers=headers or {})

    def log_in(self, name="li", password=PASSWORD):
        answer = self.post("/login", name=name, password=password)
        assert (answer.status_code, answer.headers["location"]) == (303, "/requests"), answer.text
        return self


def form_token(page):
    marker = 'name="form_token" value="'
    return page.partition(marker)[2].partition('"')[0] if marker in page else ""


@contextmanager
def world(folder, **settings):
    made = World(folder, **settings)
    try:
        yield made
    finally:
        made.close()
