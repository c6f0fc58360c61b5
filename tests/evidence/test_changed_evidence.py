"""Whatever is changed in a folder of evidence, `verify` names the file, and in a log the record."""

import hashlib
import os
import shutil

import pytest
from evidence_world import OFFICE, refused

from veilmatch_evidence.package import signed_index
from veilmatch_evidence.records import Record
from veilmatch_evidence.replay import replay
from veilmatch_evidence.verify import verify

POSITIONS = 2  # flipped bytes a file, beside its first and last; a signature has more


def files(package):
    return sorted(path for path in package.rglob("*") if path.is_file())


def names_it(line: str, path, record: int | None = None) -> bool:
    return line.startswith(f"{path}: " if record is None else f"{path}:{record}: ")


def test_honest_evidence_verifies_and_multiplies_again(world, package):
    told = []
    (verified,) = verify(
        package.parent.parent, hashlib.sha256(world.root.public).digest(), lambda *step: told.append(step)
    )
    assert told == [(package.name, done, 4) for done in range(1, 5)]
    assert (verified.folder, verified.job, verified.root) == (package, package.name, world.root.public)
    assert (verified.status, verified.trust) == ("complete", "federation")
    assert verified.policies == ("aid", "counted")
    assert verified.parties == ("housing", "tax", "welfare", "zz-dealer", "office")
    assert (verified.approved, verified.unapproved, verified.chunks) == (6, 2, 4)
    assert (verified.records, verified.withheld) == (46, 0)
    assert replay(package) == [verified]


def test_every_kind_of_file_is_in_the_honest_evidence(package):
    kinds = {path.relative_to(package).parts[0] for path in files(package)}
    assert kinds == {
        *("index.json", "index.json.sig", "federation.toml", "federation.toml.sig", "root.pub"),
        *("epoch.json", "epoch.json.sig", "manifest.json", "approvals.json", "digests.json", "report.json"),
        *("contributions", "B", "product", "logs"),
    }


def test_a_flipped_byte_is_found_in_every_file_and_the_file_named(package):
    for path in files(package):
        data = path.read_bytes()
        step = len(data) // POSITIONS if len(data) > 128 else 16
        for place in {*range(0, len(data), step), len(data) - 1}:
            flipped = data[place] ^ (1 << place % 8)
            path.write_bytes(data[:place] + bytes([flipped]) + data[place + 1 :])
            line = refused(package)
            if path.suffix == ".jsonl":
                assert names_it(line, path, data[:place].count(b"\n") + 1), (line, place)
            elif path.name == "index.json.sig":
                assert names_it(line, package / "index.json")
                assert "index.json.sig" in line
            else:
                assert names_it(line, path), (line, place)
        path.write_bytes(data)
    verify(package)


def test_every_missing_file_is_named(package):
    for path in files(package):
        data = path.read_bytes()
        path.unlink()
        line = refused(package)
        assert path.relative_to(package).as_posix() in line
        assert "is missing" in line
        assert refused(package.parent)  # also where the package is one of a folder's
        path.write_bytes(data)


def test_every_emptied_or_shortened_file_is_named(package):
    for path in files(package):
        data = path.read_bytes()
        for size in (0, len(data) - 1):
            path.write_bytes(data[:size])
            # An index without its signature is what is refused.
            assert f"{path.name}" in refused(package)
        path.write_bytes(data)


def test_every_added_file_is_named(package):
    for name in (
        "note.txt",
        "contributions/tax/9-9.bin",
        "logs/office.jsonl.bak",
        "logs/stranger.jsonl",
        "B/x/y",
    ):
        path = package / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        assert names_it(refused(package), path)
        path.unlink()
    (package / "B" / "x").rmdir()
    (package / "index.json.d").mkdir()
    verify(package)  # a folder without a file says nothing
    for path in (package.parent / "stray", package.parent.parent / "b\x1b[31m\n"):
        path.write_bytes(b"")
        assert "belongs to no evidence" in refused(package.parent.parent)
        path.unlink()
    manifest = package / "manifest.json"
    manifest.rename(package.parent.parent.parent / "elsewhere")
    manifest.symlink_to(package.parent.parent.parent / "elsewhere")  # the same bytes, and not kept here
    line = refused(package)
    assert names_it(line, manifest)
    assert "is neither a file nor a folder" in line


