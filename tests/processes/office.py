"""The coordinating office in a test's own hands: it draws up a job and asks nodes for each step, with the real keys."""

import os
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from processes.real_federation import COORDINATOR, RealFederation

from veilmatch_coordinator.client import Nodes
from veilmatch_coordinator.parallel import in_parallel
from veilmatch_crypto import AgreementKey, IdentityKey
from veilmatch_policy.directory import Directory, open_directory
from veilmatch_policy.epoch import reopen_epoch
from veilmatch_policy.manifest import (
    Draft,
    PartyKeys,
    encode_manifest,
    entries_of,
    open_manifest,
    signed_keys,
)
from veilmatch_policy.plan import Declarations
from veilmatch_policy.planning import derive_plan
from veilmatch_policy.policy import parse_policy


@dataclass
class HandDrivenOffice:
    """Asks the listening nodes of a federation for tasks, as its coordinator."""

    federation: RealFederation
    directory: Directory

    @classmethod
    def of(cls, federation: RealFederation) -> "HandDrivenOffice":
        """Take the coordinator's keys, while its own process does nothing."""
        path = federation.folder / "federation" / "federation.toml"
        signature = bytes.fromhex(path.with_name("federation.toml.sig").read_text())
        config = tomllib.loads(federation.local.configs[COORDINATOR].read_text())
        directory = open_directory(path.read_bytes(), signature, bytes.fromhex(config["federation"]["root"]))
        return cls(federation, directory)

    def nodes(self) -> Nodes:
        """Fresh channels: a node that was killed and restarted is another one to gRPC."""
        return Nodes(self.directory, self.federation.identity(COORDINATOR), None)

    def start_job(self, policy_text: str, *, chunk_ciphertexts: int) -> bytes:
        """Agree on a manifest of a policy without totals with all participants (protocol.md, 7); its hash."""
        home = self.federation.home(COORDINATOR)
        newest = "SELECT number, statement, padded FROM epochs ORDER BY number DESC LIMIT 1"
        [(number, statement, padded)] = self.federation.stored(COORDINATOR, newest)
        slots = f"SELECT node, length(slots) / 4 FROM slots WHERE epoch = {number}"  # four bytes a person
        people = dict(self.federation.stored(COORDINATOR, slots))
        opened = reopen_epoch(statement)
        source, day = policy_text.encode(), opened.epoch.reference_date
        # Nobody is asked an amount: what the nodes declare says nothing.
        plan = derive_plan([parse_policy(source, "policy")], Declarations({}), reference_date=day)
        draft = Draft(
            job=os.urandom(16).hex(),
            federation=self.directory.federation,
            directory=self.directory.digest.hex(),
            epoch=opened.context.hex(),
            linkage=opened.epoch.linkage,
            padded=padded,
            policies=(policy_text,),
            declarations=(),
            reference_date=day,
            recipient=plan.recipient,
            recipient_rows=people[plan.recipient],
            registrar=plan.registrar,
            dealer=plan.dealer,
            participants=plan.participants,
            outcomes=entries_of(plan),
            key_bits=2048,
            chunk_ciphertexts=chunk_ciphertexts,
            expires=(datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0),
        ).encode()
        identity = IdentityKey.from_bytes(bytes.fromhex((home / "identity.key").read_text().strip()))
        nodes = self.nodes()
        with nodes.conversation() as conversation:
            tasks = {
                name: conversation.prepare(name, [source], opened.context, datetime.now(UTC))
                for name in plan.participants
            }
            for task in tasks.values():
                task.declaration()
            given = in_parallel(
                {name: partial(task.keys, draft, ()) for name, task in tasks.items()},
                on_failure=conversation.abort,
            )
            keys = {name: each.keys for name, each in given.items()}
            agreement = AgreementKey.generate().public
            signature = identity.sign(signed_keys(draft, COORDINATOR, agreement, b""))
            own = PartyKeys(name=COORDINATOR, agreement=agreement.hex(), signature=signature.hex())
            data = encode_manifest(draft, {**keys, COORDINATOR: own})
            in_parallel(
                {name: partial(task.accept, data) for name, task in tasks.items()},
                on_failure=conversation.abort,
            )
        nodes.close()
        return open_manifest(data, draft, plan, self.directory, own).digest
