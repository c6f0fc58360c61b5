"""The kinds of experiments, a module each.  A new kind is a class of `Experiment` and its line here.

Modules are imported when a file asks for their kind: a federation needs what the cryptography alone does not.
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from veilmatch.bench.kinds.base import Experiment
from veilmatch_policy.documents import FieldError, Placed, kind_of
from veilmatch_policy.errors import nearest, quoted

_KINDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "run": ("run", "Run"),
        "ciphertexts": ("ciphertexts", "Ciphertexts"),
        "linkage": ("linkage", "Linkage"),
        "comparison": ("comparison", "Comparison"),
        "epoch": ("epoch", "Epoch"),
    }
)


def read_experiment(value: object) -> object:
    """Read one experiment of a file as its ``kind`` wants it.  Raises ValueError for what is wrong with it."""
    if not isinstance(value, Placed):
        return value
    if not isinstance(value.tree, dict):
        raise ValueError(f"expected keys with values, found {kind_of(value.tree)}")  # noqa: TRY004  pydantic reads ValueErrors
    kind = value.tree.get("kind")
    if kind is None:
        raise ValueError(f"the key 'kind' is missing; {nearest('', _KINDS)}")
    if not isinstance(kind, str):
        raise FieldError(f"expected one value, found {kind_of(kind)}; {nearest('', _KINDS)}", "kind")
    if kind not in _KINDS:
        raise FieldError(f"{quoted(kind)} is no kind; {nearest(kind, _KINDS)}", "kind")
    module, name = _KINDS[kind]
    model: Any = getattr(import_module(f"veilmatch.bench.kinds.{module}"), name)
    experiment: Experiment = model.model_validate(value)
    return experiment
