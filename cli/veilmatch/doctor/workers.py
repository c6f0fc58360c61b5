"""The department's cluster, where the configuration has one: it answers, and its machines are fit for secrets."""

from collections.abc import Iterator

from veilmatch.doctor.examination import Examined, Line, refused
from veilmatch.operator import OperatorConfig
from veilmatch_transport import SettingsError, WorkersError, make_workers
from veilmatch_transport.health import ok


def look(member: Examined) -> Iterator[Line]:
    """Reach the cluster as the service does, and leave it again."""
    config = member.config
    if isinstance(config, OperatorConfig) or config.workers.cluster is None:
        return
    try:
        with make_workers(config.workers, config.tls) as pool:
            found = ok(f"{config.workers.cluster.address} answers, {pool.at_once} threads work at once")
    except (SettingsError, WorkersError) as error:
        found = refused(error)
    yield Line("workers", found)
