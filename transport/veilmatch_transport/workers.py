"""Where a service's heavy work runs: in its own process, in processes beside it, or on the department's cluster.

``[workers]`` of a node encrypts, decrypts and multiplies for the linkage, of a coordinator combines.  The cluster
is a library of its own, an extra, and loaded only where the configuration asks for it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificates
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from veilmatch_crypto import Pool, is_key_file, make_executor
from veilmatch_transport.health import Finding
from veilmatch_transport.secrets_at_rest import read_tls_key
from veilmatch_transport.settings import Section, SettingsError, Tls, read_file

if TYPE_CHECKING:
    from veilmatch_transport.cluster import ClusterExecutor

_TLS: Final = "tls://"


@dataclass(frozen=True)
class Cluster:
    """A dask scheduler's address, ``tls://host:port``, and this service's side of the cluster's own TLS, PEM files."""

    address: str
    ca: Path
    certificate: Path
    key: Path


def _encrypted(address: str) -> str:
    if not address.startswith(_TLS):
        raise ValueError(
            "keys and randomness travel to the workers, so the line must be encrypted: say tls://host:port"
        )
    if re.fullmatch(r"(?:[^\s:\[\]/]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}", address.removeprefix(_TLS)) is None:
        raise ValueError("say tls://host:port, or tls://[host]:port for IPv6")
    return address


class WorkersSettings(Section):
    """Which engine does the work, and where it is."""

    engine: Literal["processes", "dask"] = "processes"
    count: Annotated[int, Field(ge=1, le=256)] = 1  # processes; with one the work stays in the service's own
    address: Annotated[str, AfterValidator(_encrypted)] | None = None  # of a dask scheduler
    ca: Path | None = None  # PEM: the cluster's own certificate authority, not the federation's root
    certificate: Path | None = None  # PEM: this service's certificate from it
    key: Path | None = None  # PEM, not encrypted, mode 0600

    @model_validator(mode="after")
    def _one_engine(self) -> Self:
        if self.engine == "dask" and self.cluster is None:
            raise ValueError("the engine dask needs address, ca, certificate and key")
        if self.engine == "dask" and "count" in self.model_fields_set:
            raise ValueError("count is of processes; a dask cluster has as many workers as were started")
        if self.engine == "processes" and self.model_fields_set - {"engine", "count"}:
            raise ValueError('address, ca, certificate and key are for engine = "dask"')
        return self

    @property
    def cluster(self) -> Cluster | None:
        """The cluster, where the engine is one."""
        match self:
            case WorkersSettings(
                address=str(address), ca=Path() as ca, certificate=Path() as certificate, key=Path() as key
            ):
                return Cluster(address, ca, certificate, key)
        return None


def _with_count(workers: object) -> object:
    """``workers = 4``, the short form: so many processes."""
    return workers if isinstance(workers, Mapping | WorkersSettings) else {"count": workers}


Workers = Annotated[WorkersSettings, BeforeValidator(_with_count)]


def make_workers(settings: WorkersSettings) -> Pool:
    """Start the workers that a configuration names, or what reaches them when they are first used.

    Raises SettingsError where the extra ``dask`` is not installed.
    """
    return make_executor(settings.count) if settings.cluster is None else reach(settings.cluster)


def reach(cluster: Cluster) -> "ClusterExecutor":
    """Return what reaches a cluster when it is first used.  Raises SettingsError where dask is not installed."""
    try:
        from veilmatch_transport.cluster import ClusterExecutor  # noqa: PLC0415  an extra, for services with a cluster
    except ModuleNotFoundError as error:
        raise SettingsError(
            f'[workers]: engine = "dask" needs {error.name}, which is not installed; install veilmatch[dask]'
        ) from None
    return ClusterExecutor(cluster)


def checks_of(workers: Pool) -> Mapping[str, Callable[[], Finding]]:
    """What health asks of workers: of a cluster whether it can work, of processes, which are started anew, nothing."""
    health = getattr(workers, "health", None)
    return {} if health is None else {"workers": health}


def check_workers(settings: WorkersSettings, tls: Tls) -> None:
    """Raise SettingsError where the files of a cluster are wrong; ``tls`` is the service's side of the federation.

    That is, where its certificate authority is the federation's, or its key is not private.
    """
    cluster = settings.cluster
    if cluster is None:
        return
    if is_key_file(read_file(cluster.key).decode("ascii", errors="replace")):
        raise SettingsError(
            f"{cluster.key}: is an encrypted key file, which dask cannot read; give plain PEM of mode 0600"
        )
    read_tls_key(cluster.key, None)
    if _certified(cluster.ca) & _certified(tls.root):
        raise SettingsError(
            f"{cluster.ca}: certifies the federation's members, too, and each of them could pose as the cluster; "
            "make a certificate authority for the cluster alone"
        )


def _certified(path: Path) -> set[bytes]:
    """The public keys whose owners' certificates are accepted."""
    try:
        certificates = load_pem_x509_certificates(read_file(path))
    except ValueError:
        raise SettingsError(f"{path}: is no PEM certificate; restore it") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return {certificate.public_key().public_bytes(*form) for certificate in certificates}
