"""How a federation is made and how members join, renew and leave it (docs/join.md)."""
