"""A job's folder is written once, for its owner only, and its index lists every file; also after a crash."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from veilmatch_crypto import IdentityKey, verify
from veilmatch_evidence import package
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


# After a crash.


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def listed(folder):
    return set(Index.model_validate_json((folder / "index.json").read_bytes()).files)


def test_a_package_that_is_signed_is_only_published(tmp_path):
    writer = PackageWriter(tmp_path / "unfinished" / JOB, JOB)
    writer.put("epoch.json", b"{}")
    writer.finish(KEY, "federation", "ended")
    whole = files(tmp_path / "unfinished" / JOB)
    resumed = PackageWriter.resume(tmp_path / "unfinished" / JOB, JOB)
    assert resumed.finished
    (tmp_path / "evidence" / "aid").mkdir(parents=True)
    resumed.publish(tmp_path / "evidence" / "aid" / JOB)
    assert files(tmp_path / "evidence" / "aid" / JOB) == whole
    assert not (tmp_path / "unfinished" / JOB).exists()


def test_a_signature_beside_the_journal_may_be_half_written(tmp_path):
    writer = PackageWriter(tmp_path / JOB, JOB)
    writer.put("epoch.json", b"{}")
    for name in ("digests.json", "index.json", "index.json.sig"):
        (tmp_path / JOB / name).write_bytes(b"half")
    resumed = PackageWriter.resume(tmp_path / JOB, JOB)
    assert not resumed.finished
    resumed.finish(KEY, "federation", "ended")
    assert files(tmp_path / JOB) == listed(tmp_path / JOB) | {"index.json", "index.json.sig"}


@pytest.mark.parametrize("lost", ["B/0-0.bin", "product/0-0.bin", "contributions/tax/0-0.bin"])
def test_what_cannot_be_multiplied_again_is_left_out(tmp_path, lost):
    writer = PackageWriter(tmp_path / JOB, JOB)
    for chunk in (0, 1):
        for party in ("housing", "tax"):
            writer.contribution(party, 0, chunk, b"c", b"\1" * 64)
        writer.combined(0, chunk, b"b", b"p", b"\2" * 64)
    (tmp_path / JOB / lost).write_bytes(b"")  # as a power cut leaves a file that was not synced
    resumed = PackageWriter.resume(tmp_path / JOB, JOB)
    resumed.drop_partial({0: ("housing", "tax")})
    resumed.finish(KEY, "federation", "ended")
    whole = {f"contributions/{party}/0-1.bin" for party in ("housing", "tax")}
    rest = {"contributions/housing/0-0.bin", "contributions/tax/0-0.bin"} - {lost}
    assert listed(tmp_path / JOB) == whole | rest | {"B/0-1.bin", "product/0-1.bin", "digests.json"}
    assert files(tmp_path / JOB) == listed(tmp_path / JOB) | {"index.json", "index.json.sig"}
    digests = json.loads((tmp_path / JOB / "digests.json").read_bytes())
    assert {each["file"] for each in digests} == listed(tmp_path / JOB) - {"digests.json"}


def test_a_journal_that_was_cut_off_goes_on_behind_its_last_whole_line(tmp_path):
    writer = PackageWriter(tmp_path / JOB, JOB)
    writer.put("epoch.json", b"{}")
    with (tmp_path / JOB / "journal").open("ab") as journal:
        journal.write(b'{"file":"mani')
    PackageWriter.resume(tmp_path / JOB, JOB).put("manifest.json", b"1")
    assert PackageWriter.resume(tmp_path / JOB, JOB).files == {"epoch.json", "manifest.json"}


def test_of_a_file_that_the_disk_does_not_take_nothing_stays(tmp_path, monkeypatch):
    writer = PackageWriter(tmp_path / JOB, JOB)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(package, "_append", full)
        with pytest.raises(OSError, match="No space"):
            writer.put("manifest.json", b"1")
    assert files(tmp_path / JOB) == set()
    writer.put("manifest.json", b"1")


def test_every_file_and_folder_is_on_disk_before_the_package_has_its_place(tmp_path, monkeypatch):
    synced, real = set(), os.fsync

    def fsync(descriptor):
        synced.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(package.os, "fsync", fsync)
    job, place = tmp_path / "evidence.unfinished" / JOB, tmp_path / "evidence" / "aid" / JOB
    writer = PackageWriter(job, JOB)
    writer.put("manifest.json", b"1")
    writer.sync()
    begun = {str(job / "manifest.json"), str(job / "journal"), *map(str, (job, job.parent, tmp_path))}
    assert synced == begun
    synced.clear()
    writer.combined(0, 0, b"b", b"p", b"\2" * 64)
    assert not synced  # a chunk waits for nothing
    writer.finish(KEY, "federation", "ended")
    written = files(job) - {"manifest.json"}
    assert synced >= {str(job / name) for name in written} | {str(job / "B"), str(job / "product"), str(job)}
    synced.clear()
    place.parent.mkdir(parents=True)
    writer.publish(place)
    assert synced == set(map(str, (place.parent, place.parents[1], tmp_path, job.parent)))
