"""Every revision of the coordinator's tables, in order (veilmatch_transport.stores.schema)."""
