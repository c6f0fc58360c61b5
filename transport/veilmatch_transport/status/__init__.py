"""What parties say of themselves: release, role, time and directory version (proto/veilmatch_wire/v1/status.proto)."""

from veilmatch_transport.status.client import Said, ask_status
from veilmatch_transport.status.service import ROLES, SERVICE, register

__all__ = ["ROLES", "SERVICE", "Said", "ask_status", "register"]
