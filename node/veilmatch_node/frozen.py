"""What a job froze of this node's data when it started (protocol.md, 4.7).

The data is read once; the job then works from these arrays, so that a file that changes under it
changes nothing.  They are kept in the node's own store, encrypted, until the job closes.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FrozenAnswers:
    """Arrays by slot, each of shape (padded,).

    ``terms``, by the term's number: truth values where the part is Fails (true: 0 goes into the slot,
    false: noise), words modulo 2**40 where it is Count or Amount.  ``presented``, by the policy's number:
    whom the recipient asks about.  ``own``, by the policy's and the claim's numbers: the recipient's own
    claims.  ``labels``: the registrar's label of each slot's household, 0 where it knows none.
    """

    padded: int
    terms: Mapping[int, NDArray[Any]] = field(default_factory=dict)
    presented: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)
    own: Mapping[tuple[int, int], NDArray[np.bool_]] = field(default_factory=dict)
    labels: NDArray[np.uint32] | None = None

    def __repr__(self) -> str:
        return f"FrozenAnswers({self.padded} slots)"

    def encode(self) -> bytes:
        """Serialise: truth values one bit a slot, words as they are."""
        arrays = {
            **{f"term {number}": values for number, values in self.terms.items()},
            **{f"presented {policy}": values for policy, values in self.presented.items()},
            **{f"own {policy} {claim}": values for (policy, claim), values in self.own.items()},
        }
        if self.labels is not None:
            arrays["labels"] = self.labels
        stream = io.BytesIO()
        packed = {
            name: np.packbits(each) if each.dtype == np.bool_ else each for name, each in arrays.items()
        }
        np.savez(stream, allow_pickle=False, padded=np.array(self.padded), **packed)
        return stream.getvalue()

    @classmethod
    def decode(cls, data: bytes) -> "FrozenAnswers":
        """Read what ``encode`` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            padded = int(stored["padded"])
            terms: dict[int, NDArray[Any]] = {}
            presented: dict[int, NDArray[np.bool_]] = {}
            own: dict[tuple[int, int], NDArray[np.bool_]] = {}
            labels: NDArray[np.uint32] | None = None
            for name in stored.files:
                kind, *numbers = name.split()
                values = stored[name]
                if values.dtype == np.uint8:
                    values = np.unpackbits(values, count=padded).view(np.bool_)
                match kind, list(map(int, numbers)):
                    case "term", [number]:
                        terms[number] = values
                    case "presented", [policy]:
                        presented[policy] = values
                    case "own", [policy, claim]:
                        own[policy, claim] = values
                    case "labels", _:
                        labels = values
        return cls(padded, terms, presented, own, labels)
