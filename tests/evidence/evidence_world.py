"""A federation that leaves evidence: real keys, directory, manifest, ciphertexts and logs, and nobody's data.

Four departments and an office run jobs over 60 slots: a linear policy that reveals members, and a count over
households, so that every kind of record and file occurs.  Each step passes through a *tweak* under a
name; a test that changes what passes has a party that does something else than the protocol says, signs it all the
same, and writes it into its log.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veilmatch_crypto import AgreementKey, IdentityKey, PublicKey, encrypt_chunk, generate, multiply_chunks
from veilmatch_evidence import actions
from veilmatch_evidence.errors import EvidenceRefusedError
from veilmatch_evidence.log import EvidenceLog
from veilmatch_evidence.package import (
    APPROVALS,
    DIGESTS,
    DIRECTORY,
    DIRECTORY_SIGNATURE,
    EPOCH,
    EPOCH_SIGNATURE,
    INDEX,
    INDEX_SIGNATURE,
    MANIFEST,
    REPORT,
    ROOT,
    PackageWriter,
    log_name,
    signed_index,
)
from veilmatch_evidence.records import Record
from veilmatch_evidence.verify import verify
from veilmatch_policy import canonical
from veilmatch_policy.approvals import (
    Decision,
    Request,
    SignedDecision,
    approved_content,
    new_name,
    request_of,
    sign_decision,
)
from veilmatch_policy.declarations import AmountEntry, DepartmentEntry, declarations_of
from veilmatch_policy.directory import Member, encode_directory, open_directory, signed_bytes
from veilmatch_policy.epoch import Epoch, open_epoch, signed_statement
from veilmatch_policy.manifest import (
    Draft,
    PartyKeys,
    encode_manifest,
    entries_of,
    signed_combined,
    signed_contribution,
    signed_keys,
)
from veilmatch_policy.planning import derive_plan
from veilmatch_policy.policy import parse_policy

OFFICE, RECIPIENT, REGISTRAR, DEALER = "office", "welfare", "housing", "zz-dealer"
NODES = (REGISTRAR, "tax", RECIPIENT, DEALER)
SLOTS = 60  # two ciphertexts of 40, each a chunk
DAY = date(2025, 12, 31)

AID = """policy: aid
version: 3
recipient: welfare
purpose: {code: aid}
conditions:
  low: {department: tax, where: income < 10}
  rented: {department: housing, where: rented = 1}
"""
COUNTED = """policy: counted
recipient: welfare
reveal: count
purpose: {law: article 5}
household: {department: housing, column: home}
conditions:
  poor: {total: {tax: income}, of: household, at_most: 100}
