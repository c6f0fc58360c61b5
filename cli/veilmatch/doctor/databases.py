"""A department's databases: they answer, and the account may only read."""

from collections.abc import Iterator

from veilmatch.doctor.examination import Examined, Line, refused
from veilmatch_node.config import NodeConfig
from veilmatch_node.errors import DataError
from veilmatch_transport.health import degraded, ok


def look(member: Examined) -> Iterator[Line]:
    """Look at each database that the configuration names; no table is read."""
    if not isinstance(member.config, NodeConfig) or not member.config.data.databases:
        return
    from veilmatch_node.databases import can_write  # noqa: PLC0415  drivers, for nodes that have databases

    for name, database in member.config.data.databases.items():
        try:
            found = (
                degraded(
                    "answers, and the account could write", "give the node an account that may only read"
                )
                if can_write(database, name)
                else ok("answers, the account may only read")
            )
        except DataError as error:
            found = refused(error)
        yield Line(f"database {name}", found)
