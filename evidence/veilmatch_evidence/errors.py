"""What can go wrong with evidence: one line each, nothing personal in it."""


class EvidenceError(Exception):
    """Base of everything that this package raises on purpose: ``WHERE: WHAT; REMEDY``, one line."""

    exit_code = 6  # of a command that ends with it (docs/exit-codes.md)


class LogError(EvidenceError):
    """A party's log cannot be read or written; the party stops serving (protocol.md, 7)."""

    exit_code = 5


class EvidenceRefusedError(EvidenceError):
    """A package does not verify; the line names the file and, where there is one, the record."""
