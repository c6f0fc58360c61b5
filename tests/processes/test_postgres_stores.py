"""Services whose stores are in PostgreSQL: killed, and cut off from the database, they go on (a long test)."""

import postgres_server
import pytest
from processes.real_federation import COORDINATOR, START_SECONDS, real_federation
from processes.small_world import plain_answers, write_departments

pytestmark = pytest.mark.campaign


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    departments = write_departments(folder / "departments")
    names = [COORDINATOR, *(each.name for each in departments.iterdir())]
    stores = {
        name: {
            "store": postgres_server.new_schema()
            .update_query_dict({"application_name": f"store-of-{name}"})
            .render_as_string(hide_password=False)
        }
        for name in names
    }
    with real_federation(folder, settings=stores) as running:
        running.link()
        yield running


def test_the_answer_is_the_plain_one_also_after_kills(federation):
    assert federation.run("old-age") == plain_answers()["old-age"]
    for name in ("police", COORDINATOR):
        federation.kill(name)
        federation.start(name)
        assert federation.run("old-age") == plain_answers()["old-age"]


def test_a_database_that_ends_all_sessions_is_found_again(federation):
    ended = postgres_server.execute(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name LIKE 'store-of-%'"
    )
    assert len(ended) > 4
    assert federation.run("old-age") == plain_answers()["old-age"]


def test_a_second_process_is_refused(federation):
    before = federation.members.running.pop("police")
    federation.members.start({"police": federation.local.configs["police"]}, COORDINATOR)
    second = federation.members.running.pop("police")
    federation.members.running["police"] = before
    second.join(START_SECONDS)
    assert second.exitcode == 2
    assert "another process has this store open" in federation.log("police")
    assert federation.run("old-age") == plain_answers()["old-age"]
