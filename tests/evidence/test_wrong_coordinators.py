"""A coordinator that computes or keeps something else: the others' signatures and logs, or `replay`, show it."""

import hashlib
import json
import shutil

import gmpy2
import numpy as np
import pytest
from evidence_world import NODES, OFFICE, at, copy_of, refused

from veilmatch_crypto import generate
from veilmatch_evidence import actions
from veilmatch_evidence.errors import EvidenceRefusedError
from veilmatch_evidence.package import DIGESTS, MANIFEST, log_name
from veilmatch_evidence.records import Record
from veilmatch_evidence.replay import replay
from veilmatch_evidence.verify import verify
from veilmatch_policy import canonical
from veilmatch_policy.manifest import signed_combined


def replayed(folder) -> str:
    """The one line of the refusal by `replay` of evidence that verifies."""
    verify(folder)
    with pytest.raises(EvidenceRefusedError) as error:
        replay(folder)
    assert error.value.exit_code == 6
    return str(error.value)


def plus_one(made):
    """Add 1 to the plaintext in the lowest slot: every ciphertext times 1 + n."""
    key, product = made
    size, square = key.layout.ciphertext_bytes, key.n**2
    parts = (int.from_bytes(product[i : i + size], "big") for i in range(0, len(product), size))
    return key, b"".join(int(gmpy2.mpz(part) * (1 + key.n) % square).to_bytes(size, "big") for part in parts)


@pytest.mark.parametrize(
    "tweak",
    [
        at("product", plus_one),
        at("factors", lambda factors: factors[1:] if len(factors) == 3 else factors),
        at("factors", lambda factors: factors[:-1] if len(factors) == 3 else factors),
    ],
    ids=["adds 1", "drops a contribution", "leaves B out"],
)
def test_a_coordinator_that_multiplies_something_else(world, tmp_path, tweak):
    package = world.run(tmp_path / "out", tweak)
    line = replayed(package)
    assert line.startswith(
        f"{package / 'product/0-0.bin'}: ciphertext 0 is not the product of contributions/housing/"
    )


def test_a_product_with_the_randomness_of_its_only_factor_is_found_by_verify(world, tmp_path):
    # The second outcome has one contributor: without B, the product is the contribution again.
    package = world.run(
        tmp_path / "out", at("factors", lambda factors: factors[:1] if len(factors) == 2 else factors)
    )
    line = refused(package)
    assert line.startswith(
        f"{package / 'product/1-0.bin'}: two ciphertexts under one key have the same randomness"
    )
    assert "ciphertext 0 of the chunk" in line


def exchange(world, package, files):
    """The coordinator keeps other ciphertexts of the first chunk and signs, lists and logs them anew."""
    for name, data in files.items():
        (package / name).write_bytes(data)
    blank, product = ((package / name).read_bytes() for name in ("B/0-0.bin", "product/0-0.bin"))
    manifest = hashlib.sha256((package / MANIFEST).read_bytes()).digest()
    signature = world.identities[OFFICE].sign(signed_combined(manifest, 0, 0, blank, product)).hex()
    world.redigest(package)
    digests = json.loads((package / DIGESTS).read_bytes())
    for each in digests:
        if each["file"] in {"B/0-0.bin", "product/0-0.bin"}:
            each["signature"] = signature
    (package / DIGESTS).write_bytes(canonical.encode(digests))
    hashes = {
        name: hashlib.sha256((package / name).read_bytes()).hexdigest()
        for name in ("B/0-0.bin", "product/0-0.bin", "contributions/tax/0-0.bin")
    }

    def edit(bodies):
        for body in bodies:
            if (body.get("outcome"), body.get("chunk")) == (0, 0):
                if body["action"] == "combined":
                    body |= {"blank": hashes["B/0-0.bin"], "product": hashes["product/0-0.bin"]}
                elif body.get("department") == "tax":
                    body["sha256"] = hashes["contributions/tax/0-0.bin"]
        return bodies

    world.relog(package, OFFICE, edit)
    world.resign(package)


