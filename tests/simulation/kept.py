"""What must hold of a node's log and store: each thing once, debits to the unit, nothing of a closed job."""

import hashlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from simulation.messages import Messages
from simulation.violated import holds
from simulation.world import SimulatedNode, World

_YEAR = timedelta(days=365)


class Kept:
    """Reads what nodes keep, as a stranger would: the file of the store, the lines of the log."""

    def __init__(self, world: World, messages: Messages) -> None:
        self._world = world
        self._messages = messages

    def check(self, node: SimulatedNode) -> None:
        """Hold one node's log and store against each other, and against what it sent."""
        started, records = {}, Counter()
        revoked: set[str] = set()
        for body in _bodies(node):
            match body["action"]:
                case "started":
                    records["started", body["manifest"]] += 1
                    started[body["manifest"]] = body
                    for use in body["policies"]:
                        holds(use["approval"] not in revoked, node.name, "used a revoked approval")
                case "decided" if body["kind"] == "revoke":
                    revoked |= _revoked_by(node, body["decision"])
                case "contributed":
                    place = (node.name, body["manifest"], body["outcome"], body["chunk"])
                    records["contributed", *place] += 1
                    sent = self._messages.contributed.get(place)
                    holds(
                        sent is None or hashlib.sha256(sent).hexdigest() == body["sha256"],
                        "another chunk on record than left:",
                        place,
                    )
                case "opened":
                    records["opened", body["manifest"], body["outcome"], body["chunk"]] += 1
                case "delivered":
                    records["delivered", body["manifest"], body["policy"]] += 1
                case "dealt":
                    records["dealt", body["manifest"]] += 1
        twice = [what for what, count in records.items() if count > 1]
        holds(not twice, node.name, "has on record twice:", twice)
        self._debits(node, started)
        self._evaluations(node)
        open_still = "SELECT manifest_sha256 FROM jobs WHERE state <> 'closed'"
        for table in ("chunks", "products"):
            left = rows(
                node.disk,
                f"SELECT state FROM jobs JOIN {table} USING (manifest_sha256) WHERE state = 'closed'",
            )
            holds(not left, node.name, "keeps", table, "of a closed job")
        left = rows(
            node.disk,
            "SELECT state FROM jobs WHERE state = 'closed' AND (secrets IS NOT NULL OR answers IS NOT NULL)",
        )
        holds(not left, node.name, "keeps keys of a closed job")
        still = len(rows(node.disk, open_still))
        holds(len(node.jobs._newest._turns) <= still, node.name, "remembers turns of closed jobs")

    def _evaluations(self, node: SimulatedNode) -> None:
        """A trustee evaluates each identity once, however often an epoch is linked."""
        for row in rows(
            node.disk, "SELECT requester, sum(count) AS asked FROM evaluations GROUP BY requester"
        ):
            known = len(self._world.rows.get(row["requester"], {}))
            holds(
                row["asked"] <= known,
                node.name,
                "evaluated more than there are:",
                row["requester"],
                row["asked"],
            )

    def _debits(self, node: SimulatedNode, started: Mapping[str, Mapping]) -> None:
        """Each started manifest is debited once, log and store say the same, and no limit is passed."""
        debits = rows(
            node.disk, "SELECT manifest_sha256, kind, what, receiver, units, epoch, day FROM desk_debits"
        )
        kept: dict[str, dict[tuple, int]] = defaultdict(dict)
        lost: dict[tuple, list[tuple[datetime, str, int]]] = defaultdict(list)
        for row in debits:
            manifest, budget = row["manifest_sha256"].hex(), (row["kind"], row["what"], row["receiver"])
            kept[manifest][budget] = row["units"]
            lost[budget].append((datetime.fromisoformat(row["day"]), row["epoch"].hex(), row["units"]))
        for manifest, body in started.items():
            said = {(line["kind"], line["what"], line["receiver"]): line["units"] for line in body["debits"]}
            holds(kept.get(manifest, {}) == said, node.name, "debited other than it says:", manifest, said)
        killed = self._world.was_killed(node.name)
        for manifest in kept.keys() - started.keys():
            holds(killed, node.name, "debited what never started:", manifest)
        for manifest in self._messages.accepted[node.name]:
            holds(manifest in started, node.name, "accepted what it did not record:", manifest)
            shown = self._messages.manifests.get(manifest)
            if shown is None:  # another than the coordinator made, of a wrong one
                continue
            asked = any(node.name in outcome["contributors"] for outcome in shown["draft"]["outcomes"])
            paid = any(what == "people.a" for _, what, _ in kept.get(manifest, ()))
            holds(not asked or paid, node.name, "was asked for nothing:", manifest, kept.get(manifest))
        if self._world.spec.runs is not None:
            self._limits(node, lost)
        uses = rows(node.disk, "SELECT approval, manifest_sha256 FROM desk_uses")
        decisions = _decisions(node)
        for approval, count in Counter(row["approval"].hex() for row in uses).items():
            holds(count <= decisions[approval]["runs"], node.name, "used an approval too often:", approval)
        orphans = {row["manifest_sha256"].hex() for row in uses} - started.keys()
        holds(not orphans or killed, node.name, "used approvals for what never started:", orphans)

    def _limits(self, node: SimulatedNode, lost: Mapping[tuple, list[tuple[datetime, str, int]]]) -> None:
        an_epoch, a_year = self._world.spec.runs
        for budget, losses in lost.items():
            if budget[0] != "runs":
                continue
            by_epoch = Counter()
            for day, epoch, units in losses:
                by_epoch[epoch] += units
                year = sum(each for at, _, each in losses if day - _YEAR < at <= day)
                holds(year <= a_year, node.name, "lost more than a year allows:", budget, year)
            holds(max(by_epoch.values()) <= an_epoch, node.name, "lost more than an epoch allows:", budget)


def _bodies(node: SimulatedNode) -> Iterator[Mapping]:
    path = Path(f"{node.disk}.log")
    for line in path.read_bytes().splitlines():
        yield json.loads(line)["body"]


def _revoked_by(node: SimulatedNode, decision: str) -> set[str]:
    decided = _decisions(node).get(decision)
    return set() if decided is None else {decided["revokes"]}


def _decisions(node: SimulatedNode) -> dict[str, Mapping]:
    """What a department's officer signed, by its hash, hex."""
    signed = rows(node.disk, "SELECT digest, statement FROM desk_decisions")
    return {row["digest"].hex(): json.loads(row["statement"]) for row in signed}


def rows(disk: Path, sql: str) -> list[sqlite3.Row]:
    """Read a store as a stranger would."""
    with closing(sqlite3.connect(disk)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(sql).fetchall()


def count(disk: Path, table: str) -> int:
    return rows(disk, f"SELECT count(*) AS number FROM {table}")[0]["number"]
