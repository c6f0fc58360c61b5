"""Federations and what happens to them, by chance: of a seed that Hypothesis draws."""

from random import Random

from fakes.federation import COORDINATOR, DEALER
from simulation import faults
from simulation.faults import Fault
from simulation.operations import Cancel, Crash, Decide, Link, Operation, Rogue, Run, Skew, Tick, Work
from simulation.people import REGISTER, Question, Spec

# Of one shape there is one linked federation, from which others begin: to link is a third of a job's work.
SHAPES = tuple(
    Spec(departments, people, seed)
    for seed, (departments, people) in enumerate(((2, 5), (3, 12), (3, 24), (4, 16), (5, 40)), 1)
)
OFFICERS = tuple(Spec(3, 10, 7, runs=runs) for runs in ((2, 3), (6, 8)))

# Messages and steps by the part that a party has.
_LINKAGE = (
    *("link", "link_ready", "epoch_keys", "confirmation", "confirmations", "batch", "pseudonyms", "slots"),
    *("done", "commit:epochs+linked", "record:linked"),
)
_FIRST_TRUSTEE = ("epoch_keys_task", "epoch_keys_drawn", "trustee", "commit:settings")
_OFFICE_LINKING = ("link", "confirmation", "pseudonyms", "commit:epochs+slots", "slots", "done")
_ALL = (
    *("prepare", "declared", "draft", "job_keys", "manifest", "accepted", "done", "close", "head", "log"),
    *("jobs:started", "jobs:closed", "record:started", "record:closed", "record:head-seen"),
    *("commit:desk_uses+desk_debits", "commit:desk_uses", "commit:desk_debits"),
    "commit:desk_requests+desk_drafts",
)
_CONTRIBUTOR = ("contribute", "contribution", "contribution", "commit:chunks", "record:contributed")
_RECIPIENT = (
    *("open", "presented", "combined", "combined", "opened", "opened", "conclude", "commit:products"),
    *("jobs:opening", "jobs:delivered", "record:presented", "record:opened", "record:delivered"),
    *("file:result.json", "file:eligible.csv"),
)
_DECIDING = ("begin_circuits", "round", "round", "jobs:deciding")
_DEALER = ("deal", "seeds", "corrections", "jobs:dealing", "commit:sequences", "record:dealt")
_REGISTRAR = ("households", "household_labels", "record:told-households")
_OFFICE = (
    *("jobs:started", "jobs:closing", "jobs:closed", "commit:combined", "commit:closings", "commit:counts"),
    *("submissions:queued", "submissions:running", "submissions:complete", "submissions:failed"),
    *("record:submitted", "record:manifest-made", "record:received", "record:combined", "record:closed"),
    *("file:manifest.json", "file:0-0.bin", "file:report.json", "file:d1.jsonl", "file:index.json"),
    *("prepare", "job_keys", "manifest", "accepted"),
    *("contribution", "presented", "opened", "conclude", "close"),
)
_KINDS = (
    *(*faults.NETWORK, *faults.NETWORK, *faults.KILLS, *faults.KILLS, faults.KILL),
    *(faults.WITHHOLD, faults.REPLAY, faults.INTERJECT),
)
_NTH = (1, 1, 1, 1, 2, 3)
_AWAY = (0, 0, 1, 3, 50)
_LONG = (
    1,
    10,
    60 * 25,
    60 * 24 * 8,
    60 * 24 * 366,
)  # minutes: to past a manifest's expiry, and a budget's year
_AHEAD = (0, 200, -280, 290, 400, -3600)  # seconds: within what is tolerated, and beyond


def spec(chance: Random) -> Spec:
    """A federation; in some every department has an officer."""
    return chance.choice(OFFICERS if chance.random() < 0.2 else SHAPES)


def linkage_fault(chance: Random, spec: Spec) -> Fault:
    """Something that goes wrong with the next linkage."""
    if chance.random() < 0.08:
        return _away(chance, spec.names)
    party = chance.choice([*spec.names, spec.names[0], COORDINATOR])
    places = (*_LINKAGE, *(_FIRST_TRUSTEE if party == spec.names[0] else ()))
    return _at(chance, party, chance.choice(_OFFICE_LINKING if party == COORDINATOR else places))


