"""Federations and what happens to them, drawn by Hypothesis."""

from fakes.federation import COORDINATOR, DEALER
from hypothesis import strategies as st
from simulation import faults
from simulation.faults import Fault
from simulation.operations import Cancel, Crash, Decide, Link, Rogue, Run, Skew, Tick
from simulation.people import REGISTER, Question, Spec

# Of one shape there is one linked federation, from which others begin: to link is a third of a job's work.
SHAPES = tuple(
    Spec(departments, people, seed)
    for seed, (departments, people) in enumerate(((2, 5), (3, 12), (3, 24), (4, 16), (5, 40)), 1)
)
OFFICERS = tuple(Spec(3, 10, 7, runs=runs) for runs in ((2, 3), (6, 8)))

# Messages and steps by the part that a party has.
_LINKAGE = (
    *(
        "link",
        "link_ready",
        "epoch_keys",
        "confirmation",
        "confirmations",
        "pseudonyms",
        "slots",
        "batch",
        "done",
    ),
    *("commit:epochs+linked", "record:linked"),
)
_FIRST_TRUSTEE = ("epoch_keys_task", "epoch_keys_drawn", "trustee", "commit:settings")
_OFFICE_LINKING = ("link", "confirmation", "pseudonyms", "commit:epochs+slots", "slots", "done")
_ALL = (
    *("prepare", "declared", "draft", "job_keys", "manifest", "accepted", "done", "close", "head", "log"),
    *("jobs:started", "jobs:closed", "record:started", "record:closed", "record:head-seen"),
    *(
        "commit:desk_uses+desk_debits",
        "commit:desk_uses",
        "commit:desk_debits",
        "commit:desk_requests+desk_drafts",
    ),
)
_CONTRIBUTOR = (*("contribute", "contribution", "contribution"), *("commit:chunks", "record:contributed"))
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
    *(
        "prepare",
        "job_keys",
        "manifest",
        "accepted",
        "contribution",
        "presented",
        "opened",
        "conclude",
        "close",
    ),
)
_KINDS = st.sampled_from(
    (
        *(*faults.NETWORK, *faults.NETWORK, *faults.KILLS, *faults.KILLS, faults.KILL),
        *(faults.WITHHOLD, faults.REPLAY, faults.INTERJECT),
    )
)
_NTH = st.sampled_from((1, 1, 1, 1, 2, 3))
_AWAY = st.sampled_from((0, 0, 1, 3, 50))


@st.composite
def fault(draw, spec: Spec, asked: Question | None = None) -> Fault:
    """Something that goes wrong with the job that asks this; with the next linkage where it is None."""
    if draw(st.integers(0, 11)) == 0:
        node = draw(st.sampled_from(spec.names if asked is None else _parts(asked)[1:]))
        return Fault(faults.AWAY, node, "dial", draw(_NTH), draw(st.sampled_from((1, 3, 50))))
    if asked is None:
        party = draw(st.sampled_from([*spec.names, spec.names[0], COORDINATOR]))
        where = (*_LINKAGE, *(_FIRST_TRUSTEE if party == spec.names[0] else ()))
        where = _OFFICE_LINKING if party == COORDINATOR else where
    else:
        if draw(st.integers(0, 11)) == 0:
            return _wrong(draw, asked)
        party = draw(st.sampled_from(_parts(asked)))
        where = _places(asked, party)
    place = draw(st.sampled_from(where))
    if party == COORDINATOR or ":" in place:
        return Fault(draw(st.sampled_from(faults.KILLS)), party, place, draw(_NTH), draw(_AWAY))
    kind = draw(_KINDS)
    return Fault(
        kind, party, place, draw(_NTH), draw(_AWAY if kind in faults.KILLS else st.integers(0, 4096))
    )


def _wrong(draw, asked: Question) -> Fault:
    """A wrong party."""
    kind = draw(st.sampled_from((faults.FORGE, faults.UNSIGNED, faults.ANOTHER)))
    contributor = f"d{draw(st.sampled_from(asked.others))}"
    where = "manifest" if kind == faults.ANOTHER else "contribution"
    return Fault(kind, contributor, where, draw(st.sampled_from((1, 1, 2))), draw(st.integers(0, 4096)))


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


def question(spec: Spec) -> st.SearchStrategy[Question]:
    """Something to ask the federation."""

    @st.composite
    def drawn(draw):
        numbers = list(range(spec.departments))
        recipient = draw(st.sampled_from(numbers))
        rest = [number for number in numbers if number != recipient]
        others = tuple(sorted(draw(st.lists(st.sampled_from(rest), min_size=1, unique=True))))
        kind = draw(st.sampled_from(("where", "where", "where", "total", "count")))
        homes = kind == "total" and draw(st.booleans())
        asked = len(others) + 1
        bound = {"where": 14, "total": 11 * asked, "count": 11 * asked}[kind] * (2 if homes else 1)
        return Question(
            kind,
            recipient,
            others,
            bound + draw(st.sampled_from((-3, 0, 4))),
            homes=homes,
            among=draw(st.booleans()),
            is_=draw(st.sampled_from(("at_most", "at_least"))),
        )

    return drawn()


def run(spec: Spec) -> st.SearchStrategy[Run]:
    """One job of one question mostly; two jobs, or two questions in one job, sometimes."""
    one = question(spec)

    @st.composite
    def drawn(draw):
        shape = draw(st.sampled_from(("one", "one", "one", "two jobs", "two questions")))
        first = draw(one)
        if shape == "one":
            return Run(((first,),))
        second = draw(one)
        if shape == "two jobs" or first.recipient != second.recipient or first.name == second.name:
            return Run(((first,), (second,)))
        return Run(((first, second),))

    return drawn()


def event(spec: Spec) -> st.SearchStrategy:
    """Something between two jobs."""
    party = st.sampled_from([*spec.names, DEALER, COORDINATOR])
    return st.one_of(
        st.builds(Crash, party, st.sampled_from((0, 0, 2, 50))),
        st.builds(Tick, st.sampled_from((1, 10, 60 * 25, 60 * 24 * 8, 60 * 24 * 366))),
        st.builds(Skew, party, st.sampled_from((0, 200, -280, 290, 400, -3600))),
        st.builds(Rogue, st.lists(st.integers(0, 200), min_size=1, max_size=4).map(tuple)),
        st.builds(Cancel),
    )


def decide(spec: Spec) -> st.SearchStrategy[Decide]:
    """An officer's decision."""
    return st.builds(
        Decide,
        st.integers(0, spec.departments - 1),
        st.sampled_from(("approve", "approve", "approve", "refuse", "revoke")),
        st.sampled_from((1, 2)),
    )


LINKS = st.sampled_from((Link(), Link(), Link(), Link("oprf")))
