"""A party in a process of its own, to be killed: ``transport_peer.py serve|dial DIRECTORY [PORT]``.

``serve`` prints its port and echoes; ``dial`` sends messages until it is stopped.
"""

import sys
import time
from pathlib import Path

from google.protobuf.wrappers_pb2 import BytesValue
from transport_world import FEDERATION, SERVICE, TABLE, desk, echo, work

from veilmatch_transport.channel import open_channel
from veilmatch_transport.lifetime import Lifetime
from veilmatch_transport.roles import RoleGate
from veilmatch_transport.server import Server
from veilmatch_transport.streams import open_stream
from veilmatch_transport.tls import TlsIdentity


class Everyone:
    def roles_of(self, _name, _fingerprint):
        return frozenset({"coordinator"})


def main(mode, directory, port="0"):
    identity = TlsIdentity(*(Path(directory, name).read_bytes() for name in ("root", "certificate", "key")))
    if mode == "serve":
        with Server(identity, RoleGate(FEDERATION, Everyone(), TABLE)) as server:
            server.add(SERVICE, lambda s: s.add_generic_rpc_handlers((desk(echo),)))
            sys.stdout.write(f"{server.start('127.0.0.1:0')}\n")
            sys.stdout.flush()
            with Lifetime() as lifetime:
                server.serve_until(lifetime)
        sys.stdout.write("stopped\n")
    else:
        with open_channel(f"127.0.0.1:{port}", "tax", identity) as channel:
            stream = open_stream(work(channel), "tax")
            while True:
                stream.send(BytesValue(value=b"x"))
                time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
