"""Runs a command as a systemd unit would confine it, as far as that needs no systemd: confined.py UNIT COMMAND...

MemoryDenyWriteExecute (by the kernel's own PR_SET_MDWE), NoNewPrivileges, and the unit's SystemCallFilter.
"""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1  # linux/prctl.h
SCMP_ACT_ALLOW, SCMP_ACT_EPERM = 0x7FFF0000, 0x00050001  # seccomp.h
EX_UNAVAILABLE = 69  # sysexits.h: this machine cannot


def settings(unit: Path, name: str) -> list[str]:
    """Every value that a unit gives to a setting, in order."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def sets() -> dict[str, list[str]]:
    """What systemd's sets of system calls (@name) hold: calls, and other sets."""
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, list[str]] = {}
    for line in said.splitlines():
        if line.startswith("@"):
            members = found.setdefault(line.strip(), [])
        elif line.startswith(" ") and not line.strip().startswith("#"):
            members.append(line.strip())
    return found


def allowed(unit: Path) -> set[str]:
    """What the unit's filter leaves: systemd.exec(5), SystemCallFilter; @default is always allowed."""
    known = sets()

    def calls(names: list[str]) -> set[str]:
        return {call for name in names for call in (calls(known[name]) if name in known else [name])}

    left: set[str] = set()
    for value in settings(unit, "SystemCallFilter"):
        named = calls(value.removeprefix("~").split())
        left = left - named if value.startswith("~") else left | named
    return left | calls(["@default"])


def confine(unit: Path) -> None:
    """Confine this process, and whatever it starts, for good."""
    names = allowed(unit)
    libc, seccomp = ctypes.CDLL(None), ctypes.CDLL("libseccomp.so.2")
    if settings(unit, "MemoryDenyWriteExecute") == ["true"] and libc.prctl(
        PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0
    ):
        sys.exit(EX_UNAVAILABLE)  # Linux 6.3 and newer can
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    seccomp.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint]
    seccomp.seccomp_load.argtypes = [ctypes.c_void_p]
    rules = seccomp.seccomp_init(SCMP_ACT_EPERM)
    for name in names:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # of other machine types or kernels
            seccomp.seccomp_rule_add(rules, SCMP_ACT_ALLOW, number, 0)
    if seccomp.seccomp_load(rules):
        sys.exit(EX_UNAVAILABLE)


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