def test_every_exchanged_file_is_named(package):
    chunks = [path for path in files(package) if path.suffix == ".bin"]
    assert len(chunks) == 14
    for one, other in zip(chunks, chunks[1:] + chunks[:1], strict=True):
        data, instead = one.read_bytes(), other.read_bytes()
        one.write_bytes(instead)
        other.write_bytes(data)
        assert names_it(refused(package), min(one, other))
        one.write_bytes(data)
        other.write_bytes(instead)
    logs = [path for path in files(package) if path.suffix == ".jsonl"]
    data = [path.read_bytes() for path in logs]
    for path, instead in zip(logs, data[1:] + data[:1], strict=True):
        path.write_bytes(instead)
    assert names_it(refused(package), logs[0], 1)


def edits(lines):
    """Records removed, repeated, moved back, cut off, and withheld: the content, and the line that is named."""
    for at in {*range(0, len(lines), 5), len(lines) - 1}:
        last = at == len(lines) - 1
        yield lines[:at] + lines[at + 1 :], len(lines) - 1 if last else at + 1
        yield [*lines[: at + 1], lines[at], *lines[at + 1 :]], at + 2
        if not last:
            yield [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]], at + 1
        yield [*lines[:at], lines[at][: len(lines[at]) // 2]], at + 1
        yield (
            [*lines[:at], Record.decode(lines[at][:-1]).withheld().encode() + b"\n", *lines[at + 1 :]],
            at + 1,
        )


def test_removed_repeated_moved_cut_off_and_withheld_records_are_named(package):
    tried = 0
    for path in sorted(package.rglob("*.jsonl")):
        lines = path.read_bytes().splitlines(keepends=True)
        for content, number in edits(lines):
            path.write_bytes(b"".join(content))
            line = refused(package)
            if number == 1:  # without its first record a chain holds still: the index does not
                assert line.startswith(f"{path}:"), (line, number)
            else:
                assert names_it(line, path, number) or names_it(line, path, number + 1), (line, number)
            tried += 1
        path.write_bytes(b"".join(lines))
    assert tried > 60


def test_nothing_is_no_evidence(tmp_path):
    assert "index.json: is missing: there is no evidence here" in refused(tmp_path)
    (tmp_path / "empty" / "folder").mkdir(parents=True)
    refused(tmp_path)
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "nowhere")


def test_another_spelling_of_the_same_is_refused(world, package):
    index, signature = package / "index.json", package / "index.json.sig"
    data, written = index.read_bytes(), signature.read_bytes()
    for other in (written.upper(), written + b"\n", b" " + written):
        signature.write_bytes(other)
        assert names_it(refused(package), index)
    spaced = data.replace(b",", b", ", 1)
    index.write_bytes(spaced)
    signature.write_bytes(world.identities[OFFICE].sign(signed_index(spaced)).hex().encode())
    assert "is not canonical JSON" in refused(package)
    index.write_bytes(data)
    signature.write_bytes(written)
    for name in ("digests.json", "approvals.json", "epoch.json.sig"):
        before = (package / name).read_bytes()
        (package / name).write_bytes(before + b"\n")
        world.resign(package)
        assert names_it(refused(package), package / name)
        (package / name).write_bytes(before)


def test_another_root_is_refused(world, package):
    other = world.identities["tax"].public
    assert names_it(refused(package, hashlib.sha256(other).digest()), package / "root.pub")
    (package / "root.pub").write_text(other.hex())
    assert names_it(refused(package), package / "root.pub")
    world.resign(package)
    assert names_it(refused(package), package / "federation.toml")


def test_the_same_job_twice_is_refused(package):
    shutil.copytree(package, package.with_name("z" * 32))
    assert names_it(refused(package.parent), package.with_name("z" * 32) / "index.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_no_refusal(package):
    (package / "manifest.json").chmod(0)
    with pytest.raises(PermissionError):
        verify(package)
