"""The command `veilmatch`: checks, local federations, the demo, the services."""
