"""Shows that a refusal tells the coordinator no count, path, day or foreign word, and the owner's log does."""

from datetime import date

import pytest
from department_files import ANNA, CARL, DAY, catalog, read

from veilmatch_crypto import BatchError, SealError
from veilmatch_node.databases import Databases
from veilmatch_node.errors import JobRefusedError, LinkageError
from veilmatch_node.freshness import check_fresh
from veilmatch_node.refusals import refusals
from veilmatch_node.source import load
from veilmatch_policy.errors import CatalogError, DirectoryError, ManifestError, PolicyRefusedError
from veilmatch_transport import Code, RefusalError

WAGE = ["wage: {type: integer}"]


def refused(action):
    with pytest.raises(RefusalError) as caught, refusals():
        action()
    return caught.value


@pytest.mark.parametrize(
    ("columns", "data", "what", "owners"),
    [
        (WAGE, None, "there is no such file", "{folder}"),
        (WAGE, "", "the file is empty", "{folder}"),
        (WAGE, f"number,wage\n{ANNA},1\n", "there is no column 'id'", "{folder}"),
        (WAGE, f"id,wages\n{ANNA},1\n", "there is no column 'wage'", "'wages'"),
        (WAGE, f"id,wage,WAGE\n{ANNA},1,2\n", "two columns have the same name", "columns 2 and 3"),
        (WAGE, f"id,wage\n{ANNA},x\n{CARL},1\n", "more rows are refused", "1 of 2 rows"),
        (
            ['wage: {type: integer, expression: "nope(wage)"}'],
            f"id,wage\n{ANNA},1\n",
            "DuckDB refuses the expression",
            "Catalog Error",
        ),
    ],
)
def test_data_that_is_refused(tmp_path, columns, data, what, owners):
    owners = owners.format(folder=tmp_path)
    more = "    refused_at_most: 0\n"

    def action():
        if data is None:
            load(catalog(columns), tmp_path, reference_date=DAY)
        read(tmp_path, columns, data, more=more)

    refusal = refused(action)
    assert f"tax.people: {what}" in refusal.public or f"tax.people.wage: {what}" in refusal.public
    assert refusal.public.endswith("(the node's log says more)")
    assert owners not in refusal.public
    assert str(tmp_path) not in refusal.public
    assert owners in refusal.reason


def test_data_that_is_too_old():
    old = catalog(WAGE, more="    as_of: 2024-05-17\n    stale_after: 30d\n")
    refusal = refused(lambda: check_fresh(old, {"people"}, today=date(2025, 1, 1), databases=Databases({})))
    assert refusal.public.startswith(
        "this department's data is refused: tax.people: describes a day more than 30"
    )
    assert "2024" not in refusal.public
    assert "2024-05-17" in refusal.reason


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JobRefusedError("job", "x"), Code.JOB_REFUSED),
        (ManifestError("manifest", "x"), Code.JOB_REFUSED),
        (DirectoryError("directory", "x"), Code.JOB_REFUSED),
        (PolicyRefusedError("aid", "x"), Code.POLICY_REFUSED),
        (CatalogError("tax", "x"), Code.POLICY_REFUSED),
        (LinkageError("linkage", "x"), Code.OUT_OF_ORDER),
        (BatchError("x"), Code.MALFORMED),
    ],
)
def test_each_cause_has_its_code(error, code):
    def action():
        raise error

    refusal = refused(action)
    assert (refusal.code, refusal.reason) == (code, str(error))
    assert refusal.public.endswith(f": {error}")


def test_what_is_wrong_with_the_nodes_own_store_is_for_its_own_log():
    def action():
        raise SealError("a stored value does not open")

    refusal = refused(action)
    assert (refusal.code, refusal.public) == (Code.INTERNAL, "internal error, see the local log")
    assert refusal.reason == "a stored value does not open"
