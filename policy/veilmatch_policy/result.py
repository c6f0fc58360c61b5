"""The document of a result (policies.md, "What local run writes"): what a job was and what it took.

The recipient writes one for each policy that reveals members, with how many; the coordinator has one
of each policy, with a number only where the policy reveals a count.
"""

import hashlib
from collections.abc import Mapping

from veilmatch_policy import canonical, strict_yaml
from veilmatch_policy.errors import PolicyRefusedError
from veilmatch_policy.manifest import Manifest
from veilmatch_policy.policy import Policy

STAGES = ("linkage", "contribute", "combine", "open", "circuit", "total")  # whose seconds are told


def result_document(
    manifest: Manifest,
    policy: Policy,
    *,
    seconds: Mapping[str, float],
    sent: Mapping[str, int],
    received: Mapping[str, int],
    households: int | None,
    found: Mapping[str, object],
) -> dict[str, object]:
    """Return the document of one policy of a job.

    ``seconds`` by stage, ``sent`` and ``received`` bytes by department, ``households`` how many the job had
    (None where none was asked about), ``found`` what is told of the eligible.
    """
    draft = manifest.draft
    return {
        "policy": policy.name,
        "version": policy.version,
        "policy_sha256": policy.digest.hex(),
        "job": draft.job,
        "linkage": draft.linkage,
        "key_bits": draft.key_bits,
        "departments": list(draft.participants),
        "persons": draft.padded,
        "households": households,
        **found,
        "seconds": {stage: round(seconds[stage], 3) for stage in STAGES},
        "bytes": {
            **{name: {"sent": sent[name], "received": received[name]} for name in draft.participants},
            "coordinator": {"sent": sum(received.values()), "received": sum(sent.values())},
        },
        "status": "complete",
    }


def content_digest(policy: Policy) -> bytes:
    """Hash what a policy asks, without comments, title and examples: one content is counted once an epoch (5.5)."""
    content = strict_yaml.parse(policy.source, policy.name, PolicyRefusedError).root
    asked = {key: value for key, value in content.items() if key not in {"title", "examples"}}
    return hashlib.sha256(canonical.encode(asked)).digest()
