"""What an auditor gets of a job: manifest, signed contributions, B and the products (protocol.md, 7).

Enough to multiply again and compare; nothing here opens anything: never mask keys, B's words,
slots or any private key.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from veilmatch_policy import canonical


class JobEvidence:
    """One job's folder: ``manifest.json``, ``digests.json``, ``report.json``, and the chunks.

    A chunk is a file ``OUTCOME-CHUNK.bin`` in ``contributions/NAME``, ``B`` or ``product``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: list[dict[str, object]] = []
        folder.mkdir(parents=True, mode=0o700)

    def manifest(self, data: bytes) -> None:
        """Keep the manifest's exact bytes."""
        (self._folder / "manifest.json").write_bytes(data)

    def contribution(self, name: str, outcome: int, chunk: int, ciphertexts: bytes, signature: bytes) -> None:
        """Keep a contribution with its maker's signature over its digest."""
        self._keep(f"contributions/{name}", outcome, chunk, ciphertexts, signature)

    def combined(self, outcome: int, chunk: int, blank: bytes, product: bytes, signature: bytes) -> None:
        """Keep the coordinator's own ciphertexts and the product, with its signature over both digests."""
        self._keep("B", outcome, chunk, blank, signature)
        self._keep("product", outcome, chunk, product, signature)

    def digests(self) -> None:
        """Write the list of what was kept, also of a job that failed: its evidence is looked at first."""
        (self._folder / "digests.json").write_bytes(canonical.encode(self._digests))

    def report(self, manifest: bytes, results: Sequence[Mapping[str, object]]) -> None:
        """Write the coordinator's copies of the results, which say nothing about matches but what policies reveal.

        ``manifest`` is H(manifest).
        """
        copies = [{"manifest_sha256": manifest.hex(), **result} for result in results]
        text = json.dumps(copies, ensure_ascii=False, sort_keys=True, indent=2)
        (self._folder / "report.json").write_text(text + "\n", encoding="utf-8")

    def _keep(self, place: str, outcome: int, chunk: int, data: bytes, signature: bytes) -> None:
        path = self._folder / place / f"{outcome}-{chunk}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self._digests.append(
            {
                "file": path.relative_to(self._folder).as_posix(),
                "sha256": hashlib.sha256(data).hexdigest(),
                "signature": signature.hex(),
            }
        )
