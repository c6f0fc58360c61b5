"""A job's folder is written once, for its owner only, and its index lists every file."""

import json
import stat

import pytest

from veilmatch_crypto import IdentityKey, verify
from veilmatch_evidence.package import Index, PackageWriter, signed_index

KEY = IdentityKey.from_bytes(bytes(range(32)))
JOB = "0f" * 16


def test_what_is_kept_is_listed_and_signed(tmp_path):
    folder = tmp_path / "aid" / JOB
    writer = PackageWriter(folder, JOB)
    assert (
        writer.put("epoch.json", b"{}") == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    )
    contributed = writer.contribution("tax", 3, 1, b"c", b"\1" * 64)
    blank, product = writer.combined(3, 1, b"b", b"p", b"\2" * 64)
    writer.finish(KEY, "federation", "ended")
    data = (folder / "index.json").read_bytes()
    verify(KEY.public, signed_index(data), bytes.fromhex((folder / "index.json.sig").read_text()))
    index = Index.model_validate_json(data)
    assert (index.job, index.trust, index.status) == (JOB, "federation", "ended")
    assert set(index.files) == {
        *("epoch.json", "digests.json"),
        *("contributions/tax/3-1.bin", "B/3-1.bin", "product/3-1.bin"),
    }
    assert json.loads((folder / "digests.json").read_text()) == [
        {"file": "contributions/tax/3-1.bin", "sha256": contributed, "signature": "01" * 64},
        {"file": "B/3-1.bin", "sha256": blank, "signature": "02" * 64},
        {"file": "product/3-1.bin", "sha256": product, "signature": "02" * 64},
    ]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_nothing_is_written_twice(tmp_path):
    writer = PackageWriter(tmp_path / JOB, JOB)
    writer.put("manifest.json", b"1")
    with pytest.raises(FileExistsError):
        writer.put("manifest.json", b"2")
    with pytest.raises(FileExistsError):
        PackageWriter(tmp_path / JOB, JOB)
    assert (tmp_path / JOB / "manifest.json").read_bytes() == b"1"
