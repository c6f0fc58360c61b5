"""A federation on this machine: root, certificates, keys, signed directory, configurations.

The root is thrown away with the folder.  Every officer's key lies beside its node's: whoever runs
this stands for all of them, and the evidence says so (``trust: one-machine``).
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from veilmatch.officers import Officers
from veilmatch_crypto import (
    LOOPBACK,
    AgreementKey,
    Credential,
    IdentityKey,
    Validity,
    fingerprint,
    issue,
    make_root,
)
from veilmatch_policy.check import EXTRA_DEALER
from veilmatch_policy.directory import Member, encode_directory, signed_bytes
from veilmatch_transport import TlsIdentity, server_name

FEDERATION = "local"
COORDINATOR = "coordinator"
OPERATOR = "operator"

_TRUSTEES = 2  # protocol.md, 1
_VALID_DAYS = 2  # a run takes minutes
# Whoever runs this has all the data: a budget would keep nothing from them.
_NO_LIMITS = {"runs_an_epoch": 10**6, "runs_a_year": 10**6, "epsilon_a_year": 10**6, "exact_counts": True}


@dataclass(frozen=True)
class NodePlan:
    """One department of the federation: its data folder, where it listens (None: it dials out), its databases."""

    folder: Path
    address: str | None
    databases: Mapping[str, str]


@dataclass(frozen=True)
class LocalFederation:
    """Configuration files by member, and how the operator reaches the coordinator."""

    configs: Mapping[str, Path]
    addresses: Mapping[str, str]
    operator: TlsIdentity


def make_federation(
    folder: Path,
    out: Path,
    nodes: Mapping[str, NodePlan],
    coordinator: str,
    *,
    workers: int,
    dealers: tuple[str, ...] = (),
    register: str | None = None,
    officers: Officers | None = None,
) -> LocalFederation:
    """Write everything that the members need below ``folder`` (mode 0700), results and evidence below ``out``.

    ``coordinator`` is its address.  The first two departments, in the order of their names, are
    the trustees.  ``dealers`` and ``register`` are as the directory states them.  With ``officers`` departments
    have officers of their own; the node without data, and without them every node, decides for itself.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    root = IdentityKey.generate() if officers is None else officers.root()
    tls_root = make_root(FEDERATION, Validity.for_days(_VALID_DAYS))
    members: dict[str, Member] = {}
    configs: dict[str, Path] = {}
    names = sorted(nodes)
    for name in names:
        home = _home(folder, name)
        identity, sealing = IdentityKey.generate(), AgreementKey.generate()
        certificate = _certificate(tls_root, name, home)
        officer, officers_file = _officer(home, name, officers)
        keys = {
            "identity": _secret(home / "identity.key", identity.to_bytes()),
            "sealing": _secret(home / "sealing.key", sealing.to_bytes()),
            "store": _secret(home / "store.key", secrets.token_bytes(32)),
            **officers_file,
        }
        plan = nodes[name]
        members[name] = Member(
            role="node",
            address=plan.address or "",
            certificate=certificate,
            identity=identity.public.hex(),
            sealing=sealing.public.hex(),
            officer=officer,
        )
        configs[name] = _config(
            home,
            folder,
            root,
            {
                "name": name,
                **({"listen": plan.address} if plan.address else {"connect": True}),
                "linkage": ["oprf", "shared-key"],
                "workers": workers,
                "store": "state.sqlite",
                "log": "evidence.log",
                "budget": _NO_LIMITS,
                "reports": str(out / "reports" / name),
                "results": str(out),
                "keys": keys,
                "data": {"folder": str(plan.folder.resolve()), "databases": dict(plan.databases)},
            },
        )
    for name, role in ((COORDINATOR, "coordinator"), (OPERATOR, "operator")):
        home = _home(folder, name)
        identity = IdentityKey.generate()
        certificate = _certificate(tls_root, name, home)
        members[name] = Member.model_validate(
            {
                "role": role,
                "address": coordinator if name == COORDINATOR else "",
                "certificate": certificate,
                "identity": identity.public.hex(),
            }
        )
        if name == COORDINATOR:
            settings = {
                "name": name,
                "listen": coordinator,
                "workers": workers,
                "store": "state.sqlite",
                "log": "evidence.log",
                "evidence": str(out / "evidence"),
                "keys": {"identity": _secret(home / "identity.key", identity.to_bytes())},
            }
            configs[name] = _config(home, folder, root, settings)
    (folder / "root.pem").write_bytes(tls_root.certificate)
    directory = encode_directory(
        FEDERATION, 1, tuple(names[:_TRUSTEES]), members, {}, dealers=dealers, register=register
    )
    (folder / "federation.toml").write_bytes(directory)
    (folder / "federation.toml.sig").write_text(root.sign(signed_bytes(directory)).hex() + "\n")
    operator = TlsIdentity(
        root=tls_root.certificate,
        certificate=(folder / OPERATOR / "node.pem").read_bytes(),
        key=(folder / OPERATOR / "node.key").read_bytes(),
    )
    addresses = {name: plan.address for name, plan in nodes.items() if plan.address}
    return LocalFederation(configs, {**addresses, COORDINATOR: coordinator}, operator)


def _officer(home: Path, name: str, officers: Officers | None) -> tuple[str, dict[str, str]]:
    """A department's officer's public key, and the node's setting that goes with it."""
    if officers is not None and name != EXTRA_DEALER:
        return officers.public(name), {"quota": str(officers.quota(name))}
    officer = IdentityKey.generate()
    return officer.public.hex(), {"officer": _secret(home / "officer.key", officer.to_bytes())}


def _home(folder: Path, name: str) -> Path:
    home = folder / name
    home.mkdir(mode=0o700)
    return home


def _certificate(root: Credential, name: str, home: Path) -> str:
    credential = issue(
        root, name, hosts=[*LOOPBACK, server_name(name)], validity=Validity.for_days(_VALID_DAYS - 1)
    )
    (home / "node.pem").write_bytes(credential.certificate)
    key = home / "node.key"
    key.touch(mode=0o600)
    key.write_bytes(credential.key)
    return fingerprint(credential.certificate)


def _secret(path: Path, secret: bytes) -> str:
    path.touch(mode=0o600)
    path.write_text(secret.hex() + "\n")
    return path.name


def _config(home: Path, folder: Path, root: IdentityKey, settings: dict[str, object]) -> Path:
    settings = {
        **settings,
        "federation": {"directory": str(folder.resolve() / "federation.toml"), "root": root.public.hex()},
        "tls": {"root": str(folder.resolve() / "root.pem"), "certificate": "node.pem", "key": "node.key"},
    }
    path = home / "config.toml"
    path.write_text(tomli_w.dumps(settings))
    return path
