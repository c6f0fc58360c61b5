"""A federation that is made with the command line, in this process: what tests of joining start from."""

from dataclasses import dataclass
from pathlib import Path

from command_line import Ended, run_here

from veilmatch.membership.home import Asked, make_home
from veilmatch.membership.root import Root
from veilmatch.membership.state import Overview
from veilmatch_crypto import Passphrase, key_files, key_fingerprint

# Of the root, of services and of officers: nobody has another's.
WORDS = {
    "ROOT_WORDS": "the root's words",
    "VEILMATCH_PASSPHRASE": "the service's",
    "OFFICER_WORDS": "the officer's",
}


@dataclass
class World:
    """Folders below ``folder``: ``root``, and one a member."""

    folder: Path
    capsys: object

    def __call__(self, *arguments: object) -> Ended:
        """Run a command; say where its passphrase is, if it did not."""
        words = list(arguments)
        if "--unlock" not in words and words[1] not in {"show", "join"}:  # they ask for none
            who = "OFFICER_WORDS" if words[1] in {"officer", "quota"} else "VEILMATCH_PASSPHRASE"
            words += ["--unlock", f"env:{'ROOT_WORDS' if words[0] == 'federation' else who}"]
        return run_here(self.capsys, *words)

    def done(self, *arguments: object) -> str:
        """Run a command that works; what it printed."""
        ended = self(*arguments)
        assert (ended.code, ended.err) == (0, ""), ended.err
        return ended.out

    def refused(self, *arguments: object, code: int = 2) -> str:
        """Run a command that is refused; the one line."""
        ended = self(*arguments)
        assert ended.code == code, ended
        return ended.line()

    def home(self, name: str) -> Path:
        """A member's folder, or the root's."""
        return self.folder / name

    @property
    def root(self) -> Path:
        """The root's folder."""
        return self.home("root")

    @property
    def fingerprint(self) -> str:
        """What the root's office says on the telephone."""
        return key_fingerprint(Overview.read(self.root).public)

    @property
    def state(self):
        """What the root has decided so far."""
        return Overview.read(self.root).state

    def request(self, name: str) -> Path:
        """A member's request."""
        return self.home(name) / f"{name}.request"

    def reply(self, name: str) -> Path:
        """The root's reply to a member."""
        return self.root / "replies" / f"{name}.reply"

    def init(self, *departments: str, office: bool = True) -> None:
        """Make members' keys and requests; the departments listen."""
        for name in departments:
            self.done("node", "init", name, "--home", self.home(name), "--address", f"{name}.example:7443")
        if office:
            address = ("--address", "office.example:7443")
            self.done("coordinator", "init", "coordinator", "--home", self.home("coordinator"), *address)
            self.done("coordinator", "init", "operator", "--home", self.home("operator"), "--operator")

    def add(self, *names: str) -> str:
        """Have the root take members in."""
        requests = [self.request(name) for name in names]
        return self.done("federation", "add", *requests, "--home", self.root, "--compared")

    def join(self, name: str, *more: object) -> Ended:
        """Take the root's reply."""
        group = "coordinator" if name in {"coordinator", "operator"} else "node"
        return self(group, "join", self.reply(name), "--home", self.home(name), *more)


def cheap_keys(patch) -> None:
    """Keys are encrypted as always, but deriving their key takes no time; a file states its own parameters."""
    patch.setattr(key_files, "_USUAL", key_files._Cost(16, 1, 1))


def make_members(folder: Path) -> None:
    """A root in version 1 with two departments, coordinator and operator, as `init` and `add` make them."""
    root = Root.create(folder / "root", "example", Passphrase(WORDS["ROOT_WORDS"]))
    service = Passphrase(WORDS["VEILMATCH_PASSPHRASE"])
    asked = (
        ("housing", "node", Asked(address="housing.example:7443")),
        ("tax", "node", Asked(address="tax.example:7443")),
        ("coordinator", "coordinator", Asked(address="office.example:7443")),
        ("operator", "operator", Asked()),
    )
    root.add([make_home(folder / name, name, role, of, service) for name, role, of in asked])
