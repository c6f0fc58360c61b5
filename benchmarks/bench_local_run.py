"""Whole runs: 200,000 people, six departments, shared-key linkage, every member a process of this machine.

Required on 2 cores, process starts included: an AND of six conditions under 60 seconds and 500 MB a
process, a policy with one total over the departments under 120 seconds and 600 MB; the same total over
households is measured beside it.  The peak is the kernel's own (VmHWM), read before the processes stop.
"""

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest

from veilmatch.departments import catalogs_of, check_everything, load_departments, load_policies, today
from veilmatch.grouping import needs_extra_dealer
from veilmatch.plaintext import eligible
from veilmatch.running import RunSettings, local_federation
from veilmatch_crypto.prg import permutation, words40

PEOPLE = 200_000
# Which part of the people each department knows.
DEPARTMENTS = {"register": 1.0, "social": 1.0, "tax": 0.9, "health": 0.6, "housing": 0.5, "civil": 0.4}
REQUIRED = {"everybody": (60, 500), "one-total": (120, 600), "household-total": (None, None)}

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
      {name}_amount: {{type: decimal(2), missing: 0, range: [0, 100000]}}
"""
HOUSEHOLD = "    household: {column: home, at_most: 8, larger: single}\n"
AND = """
policy: everybody
title: Six conditions
recipient: social
conditions:
"""
TOTAL = """
policy: NAME
title: One total over six departments
recipient: social
household: {department: register, column: home}
conditions:
  old: {department: register, where: "register_points < 90"}
  little:
    of: SCOPE
    total: {register: register_amount, social: social_amount, tax: tax_amount, health: health_amount,
            housing: housing_amount, civil: civil_amount}
    below: 250000
"""


def write_data(folder: Path) -> None:
    """The same tables each time: the keyed generator with fixed keys."""
    people = words40(bytes(32), 0, 0, PEOPLE)
    policy = AND
    for number, (name, part) in enumerate(DEPARTMENTS.items(), start=1):
        rows = permutation(bytes([number]) * 32, PEOPLE)[: int(part * PEOPLE)]
        draws = words40(bytes([number]) * 32, 1, 0, 2 * len(rows))
        euros = pa.array((draws[: len(rows)] % 100_000).astype("i8")).cast(pa.decimal128(21, 0))
        home = folder / "departments" / name
        home.mkdir(parents=True)
        table = {
            "id": pa.array(people[rows]).cast(pa.string()),
            "home": pa.array((rows // 3).astype("i8")),
            f"{name}_points": pa.array((draws[len(rows) :] % 100).astype("i8")),
            f"{name}_amount": euros.cast(pa.decimal128(21, 2)),
        }
        pyarrow.csv.write_csv(pa.table(table), home / "people.csv")
        household = "    columns:", (HOUSEHOLD if name == "register" else "") + "    columns:"
        (home / "catalog.yaml").write_text(CATALOG.format(name=name).replace(*household))
        policy += (
            f'  {name}-fits: {{department: {name}, where: "{name}_points < 90 AND {name}_amount >= 0"}}\n'
        )
    (folder / "everybody.yaml").write_text(policy)
    for name, scope in (("one-total", "person"), ("household-total", "household")):
        (folder / f"{name}.yaml").write_text(TOTAL.replace("NAME", name).replace("SCOPE", scope))


def peak_megabytes(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


@pytest.mark.benchmark(group="local run")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", REQUIRED)
def test_two_hundred_thousand_people(benchmark, tmp_path, name):
    write_data(tmp_path)
    departments = load_departments(tmp_path / "departments")
    [policy] = load_policies([tmp_path / f"{name}.yaml"])
    settings = RunSettings(linkage="shared-key", key_bits=3072, workers=1)
    extra_dealer = needs_extra_dealer([[policy]], catalogs_of(departments), today())
    peaks: dict[str, float] = {}
    results = {}

    def silent(*_step) -> None:
        pass

    def run() -> None:
        check_everything(departments, [policy])
        out = tmp_path / "out"
        with local_federation(departments, out, settings, extra_dealer=extra_dealer) as federation:
            federation.link(settings, silent)
            [result] = federation.run([policy], settings.key_bits, silent)
            results.update(result)
            for member, process in federation.members.running.items():
                peaks[member] = round(peak_megabytes(process.pid))

    started = time.monotonic()
    benchmark.pedantic(run, rounds=1)
    seconds = time.monotonic() - started
    started = time.monotonic()
    plain = eligible(policy, departments, today())
    plain_seconds = time.monotonic() - started
    required_seconds, required_megabytes = REQUIRED[name]
    benchmark.extra_info.update(
        seconds=round(seconds, 1),
        required_seconds=required_seconds,
        stages=results["seconds"],
        peak_megabytes=peaks,
        required_megabytes=required_megabytes,
        times_plaintext=round(seconds / plain_seconds, 1),
    )
    print(f"\n{name}, 200,000 people, six departments: {seconds:.1f} s (required {required_seconds})")
    print(f"largest process {max(peaks.values())} MB (required {required_megabytes}), peaks {peaks}")
    print(f"stages {results['seconds']}; {seconds / plain_seconds:.1f} times the plaintext join")
    found = (tmp_path / "out" / name / "eligible.csv").read_text().split()[1:]
    assert found == plain.identifiers