"""
_CATALOG = bytes(range(32))

Tweak = Callable[[str, Any], Any]


def honest(_name: str, value: Any) -> Any:
    """The tweak of parties that follow the protocol."""
    return value


def at(name: str, change: Callable[[Any], Any]) -> Tweak:
    """A tweak of one step."""
    return lambda step, value: change(value) if step == name else value


class World:
    """The federation; each run of a job goes on in the same logs."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.root = IdentityKey.generate()
        self.identities = {name: IdentityKey.generate() for name in (*NODES, OFFICE)}
        self.officers = {name: IdentityKey.generate() for name in NODES}
        self.federation = self._directory()
        self.signature = self.root.sign(signed_bytes(self.federation))
        self.directory = open_directory(self.federation, self.signature, self.root.public)
        self.epoch, self.epoch_signature = self._epoch()
        self.logs = {
            name: EvidenceLog(home / f"{name}.jsonl", name, identity)
            for name, identity in self.identities.items()
        }

    def run(
        self, out: Path, tweak: Tweak = honest, *, key: PublicKey | None = None, ended: bool = False
    ) -> Path:
        """Run a job; its evidence is at ``out / JOB``.  ``ended``: the last chunk never came to the recipient."""
        key = key or generate(2048).public
        policies = [parse_policy(source.encode(), "policy") for source in (AID, COUNTED)]
        declared = (
            DepartmentEntry(department="housing", household_at_most=4),
            DepartmentEntry(
                department="tax",
                amounts=(AmountEntry(question=2, scale=0, largest=100, optional=False),),
            ),
        )
        plan = derive_plan(
            policies,
            declarations_of(declared, policies, DAY),
            reference_date=DAY,
            dealers=self.directory.may_deal,
            register=None,
        )
        draft = Draft(
            job=IdentityKey.generate().public.hex()[:32],
            federation=self.directory.federation,
            directory=self.directory.digest.hex(),
            epoch=self.epoch.context.hex(),
            linkage="oprf",
            padded=SLOTS,
            policies=(AID, COUNTED),
            declarations=declared,
            reference_date=DAY,
            recipient=RECIPIENT,
            recipient_rows=50,
            registrar=REGISTRAR,
            dealer=DEALER,
            participants=plan.participants,
            outcomes=entries_of(plan),
            key_bits=2048,
            chunk_ciphertexts=1,
            expires=datetime.now(UTC).replace(microsecond=0) + timedelta(days=1),
        )
        drafted = draft.encode()
        keys = {name: self._keys(name, drafted, key.to_bytes()) for name in (*NODES, OFFICE)}
        data = encode_manifest(drafted, keys)
        manifest = hashlib.sha256(data).digest()
        names = {"job": draft.job, "manifest": manifest.hex()}
        package = PackageWriter(out / draft.job, draft.job)

        def write(party: str, action: actions.Action) -> None:
            self.logs[party].append(tweak(f"{party}: {action.action}", action))

        content = tuple(approved_content(policy).hex() for policy in policies)
        write(OFFICE, actions.Submitted(job=draft.job, operator="operator", content=content))
        write(OFFICE, actions.Drafted(job=draft.job, draft=hashlib.sha256(drafted).hexdigest()))
        decisions: list[SignedDecision] = []
        for party in NODES:
            decisions += self._decide(party, plan)
        decisions = tweak("decisions", decisions)
        write(OFFICE, actions.ManifestMade(**names, epoch=draft.epoch))
        for party in NODES:
            write(party, self._started(party, plan, names, draft, decisions))
        write(REGISTRAR, actions.ToldHouseholds(**names))
        for number in range(2):
            write(RECIPIENT, actions.Presented(**names, policy=number, people=40 + number))
        self._compute(package, plan, key, manifest, write, names, tweak, ended=ended)
        write(DEALER, actions.Dealt(**names, households=20, presented=(40, 41), sha256="0" * 64))
        if not ended:
            write(RECIPIENT, actions.Delivered(**names, policy="aid"))
            write(OFFICE, actions.Delivered(**names, policy="counted"))
        for party in NODES:
            write(party, self.logs[OFFICE].head().seen())
            write(OFFICE, self.logs[party].head().seen())
            write(party, actions.Closed(**names))
        write(OFFICE, actions.Closed(**names))

        package.put(DIRECTORY, self.federation)
        package.put(DIRECTORY_SIGNATURE, self.signature.hex().encode())
        package.put(ROOT, self.root.public.hex().encode())
        package.put(EPOCH, self.epoch.statement)
        package.put(EPOCH_SIGNATURE, self.epoch_signature.hex().encode())
        package.put(MANIFEST, data)
        package.put(APPROVALS, canonical.encode([entry_of(each) for each in decisions]))
        for party, log in self.logs.items():
            package.put(log_name(party), log.of_job(draft.job))
        if not ended:
            report = [
                {"manifest_sha256": manifest.hex(), "job": draft.job, "policy": policy.name, "seconds": 1.5}
                for policy in policies
            ]
            package.put(REPORT, json.dumps(report).encode())
        package.finish(self.identities[OFFICE], "federation", "ended" if ended else "complete")
        return out / draft.job

    def resign(self, package: Path, **changes: object) -> None:
        """Whoever holds the coordinator's key lists the files as they are now."""
        index = json.loads((package / INDEX).read_bytes())
        files = {
            path.relative_to(package).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in package.rglob("*")
            if path.is_file() and path.name not in {INDEX, INDEX_SIGNATURE}
        }
        data = canonical.encode({**index, "files": files, **changes})
        (package / INDEX).write_bytes(data)
        (package / INDEX_SIGNATURE).write_bytes(
            self.identities[OFFICE].sign(signed_index(data)).hex().encode()
        )

    def redigest(self, package: Path) -> None:
        """The list of digests says of the files what they are now; whoever signed them did not sign again."""
        digests = json.loads((package / DIGESTS).read_bytes())
        there = [each for each in digests if (package / each["file"]).exists()]
        for each in there:
            each["sha256"] = hashlib.sha256((package / each["file"]).read_bytes()).hexdigest()
        (package / DIGESTS).write_bytes(canonical.encode(there))

    def relog(self, package: Path, party: str, edit: Callable[[list[dict]], list[dict]]) -> None:
        """A party writes its log anew, with its own key: ``edit`` the bodies of its records.

        Records before the first change stay as they are, salt and all.
        """
        path = package / log_name(party)
        records = [Record.decode(line) for line in path.read_bytes().splitlines()]
        sequence, previous = records[0].sequence, bytes.fromhex(records[0].previous)
        lines = []
        for body in edit([dict(record.body) for record in records]):
            time = datetime.strptime(body["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            fields = {key: value for key, value in body.items() if key not in {"time", "salt"}}
            action = getattr(actions, "".join(word.title() for word in body["action"].split("-")))(**fields)
            kept = (each for each in records if each.previous == previous.hex() and each.body == body)
            record = next(kept, None) or Record.make(
                party, sequence, previous, action, self.identities[party], now=time
            )
            sequence, previous = sequence + 1, record.digest
            lines.append(record.encode() + b"\n")
        path.write_bytes(b"".join(lines))

    def redecide(
        self, package: Path, party: str, change: dict[str, Any], *, officer: IdentityKey | None = None
    ) -> None:
        """The officer of a department decided otherwise about "aid", and the department started by that."""
        entries = json.loads((package / APPROVALS).read_bytes())
        number = next(
            number
            for number, entry in enumerate(entries)
            if entry["department"] == party and '"policy":"aid"' in entry["statement"]
        )
        before = hashlib.sha256(entries[number]["statement"].encode()).hexdigest()
        stated = json.loads(entries[number]["statement"])
        request = Request.model_validate({**stated["request"], **change.pop("request", {})})
        decision = Decision.model_validate({**stated, **change, "request": request})
        signed = sign_decision(decision, officer or self.officers[party])
        entries[number] = entry_of(signed) | {"department": party}
        (package / APPROVALS).write_bytes(canonical.encode(entries))
        path = package / log_name(party)
        if before.encode() in path.read_bytes():
            after = signed.digest.hex()
            self.relog(
                package,
                party,
                lambda bodies: [json.loads(json.dumps(body).replace(before, after)) for body in bodies],
            )

    def _compute(self, package, plan, key, manifest, write, names, tweak, *, ended) -> None:
        places = [(outcome, chunk) for outcome in plan.outcomes for chunk in range(2)]
        for outcome, chunk in places:
            place = (outcome.index, chunk)
            where = {"outcome": outcome.index, "chunk": chunk}
            words = np.full((1, key.layout.slots), 7, dtype=np.uint64)
            factors = []
            for party in outcome.contributors:
                data = encrypt_chunk(key, tweak("words", words), 16)
                signature = self.identities[party].sign(signed_contribution(manifest, *place, data))
                sha256 = package.contribution(party, *place, data, signature)
                write(party, actions.Contributed(**names, **where, sha256=sha256))
                write(OFFICE, actions.Received(**names, **where, department=party, sha256=sha256))
                factors.append(data)
            if ended and (outcome, chunk) == places[-1]:
                return
            blank = encrypt_chunk(key, tweak("words", words), 16)
            used = tweak("factors", [*factors, blank])
            product = tweak("product", (key, multiply_chunks(key, used)))[1]
            signed = self.identities[OFFICE].sign(signed_combined(manifest, *place, blank, product))
            hashes = package.combined(*place, blank, product, signed)
            write(OFFICE, actions.Combined(**names, **where, blank=hashes[0], product=hashes[1]))
            write(RECIPIENT, actions.Opened(**names, **where, sha256=hashes[1]))

    def _decide(self, party: str, plan) -> list[SignedDecision]:
        now = datetime.now(UTC).replace(microsecond=0)
        made = []
        for number in range(len(plan.policies)):
            request = request_of(
                plan, number, self.directory, party, catalog=_CATALOG, linkage="oprf", slots="union"
            )
            if party not in request.participants:
                continue
            decision = Decision(
                kind="approve",
                name=new_name(),
                request=request,
                decided=now,
                by="officer",
                expires=now + timedelta(days=30),
                runs=2,
            )
            signed = sign_decision(decision, self.officers[party])
            self.logs[party].append(
                actions.Decided(
                    kind=decision.kind,
                    decision=signed.digest.hex(),
                    request=request.digest.hex(),
                    policy=request.policy,
                    version=request.version,
                )
            )
            made.append(signed)
        return made

    def _started(self, party: str, plan, names, draft, decisions) -> actions.Started:
        approved = {
            (each.decision.request.department, each.decision.request.policy): each for each in decisions
        }
        uses = []
        for number, planned in enumerate(plan.policies):
            request = request_of(
                plan, number, self.directory, party, catalog=_CATALOG, linkage="oprf", slots="union"
            )
            approval = approved.get((party, planned.policy.name))
            uses.append(
                actions.PolicyUse(
                    policy=request.policy,
                    version=request.version,
                    content=request.content,
                    recipient=request.recipient,
                    purpose=request.purpose,
                    reveal=request.reveal,
                    columns=("people.income",) if party == "tax" else (),
                    approval=None if approval is None else approval.digest.hex(),
                    run=0 if approval is None else 1,
                )
            )
        debit = {"kind": "runs", "window": "year", "what": "people.income", "receiver": RECIPIENT}
        debits = (actions.Debit(**debit, units=1, spent=2, limit=12),) if party == "tax" else ()
        return actions.Started(**names, epoch=draft.epoch, policies=tuple(uses), debits=debits)

    def _keys(self, name: str, drafted: bytes, paillier: bytes) -> PartyKeys:
        agreement = AgreementKey.generate().public
        own = paillier if name == RECIPIENT else b""
        signature = self.identities[name].sign(signed_keys(drafted, name, agreement, own))
        return PartyKeys(name=name, agreement=agreement.hex(), paillier=own.hex(), signature=signature.hex())

    def _directory(self) -> bytes:
        members = {
            name: Member(
                role="node",
                certificate="00" * 32,
                identity=self.identities[name].public.hex(),
                sealing="11" * 32,
                officer=self.officers[name].public.hex(),
            )
            for name in NODES
        }
        office = self.identities[OFFICE].public.hex()
        members[OFFICE] = Member(role="coordinator", certificate="00" * 32, identity=office)
        return encode_directory("memory", 1, ("tax", "welfare"), members, {}, dealers=(DEALER,))

    def _epoch(self):
        statement = Epoch(
            epoch="e" * 32,
            federation=self.directory.federation,
            directory=self.directory.digest.hex(),
            linkage="oprf",
            slots="union",
            register=None,
            reference_date=DAY,
            nodes=self.directory.nodes,
            trustees=self.directory.trustees,
        ).encode()
        signature = self.identities[OFFICE].sign(signed_statement(statement))
        return open_epoch(statement, signature, self.directory), signature


def entry_of(signed: SignedDecision) -> dict[str, str]:
    """A decision as approvals.json has it."""
    return {
        "department": signed.decision.request.department,
        "statement": signed.statement.decode(),
        "signature": signed.signature.hex(),
    }


def copy_of(package: Path, folder: Path) -> Path:
    """A package to be changed; ``folder`` is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(package, folder)
    return folder


def refused(folder, root=None) -> str:
    """The one line of the refusal."""
    with pytest.raises(EvidenceRefusedError) as error:
        verify(folder, root)
    assert error.value.exit_code == 6
    line = str(error.value)
    assert line.isprintable()
    assert "; this evidence proves nothing" in line
    return line
