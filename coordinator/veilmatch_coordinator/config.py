"""The coordinator's configuration file: its keys, state and peers (docs/configuration.md)."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from veilmatch_transport.settings import Federation, Section, Tls


class Keys(Section):
    """Files of 32-byte private keys in hex, mode 0600."""

    identity: Path  # Ed25519: signs


class CoordinatorConfig(Section):
    """The whole file."""

    name: str
    listen: str  # host:port to listen on
    workers: Annotated[int, Field(ge=1, le=256)] = 1  # processes that combine
    store: Path  # SQLite file, made when absent
    evidence: Path  # folder for what an auditor gets
    federation: Federation
    tls: Tls
    keys: Keys
