"""What tasks had goes back to the system."""

import os
import threading
from pathlib import Path

from veilmatch_transport.memory import give_back


def resident():
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_what_a_thread_freed_is_given_back():
    """Blocks below the C library's limit for mappings of their own, kept from shrinking by one that lives on."""
    kept = []

    def work():
        blocks = [os.urandom(4096) for _ in range(16_384)]  # 64 MiB
        kept.append(os.urandom(4096))
        del blocks

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    before = resident()
    give_back()
    assert resident() < before - (32 << 20)
