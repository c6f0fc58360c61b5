"""A node's configuration file: where its data, keys, state and peers are (docs/configuration.md)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from veilmatch_transport.settings import Federation, Section, Tls


class Keys(Section):
    """Files of 32-byte private keys in hex, mode 0600."""

    identity: Path  # Ed25519: signs
    sealing: Path  # X25519: opens what is sealed to this node
    store: Path  # AES-256: encrypts what the store keeps
    quota: Path | None = None  # how many identities the data officer signed (quota.py)
    officer: Path | None = None  # Ed25519 of the data officer; only where one machine stands for all

    @model_validator(mode="after")
    def _one_quota(self) -> Self:
        if self.quota is not None and self.officer is not None:
            raise ValueError("say either quota or officer: with the officer's key the node signs for itself")
        return self


class Data(Section):
    """The department's folder with its catalog, and its databases."""

    folder: Path
    databases: Mapping[str, str] = Field(default_factory=dict)  # name in the catalog -> URL


class NodeConfig(Section):
    """The whole file."""

    name: str
    listen: str | None = None  # host:port to listen on
    connect: bool = False  # dial the coordinator instead and wait for work there
    linkage: tuple[Literal["oprf", "shared-key"], ...] = ("oprf",)  # modes that the department agrees to
    workers: Annotated[int, Field(ge=1, le=256)] = 1  # processes that encrypt and decrypt
    store: Path  # SQLite file, made when absent
    reports: Path  # folder for the linkage report and the list of refused rows
    results: Path  # folder for the results of policies that this node receives
    federation: Federation
    tls: Tls
    keys: Keys
    data: Data

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.listen is None) != self.connect:
            raise ValueError('say either listen = "host:port" or connect = true')
        return self
