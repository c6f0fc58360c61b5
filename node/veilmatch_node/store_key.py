"""A new key for a node's store, while the node does not run (docs/operations.md).

The new key is on disk before anything is locked under it, and in the old one's place only afterwards: whoever is
interrupted runs the command again.
"""

import secrets
from pathlib import Path

from veilmatch_crypto import SealError, Vault
from veilmatch_node.config import NodeConfig
from veilmatch_node.store import NodeStore
from veilmatch_node.whole_file import write_whole
from veilmatch_transport import load_settings, read_passphrase, read_secret


def rotate_store_key(path: Path) -> Path:
    """Lock all that a node's store keeps under a new key; where the old key lies now.

    The new key is in a file like the old one's, under the same passphrase where that is encrypted.  Raises
    SettingsError, also where the node runs; SealError where neither key opens the store.
    """
    config = load_settings(path, NodeConfig)
    unlock = read_passphrase(config.keys.unlock, path.parent)
    file = config.keys.store
    new_file, old_file = file.with_name(f"{file.name}.new"), file.with_name(f"{file.name}.old")
    old = Vault(read_secret(file, "store", unlock))
    if not new_file.exists():
        key = secrets.token_bytes(32)
        write_whole(new_file, (key.hex() if unlock is None else unlock.lock("store", key)).encode())
    new = Vault(read_secret(new_file, "store", unlock))
    store = NodeStore(config.store, old)
    try:
        store.relock(old, new)
    except SealError:  # an earlier run came as far as this
        store.relock(new, new)
    finally:
        store.close()
    write_whole(old_file, file.read_bytes())
    new_file.replace(file)
    return old_file
