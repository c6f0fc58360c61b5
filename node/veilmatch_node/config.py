"""A node's configuration file: where its data, keys, state and peers are (docs/configuration.md)."""

from collections.abc import Mapping
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from veilmatch_node.databases import Database
from veilmatch_transport import StoreAddress, Workers, WorkersSettings
from veilmatch_transport.settings import (
    ADDRESS,
    LEAST_LOG,
    Federation,
    LoggingSettings,
    MetricsSettings,
    Section,
    Tls,
    Unlock,
)

_HOST = r"^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_EVERY_ADDRESS = ("0.0.0.0", "[::]")  # noqa: S104  compared with, not listened on


class Keys(Section):
    """Files of private keys, mode 0600: 32 bytes in hex, or encrypted (veilmatch_crypto.key_files)."""

    identity: Path  # Ed25519: signs
    sealing: Path  # X25519: opens what is sealed to this node
    store: Path  # AES-256: encrypts what the store keeps
    unlock: Unlock | None = None  # where the passphrase of encrypted keys is: file:PATH or env:NAME
    quota: Path | None = None  # how many identities the data officer signed (quota.py)
    officer: Path | None = None  # Ed25519 of the data officer; only where one machine stands for all

    @model_validator(mode="after")
    def _one_quota(self) -> Self:
        if self.quota is not None and self.officer is not None:
            raise ValueError("say either quota or officer: with the officer's key the node signs for itself")
        return self


def _with_defaults(database: object) -> object:
    """A database that is given as its URL alone."""
    return {"url": database} if isinstance(database, str) else database


class Data(Section):
    """The department's folder with its catalog, and its databases."""

    folder: Path
    # By name in the catalog.
    databases: Mapping[str, Annotated[Database, BeforeValidator(_with_defaults)]] = Field(
        default_factory=dict
    )


class Budget(Section):
    """What the department gives within an epoch and a rolling year, whoever asks (protocol.md, 7)."""

    runs_an_epoch: Annotated[int, Field(ge=0)] = 3  # of a column group, for each party that learns results
    runs_a_year: Annotated[int, Field(ge=0)] = 12  # the same in any 365 days
    epsilon_a_year: Annotated[Decimal, Field(ge=0)] = Decimal(10)  # of noisy counts, in any 365 days
    exact_counts: bool = False  # whether counts without noise may be asked


class ConsoleSettings(Section):
    """The data officer's page (console/)."""

    listen: Annotated[str, Field(pattern=ADDRESS)]  # host:port, [host]:port for IPv6
    certificate: Path | None = None  # PEM, with key: HTTPS; needed unless the host is this machine's loopback
    key: Path | None = None
    hosts: tuple[Annotated[str, Field(pattern=_HOST)], ...] = ()  # further names of the page, without port
    accounts: Path  # who may log in, made by `veilmatch node account add`
    officer_key: Path | None = None  # the officer's encrypted key; None: decisions are signed elsewhere

    @model_validator(mode="after")
    def _https(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together; give both or none")
        host, _ = self.address
        if self.key is None and host not in _LOOPBACK:
            raise ValueError(f"without certificate and key the page is for {' or '.join(_LOOPBACK)} only")
        return self

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if not self.names:
            raise ValueError(f"{self.listen} is no name; say in hosts how officers' browsers name the page")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host, without brackets, and port."""
        host, _, port = self.listen.rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)

    @property
    def names(self) -> frozenset[str]:
        """Hosts under which the page is reached, as browsers write them: in lower case, IPv6 in brackets."""
        host, _ = self.address
        own = _LOOPBACK if host in _LOOPBACK else (host,)
        return frozenset(map(_in_header, (*own, *self.hosts))).difference(_EVERY_ADDRESS)


def _in_header(host: str) -> str:
    """Write a host as a Host header has it (RFC 9110, 7.2).  Raises ValueError for what is no IPv6 address."""
    return f"[{ip_address(host.strip('[]'))}]" if ":" in host else host.lower()


class NodeConfig(Section):
    """The whole file."""

    name: str
    listen: str | None = None  # host:port to listen on
    connect: bool = False  # dial the coordinator instead and wait for work there
    linkage: tuple[Literal["oprf", "shared-key"], ...] = ("oprf",)  # modes that the department agrees to
    workers: Workers = WorkersSettings()  # that encrypt and decrypt
    store: StoreAddress  # SQLite file, made when absent, or postgresql:// URL
    log: Path  # the hash-chained log of what this node did, made when absent
    reports: Path  # folder for the linkage report and the list of refused rows
    results: Path  # folder for the results of policies that this node receives
    keep_results: Annotated[int, Field(ge=1, le=36_500)] | None = None  # days; None: for good
    keep_log: Annotated[int, Field(ge=LEAST_LOG, le=36_500)] | None = None  # days that its texts are kept
    federation: Federation
    tls: Tls
    keys: Keys
    data: Data
    budget: Budget = Budget()
    console: ConsoleSettings | None = None
    metrics: MetricsSettings | None = None
    logging: LoggingSettings = LoggingSettings()

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.listen is None) != self.connect:
            raise ValueError('say either listen = "host:port" or connect = true')
        return self
