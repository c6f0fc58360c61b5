"""Every revision of a node's tables, in order (veilmatch_transport.stores.schema)."""
