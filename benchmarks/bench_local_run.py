"""A whole run: 200,000 people, six departments, shared-key linkage, every member a process of this machine.

Required on 2 cores: under 60 seconds in all, process starts included, and under 500 MB a process.
The peak is the kernel's own (VmHWM), read before the processes stop.
"""

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest

from veilmatch.departments import check_everything, load_departments, load_policies, today
from veilmatch.plaintext import eligible
from veilmatch.running import RunSettings, local_federation
from veilmatch_crypto.prg import permutation, words40

PEOPLE = 200_000
# Which part of the people each department knows.
DEPARTMENTS = {"register": 1.0, "social": 1.0, "tax": 0.9, "health": 0.6, "housing": 0.5, "civil": 0.4}
REQUIRED_SECONDS = 60
REQUIRED_MEGABYTES = 500

CATALOG = """
department: {name}
title: {name}
tables:
  people:
    source: people.csv
    id: id
    identifier: opaque
    columns:
      {name}_points: {{type: integer, missing: 0, range: [0, 99]}}
      {name}_amount: {{type: decimal(2), missing: 0}}
"""
POLICY = """
policy: everybody
title: Six conditions
recipient: social
conditions:
"""


def write_data(folder: Path) -> None:
    """The same tables each time: the keyed generator with fixed keys."""
    people = words40(bytes(32), 0, 0, PEOPLE)
    policy = POLICY
    for number, (name, part) in enumerate(DEPARTMENTS.items(), start=1):
        rows = permutation(bytes([number]) * 32, PEOPLE)[: int(part * PEOPLE)]
        draws = words40(bytes([number]) * 32, 1, 0, 2 * len(rows))
        euros = pa.array((draws[: len(rows)] % 100_000).astype("i8")).cast(pa.decimal128(21, 0))
        home = folder / "departments" / name
        home.mkdir(parents=True)
        table = {
            "id": pa.array(people[rows]).cast(pa.string()),
            f"{name}_points": pa.array((draws[len(rows) :] % 100).astype("i8")),
            f"{name}_amount": euros.cast(pa.decimal128(21, 2)),
        }
        pyarrow.csv.write_csv(pa.table(table), home / "people.csv")
        (home / "catalog.yaml").write_text(CATALOG.format(name=name))
        policy += (
            f'  {name}-fits: {{department: {name}, where: "{name}_points < 90 AND {name}_amount >= 0"}}\n'
        )
    (folder / "policy.yaml").write_text(policy)


def peak_megabytes(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


@pytest.mark.benchmark(group="local run")
@pytest.mark.timeout(600)
def test_two_hundred_thousand_people(benchmark, tmp_path):
    write_data(tmp_path)
    departments = load_departments(tmp_path / "departments")
    [policy] = load_policies([tmp_path / "policy.yaml"])
    settings = RunSettings(linkage="shared-key", key_bits=3072, workers=1)
    peaks: dict[str, float] = {}
    results = {}

    def silent(*_step) -> None:
        pass

    def run() -> None:
        check_everything(departments, [policy])
        with local_federation(departments, tmp_path / "out", settings) as federation:
            federation.link(settings.linkage, silent)
            results.update(federation.run(policy, settings.key_bits, silent))
            for name, process in federation.members.running.items():
                peaks[name] = round(peak_megabytes(process.pid))

    started = time.monotonic()
    benchmark.pedantic(run, rounds=1)
    seconds = time.monotonic() - started
    started = time.monotonic()
    plain = eligible(policy, departments, today())
    plain_seconds = time.monotonic() - started
    benchmark.extra_info.update(
        seconds=round(seconds, 1),
        required_seconds=REQUIRED_SECONDS,
        stages=results["seconds"],
        peak_megabytes=peaks,
        required_megabytes=REQUIRED_MEGABYTES,
        times_plaintext=round(seconds / plain_seconds, 1),
    )
    print(
        f"\n200,000 people, six departments: {seconds:.1f} s (required {REQUIRED_SECONDS}), peaks {peaks} MB"
    )
    print(f"stages {results['seconds']}; {seconds / plain_seconds:.1f} times the plaintext join")
    found = (tmp_path / "out" / "everybody" / "eligible.csv").read_text().split()[1:]
    assert found == plain
