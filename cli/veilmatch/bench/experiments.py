"""The file of experiments: checked YAML, as policies are (docs/benchmarks.md, "Experiments")."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, field_validator

from veilmatch.bench.errors import ExperimentsError
from veilmatch.bench.kinds import read_experiment
from veilmatch.bench.kinds.base import Experiment
from veilmatch.errors import UsageError
from veilmatch_policy import strict_yaml
from veilmatch_policy.documents import Document, FrozenMapping, Line, Name, build, placed_by_key, read_file
from veilmatch_policy.errors import nearest, quoted

SHIPPED = ("quick", "full")


class Experiments(Document):
    """What is measured, in the file's order."""

    title: Line = ""
    experiments: FrozenMapping[Name, Annotated[Experiment, BeforeValidator(read_experiment)]]

    @field_validator("experiments", mode="before")
    @classmethod
    def _name_experiments(cls, value: object) -> object:
        if value == {}:
            raise ValueError("no experiment; write at least one, or leave the file out for quick")
        return placed_by_key(value, "name")

    def only(self, name: str | None, rounds: int | None) -> Mapping[str, Experiment]:
        """All experiments, or that one; with ``rounds`` in place of their own.  Raises UsageError."""
        if name is not None and name not in self.experiments:
            raise UsageError(
                f"--only: there is no experiment {quoted(name)}; {nearest(name, self.experiments)}"
            )
        changed: dict[str, Any] = {} if rounds is None else {"rounds": rounds}
        return {
            each: experiment.model_copy(update=changed)
            for each, experiment in self.experiments.items()
            if name in {None, each}
        }


def load_experiments(name: str) -> Experiments:
    """Read a file, or what is shipped as ``quick`` or ``full``.  Raises ExperimentsError or UsageError."""
    path = Path(name)
    if not path.exists():
        if name not in SHIPPED:
            raise UsageError(
                f"{name}: there is no such file; name one, or {' or '.join(SHIPPED)}, which are shipped"
            )
        path = Path(str(files("veilmatch.bench"))) / "experiments" / f"{name}.yaml"
    data = read_file(path, name, ExperimentsError)
    return build(Experiments, strict_yaml.parse(data, name, ExperimentsError), ExperimentsError)
