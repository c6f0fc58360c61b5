"""Check the walls that import-linter cannot express; prints each breach and exits 1.

1. Only modules named ``service.py`` or ``client.py``, or in a folder ``service`` or ``client``, import generated stubs.
2. Outside ``veilmatch_crypto``, only its public names are imported: ``from veilmatch_crypto import ...``.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("policy", "evidence", "transport", "node", "coordinator", "cli")
STUBS, CRYPTO = "veilmatch_wire", "veilmatch_crypto"
WIRE_MODULES = {"service.py", "client.py"}
WIRE_FOLDERS = {"service", "client"}


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of every import."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, name.name) for name in names)
            case ast.ImportFrom(module=str(module)):
                yield node.lineno, module


def breaches(path: Path) -> Iterator[str]:
    """Yield what a module imports against the walls."""
    for line, module in imported(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            module.split(".")[0] == STUBS
            and path.name not in WIRE_MODULES
            and path.parent.name not in WIRE_FOLDERS
        ):
            yield f"{path}:{line}: imports generated stubs; only {' and '.join(sorted(WIRE_MODULES))} do"
        if module.startswith(f"{CRYPTO}."):
            yield f"{path}:{line}: imports {module}; import public names from {CRYPTO}"


def main() -> int:
    """Run the command line."""
    found = [
        breach for package in PACKAGES for path in Path(package).rglob("*.py") for breach in breaches(path)
    ]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
