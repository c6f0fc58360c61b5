"""What each party did, so that somebody else can check it: logs, packages, verification (protocol.md, 7)."""
