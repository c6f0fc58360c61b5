"""What a data officer is asked, in words: who asks, for what, how, and what leaves the department."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from veilmatch_policy.approvals import Request, SignedDecision
from veilmatch_policy.policy import Parameter, Policy
from veilmatch_policy.words.language import ENGLISH, Words
from veilmatch_policy.words.plan import sent_in_words
from veilmatch_policy.words.seen import SeenPolicy, asked_about, contributors, flat, parameter, registrar


@dataclass(frozen=True)
class Fact:
    """One thing that a decision is about: what it is called, and what it is."""

    name: str
    said: str


def asked_in_words(
    request: Request, policy: Policy, purposes: Mapping[str, str], say: Words = ENGLISH
) -> tuple[Fact, ...]:
    """Everything that the officer's signature covers besides the columns, a line each.

    ``purposes`` are the directory's: what the codes stand for.
    """
    return tuple(Fact(name, said) for name, said in _asked(request, policy, purposes, say))


def leaves_in_words(seen: SeenPolicy, department: str, say: Words = ENGLISH) -> tuple[str, ...]:
    """What leaves a department, and who could read it."""
    recipient = seen.policy.recipient
    lines = []
    if department in contributors(seen):
        lines.append(
            say(
                "to the coordinator: {sent}, encrypted under a key that {recipient} makes for this job; each number is "
                "blurred by masks that cancel only in the sum of all departments, so that none can be read by itself",
                sent=sent_in_words(seen, department, say),
                recipient=recipient,
            )
        )
    if department == recipient:
        lines.append(
            say(
                "to the coordinator: which slots are asked about ({people}); no answer and no value",
                people=asked_about(seen.policy, say),
            )
        )
    if department == registrar(seen):
        lines.append(say("to the coordinator: a fresh random label of each slot's household"))
    return tuple(lines) or (say("nothing"),)


def decisions_in_words(
    request: Request, others: Sequence[SignedDecision], say: Words = ENGLISH
) -> tuple[Fact, ...]:
    """What the officers of the other departments that take part have decided so far, as far as it is known here."""
    known = {signed.decision.request.department: signed.decision for signed in others}
    facts = []
    for name in request.participants:
        decision = known.get(name)
        if name == request.department:
            continue
        if decision is None:
            said = say("no decision is known here")
        elif decision.kind == "approve" and decision.expires is not None:
            said = say(
                "approved on {day}, until {end}, for {count} jobs",
                day=decision.decided.date(),
                end=decision.expires.date(),
                count=decision.runs,
            )
        elif decision.kind == "revoke":
            said = say(
                "revoked on {day}: {reason}", day=decision.decided.date(), reason=flat(decision.reason)
            )
        else:
            said = say(
                "refused on {day}: {reason}", day=decision.decided.date(), reason=flat(decision.reason)
            )
        facts.append(Fact(name, said))
    return tuple(facts)


def _asked(
    request: Request, policy: Policy, purposes: Mapping[str, str], say: Words
) -> Iterator[tuple[str, str]]:
    yield say("Purpose"), _purpose(policy, purposes, say)
    yield say("Recipient"), request.recipient
    yield say("People asked about"), asked_about(policy, say)
    yield say("What is revealed"), _revealed(policy, say)
    yield say("Departments that take part"), say.listed(request.participants)
    if request.dealers:
        yield say("Who may deal random numbers"), say.listed(request.dealers)
    yield say("How people are matched"), _linkage(request, say)
    yield say("Whose people have slots"), _slots(request, say)
    if policy.reference_date is not None:
        yield say("Reference date"), str(policy.reference_date)
    if policy.parameters:
        yield (
            say("Parameters"),
            say.parts(_parameter(name, stated, say) for name, stated in policy.parameters.items()),
        )
    if policy.reveal == "count":
        yield say("Smallest count that is told"), str(policy.smallest_count)
        if policy.epsilon is None:
            yield say("Noise"), say("none: the count is exact")
        else:
            yield say("Noise"), say("of both parties, for epsilon {epsilon}", epsilon=policy.epsilon)


def _purpose(policy: Policy, purposes: Mapping[str, str], say: Words) -> str:
    purpose = policy.purpose
    if purpose is None:
        return say("none is stated")
    parts = [purpose.law] if purpose.law is not None else []
    if purpose.code is not None:
        stands_for = purposes.get(purpose.code)
        parts.insert(
            0,
            say("code {code} ({title})", code=purpose.code, title=stands_for)
            if stands_for is not None
            else say("code {code}, which the directory does not list", code=purpose.code),
        )
    return say.parts(parts)


def _revealed(policy: Policy, say: Words) -> str:
    if policy.reveal == "count":
        return say("to the coordinator, how many are eligible; to the recipient nothing")
    if policy.unit == "household":
        return say("to the recipient, which of its people live in an eligible household")
    return say("to the recipient, who of its people is eligible")


def _linkage(request: Request, say: Words) -> str:
    if request.linkage == "oprf":
        return say("OPRF: nobody can test an identity without the trustees")
    return say("shared key: any one department together with the coordinator can test any identity")


def _slots(request: Request, say: Words) -> str:
    if request.slots == "register":
        return say("the people of the register; the coordinator does not learn who is in which department")
    return say(
        "the people of all departments; the coordinator learns, by pseudonym, who is in which department"
    )


def _parameter(name: str, stated: Parameter, say: Words) -> str:
    said = parameter(name, stated, say)
    return said if stated.law is None else say("{parameter} ({law})", parameter=said, law=stated.law)
