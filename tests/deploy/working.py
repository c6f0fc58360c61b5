"""What services' libraries do that a confined process might not be allowed to: run by test_units.py."""

import ctypes
import mmap
import sys


def gain_execution() -> None:
    """Try what must fail: memory that is written, then run."""
    page = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if protect(address, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) == 0:
        sys.exit("memory became executable")


def main() -> None:
    """Use each of them; what is imported here, the pool's process does not import again."""
    import duckdb
    import gmpy2
    import grpc
    import numpy as np
    import pyarrow as pa

    import veilmatch_coordinator.serve
    import veilmatch_node.serve
    from veilmatch_crypto import IdentityKey, Passphrase, make_executor

    gain_execution()
    assert veilmatch_coordinator.serve, veilmatch_node.serve
    people = pa.table({"wage": np.arange(100_000)})
    found = duckdb.sql("SELECT count(*) FROM people WHERE regexp_matches(wage::text, '^1.*[02468]$')")
    assert found.fetchall() == [(5555,)], people
    assert gmpy2.powmod(3, 2**2048, 2**61 - 1) == pow(3, 2**2048, 2**61 - 1)
    assert Passphrase("correct horse battery").lock("identity", IdentityKey.generate().to_bytes())
    server = grpc.server(None)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(timeout=20)
    server.stop(None)
    with make_executor(2) as pool:
        assert pool.submit(pow, 3, 5).result() == 3**5
    sys.stdout.write("worked\n")


if __name__ == "__main__":
    main()
