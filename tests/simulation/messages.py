"""What must hold of all that honest parties send: nothing is made twice, nothing names anybody."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from simulation.network import TASKS, Sent
from simulation.violated import holds

from veilmatch_policy import canonical

SECRET = "secret-"  # what every identifier begins with


class Messages:
    """Reads a federation's messages as they left their senders.

    ``manifests`` by their hash, hex; ``contributed`` chunks by (node, manifest, outcome, chunk); ``accepted``
    manifests by node; ``concluded`` manifests, whose results the coordinator let the recipient write.
    """

    def __init__(self) -> None:
        self.manifests: dict[str, Mapping] = {}
        self.contributed: dict[tuple, bytes] = {}
        self.accepted: dict[str, set[str]] = defaultdict(set)
        self.concluded: set[str] = set()
        self._read = 0
        self._first: dict[int, Sent] = {}  # by stream: the task
        self._residues: dict[str, dict[int, tuple]] = defaultdict(dict)
        self._keys: dict[str, tuple] = {}
        self._slots: dict[tuple, dict[int, bytearray]] = defaultdict(lambda: defaultdict(bytearray))
        self._circuits: dict[tuple, set[int]] = defaultdict(set)
        self._counts: Counter = Counter()

    def read(self, sent: Sequence[Sent]) -> None:
        """Take in and check what was sent since the last time."""
        while self._read < len(sent):
            message = sent[self._read]
            self._read += 1
            if message.body in TASKS and not message.from_node:
                self._first.setdefault(message.stream, message)
            if message.from_node:
                self._from_node(message, self._task_digest(message))
            elif message.body == "manifest":
                digest = hashlib.sha256(message.content.manifest).hexdigest()
                self.manifests[digest] = canonical.decode(message.content.manifest)
            elif message.body == "conclude":
                self.concluded.add(self._task_digest(message))

    def _task_digest(self, message: Sent) -> str:
        """The manifest that a stream is about."""
        first = self._first.get(message.stream)
        return "" if first is None else getattr(first.content, "manifest_sha256", b"").hex()

    def _from_node(self, message: Sent, manifest: str) -> None:
        content, node = message.content, message.node
        match message.body:
            case "refused":
                holds(
                    "\n" not in content.text and content.text,
                    "a refusal is not one line:",
                    repr(content.text),
                )
                holds(content.code != "internal", node, "met an internal error:", content.text)
                holds(SECRET not in content.text, "a refusal names somebody:", content.text)
            case "job_keys":
                for key in (content.agreement, content.paillier[:256]):
                    if key:
                        holds(key.hex() not in self._keys, "a key is used twice, by", node)
                        self._keys[key.hex()] = (node, message.stream)
            case "accepted":
                digest = content.manifest_sha256.hex()
                self._once("accepted", node, digest)
                self.accepted[node].add(digest)
            case "seeds":
                self._once("dealt", node, manifest)
            case "contribution":
                self._contribution(node, manifest, content)
            case "presented":
                self._present(node, manifest, content.policy, message.stream, content.bitmap)
            case "round":
                self._circuits[node, manifest].add(message.stream)
                holds(len(self._circuits[node, manifest]) == 1, node, "runs a circuit twice:", manifest)

    def _present(self, node: str, manifest: str, policy: int, stream: int, bitmap: bytes) -> None:
        streams = self._slots[node, manifest, policy]
        streams[stream] += bitmap
        longest = max(streams.values(), key=len)
        same = all(longest.startswith(each) for each in streams.values())
        holds(same, node, "presents other slots than before:", manifest, policy)

    def _once(self, what: str, *about: str) -> None:
        self._counts[what, *about] += 1
        holds(self._counts[what, *about] == 1, what, "twice:", *about)

    def _contribution(self, node: str, manifest: str, part) -> None:
        place = (node, manifest, part.outcome, part.chunk)
        before = self.contributed.setdefault(place, part.ciphertexts)
        holds(before == part.ciphertexts, "a chunk was made twice:", *place)
        shown = self.manifests.get(manifest)
        if shown is None:
            return
        [key] = [bytes.fromhex(keys["paillier"]) for keys in shown["keys"] if keys["paillier"]]
        size = shown["draft"]["key_bits"] // 8
        modulus, seen = int.from_bytes(key[:size], "big"), self._residues[manifest]
        for number in range(len(part.ciphertexts) // (2 * size)):
            ciphertext = part.ciphertexts[number * 2 * size : (number + 1) * 2 * size]
            residue = int.from_bytes(ciphertext, "big") % modulus
            where = seen.setdefault(residue, (*place, number))
            holds(where == (*place, number), "randomness is used twice:", where, (*place, number))
