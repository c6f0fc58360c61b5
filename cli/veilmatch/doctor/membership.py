"""The directory: signed by the root, with this member's own entry, and none older than one seen."""

from collections.abc import Iterator

from veilmatch.doctor.examination import Examined, Line, refused
from veilmatch_coordinator.config import CoordinatorConfig
from veilmatch_crypto import AgreementKey, IdentityKey
from veilmatch_node.config import NodeConfig
from veilmatch_policy.errors import DirectoryError
from veilmatch_transport import SettingsError, read_directory, read_secret, require_key, require_member
from veilmatch_transport.health import ok


def look(member: Examined) -> Iterator[Line]:
    """Look at the directory, then whether it lists this member with what it has."""
    config = member.config
    try:
        directory = member.directory = read_directory(config.federation, oldest=1)
    except (SettingsError, DirectoryError) as error:
        yield Line("directory", refused(error))
        return
    yield Line(
        "directory",
        ok(f"version {directory.version} of {directory.federation}, {len(directory.members)} members"),
    )
    try:
        if member.tls is not None:
            require_member(directory, config.name, member.role, member.tls)
        if isinstance(config, NodeConfig | CoordinatorConfig):
            identity = IdentityKey.from_bytes(read_secret(config.keys.identity, "identity", member.unlock))
            require_key(config.keys.identity, identity.public, directory.identity(config.name))
        if isinstance(config, NodeConfig):
            sealing = AgreementKey.from_bytes(read_secret(config.keys.sealing, "sealing", member.unlock))
            require_key(config.keys.sealing, sealing.public, directory.sealing(config.name))
        yield Line("own entry", ok(f"{config.name} is listed with these keys"))
    except (SettingsError, DirectoryError) as error:
        yield Line("own entry", refused(error))
