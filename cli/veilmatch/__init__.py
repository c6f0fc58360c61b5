"""The command `veilmatch`: checks, local federations, the demo, the services."""

import os

# Before gRPC is imported: its core prints lines of its own beside ours.  Whoever looks for them sets it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