def job_fault(chance: Random, asked: Question) -> Fault:
    """Something that goes wrong with the job that asks this."""
    kind = chance.random()
    if kind < 0.08:
        return _away(chance, _parts(asked)[1:])
    if kind < 0.16:
        return _wrong(chance, asked)
    party = chance.choice(_parts(asked))
    return _at(chance, party, chance.choice(_places(asked, party)))


def _away(chance: Random, nodes: list[str]) -> Fault:
    return Fault(faults.AWAY, chance.choice(nodes), "dial", chance.choice(_NTH), chance.choice((1, 3, 50)))


def _at(chance: Random, party: str, place: str) -> Fault:
    """A fault at a message or step of a party."""
    kind = chance.choice(faults.KILLS if party == COORDINATOR or ":" in place else _KINDS)
    at = chance.choice(_AWAY) if kind in faults.KILLS else chance.randrange(4096)
    return Fault(kind, party, place, chance.choice(_NTH), at)


def _wrong(chance: Random, asked: Question) -> Fault:
    """A wrong party."""
    kind = chance.choice((faults.FORGE, faults.UNSIGNED, faults.ANOTHER))
    where = "manifest" if kind == faults.ANOTHER else "contribution"
    return Fault(kind, f"d{chance.choice(asked.others)}", where, 1, chance.randrange(4096))


def _parts(asked: Question) -> list[str]:
    """Who takes part in a question's job; the coordinator first."""
    names = {f"d{number}" for number in (*asked.others, asked.recipient)}
    names |= {REGISTER} if asked.homes else set()
    return [COORDINATOR, *sorted(names), *([DEALER] if asked.kind != "where" else [])]


def _places(asked: Question, party: str) -> tuple[str, ...]:
    """The messages and steps of one of them."""
    if party == COORDINATOR:
        return _OFFICE
    if party == DEALER:
        return (*_ALL, *_DEALER, *_DEALER)
    if party == f"d{asked.recipient}":
        return (*_ALL, *_RECIPIENT, *(_DECIDING if asked.kind != "where" else ()))
    return (*_ALL, *_CONTRIBUTOR, *_CONTRIBUTOR, *(_REGISTRAR if asked.homes and party == REGISTER else ()))


def question(chance: Random, spec: Spec) -> Question:
    """Something to ask the federation; about half of the people fulfil it."""
    recipient = chance.randrange(spec.departments)
    rest = [number for number in range(spec.departments) if number != recipient]
    others = tuple(sorted(chance.sample(rest, chance.randint(1, len(rest)))))
    kind = chance.choice(("where", "where", "where", "total", "count"))
    homes = kind == "total" and chance.random() < 0.5
    bound = 14 if kind == "where" else 11 * (len(others) + 1) * (2 if homes else 1)
    return Question(
        kind,
        recipient,
        others,
        bound + chance.choice((-3, 0, 4)),
        homes=homes,
        among=chance.random() < 0.3,
        is_=chance.choice(("at_most", "at_least")),
    )


def run(chance: Random, spec: Spec) -> Run:
    """One job of one question mostly; two jobs, or two questions in one job, sometimes."""
    first = question(chance, spec)
    shape = chance.random()
    if shape < 0.7:
        return Run(((first,),))
    second = question(chance, spec)
    if shape < 0.85 or first.recipient != second.recipient or first.name == second.name:
        return Run(((first,), (second,)))
    return Run(((first, second),))


def event(chance: Random, spec: Spec) -> Operation:
    """Something between two jobs."""
    party = chance.choice([*spec.names, DEALER, COORDINATOR])
    return chance.choice(
        (
            Crash(party, 0 if party == COORDINATOR else chance.choice((0, 0, 2, 50))),
            Tick(chance.choice(_LONG)),
            Skew(party, chance.choice(_AHEAD)),
            Rogue(tuple(chance.randrange(200) for _ in range(chance.randint(1, 4)))),
            Cancel(),
        )
    )


def approvals(spec: Spec) -> list[Operation]:
    """Every officer approves what waits, and the coordinator asks again."""
    return [*(Decide(number, "approve", 2) for number in range(spec.departments)), Tick(2), Work()]


def decision(chance: Random, spec: Spec) -> Decide:
    """An officer decides, or takes an approval back."""
    verdict = chance.choice(("approve", "refuse", "revoke"))
    return Decide(chance.randrange(spec.departments), verdict, chance.choice((1, 2)))


def link(chance: Random) -> Link:
    """A new epoch; an OPRF costs more."""
    return Link(chance.choice(("shared-key", "shared-key", "shared-key", "oprf")))
