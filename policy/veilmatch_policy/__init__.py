"""Catalogs, policies, and what follows from them: checks, plan, words, directory, epoch, manifest.

No network and no secrets.  docs/policies.md has the formats, docs/protocol.md the documents.
"""
