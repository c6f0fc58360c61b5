"""The department's cluster, where the configuration has one: it answers, and its machines are fit for secrets."""

from collections.abc import Iterator
from dataclasses import replace

from veilmatch.doctor.examination import Examined, Line, refused
from veilmatch.operator import OperatorConfig
from veilmatch_transport import SettingsError, WorkersError, check_workers
from veilmatch_transport.workers import reach


def look(member: Examined) -> Iterator[Line]:
    """Reach the cluster as the service does, and leave it again."""
    config = member.config
    if isinstance(config, OperatorConfig) or config.workers.cluster is None:
        return
    try:
        check_workers(config.workers, config.tls)
        with reach(config.workers.cluster) as workers:
            found = workers.look()
    except (SettingsError, WorkersError) as error:
        found = refused(error)
        found = replace(found, what=found.what.removeprefix("workers: "))
    yield Line("workers", found)