def test_exchanged_ciphertexts_that_only_the_coordinator_signed_again(world, tmp_path):
    key = generate(2048).public
    package = world.run(tmp_path / "out", key=key)
    names = (product, blank, mine) = ("product/0-0.bin", "B/0-0.bin", "contributions/tax/0-0.bin")
    data = {name: (package / name).read_bytes() for name in names}
    kept = copy_of(package, tmp_path / "kept")

    def exchanged(name) -> str:
        exchange(world, package, {name: plus_one((key, data[name]))[1]})
        line = refused(package)
        shutil.rmtree(package)
        shutil.copytree(kept, package)
        return line.removeprefix(f"{package}/")

    assert exchanged(product).startswith("logs/welfare.jsonl:")  # the recipient logged what it opened
    assert exchanged(mine).startswith("logs/")  # and the contributor what it sent
    assert "office showed housing another record" in exchanged(blank)  # and everybody how far the log was


def withhold(world, package, kind, party):
    """The coordinator withholds a department's records of one kind and lists the file anew: how the first is named."""
    path = package / log_name(party)
    records = [Record.decode(line) for line in path.read_bytes().splitlines()]
    kinds = [record.body and record.body["action"] for record in records]
    assert kind in kinds
    left = [
        record.withheld() if kind == found else record for record, found in zip(records, kinds, strict=True)
    ]
    path.write_bytes(b"".join(record.encode() + b"\n" for record in left))
    world.resign(package)
    return f"{path}:{kinds.index(kind) + 1}: is withheld although it "


def test_a_coordinator_that_rewrites_its_log_and_withholds_what_others_saw_of_it(world, package):
    def somebody_else(bodies):
        return [body | {"operator": "somebody"} if "operator" in body else body for body in bodies]

    world.relog(package, OFFICE, somebody_else)
    world.resign(package)
    assert "office showed housing another record" in refused(package)
    # Which departments saw the old head is in records that are nobody's job: they must stay all the same.
    named = [withhold(world, package, "head-seen", party) for party in reversed(NODES)][-1]
    assert refused(package).startswith(f"{named}holds the head of another party's log")


def test_a_coordinator_that_withholds_refusals_of_the_job(world, tmp_path):
    def refuse(contributed):
        log = world.logs["tax"]
        log.append(actions.Refused(job=contributed.job, rule="runs"))
        log.append(actions.Refused(job=None, rule="runs"))
        log.append(actions.Disclosed())
        return contributed

    package = world.run(tmp_path / "out", at("tax: contributed", refuse))
    (verified,) = verify(package)
    assert verified.withheld == 8  # of 12: four refusals are the job's
    named = withhold(world, package, "refused", "tax")
    assert refused(package).startswith(f"{named}is about this job")


def test_signatures_of_other_files(world, package):
    path = package / DIGESTS
    digests = json.loads(path.read_bytes())
    tax, office = (
        [each for each in digests if each["file"].startswith(folder)]
        for folder in ("contributions/tax", "B/")
    )
    for (one, other), said in (
        (tax[:2], "is not signed by tax for this job and chunk"),
        (office[:2], "is not signed by office for this job and chunk"),
        ((tax[0], office[0]), "is not signed by tax for this job and chunk"),
    ):
        signatures = one["signature"], other["signature"]
        one["signature"], other["signature"] = reversed(signatures)
        path.write_bytes(canonical.encode(digests))
        world.resign(package)
        assert refused(package).startswith(f"{package / one['file']}: {said}")
        one["signature"], other["signature"] = signatures
    path.write_bytes(canonical.encode([each for each in digests if each is not tax[0]]))
    world.resign(package)
    assert refused(package).startswith(f"{path}: has no signature of {tax[0]['file']}")


def test_chunks_of_another_size(world, tmp_path):
    package = world.run(tmp_path / "out", at("words", lambda words: np.concatenate([words, words])))
    line = refused(package)
    assert line.startswith(f"{package / 'contributions/housing/0-0.bin'}: has another number of ciphertexts")
