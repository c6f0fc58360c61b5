"""Write the bill of materials of a release, FOLDER/veilmatch-VERSION.cdx.json: CycloneDX 1.6.

usage: sbom.py FOLDER

Every package of deploy/requirements.txt with the hashes of its files, its licence, and what it needs.  Licences and
needs are what the installed packages say; of a package that only other systems install there is what the lock file
says.  The same lock file and SOURCE_DATE_EPOCH give the same bytes.
"""

import os
import sys
import tomllib
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, metadata
from itertools import chain
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pins import RUNTIME, Pin, read_pins

_CLASSIFIER = "License :: OSI Approved :: "


def licences(name: str) -> list[License]:
    """Return what a package's metadata says of its licence: an expression, else a name, else a classifier."""
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return []
    text = said.get("License-Expression") or said.get("License")
    found = [each for each in said.get_all("Classifier", []) if each.startswith(_CLASSIFIER)]
    names = [text] if text else [each.removeprefix(_CLASSIFIER) for each in found]
    return [LicenseFactory().make_from_string(each) for each in names]


def needs(name: str, extras: Iterable[str]) -> list[str]:
    """Return the names of the packages that an installed package needs, with these extras of it."""
    try:
        requirements = [Requirement(each) for each in metadata(name).get_all("Requires-Dist", [])]
    except PackageNotFoundError:
        return []
    # Without extra: where the marker holds for none.
    chosen = ("", *extras)
    return [
        canonicalize_name(each.name)
        for each in requirements
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in chosen)
    ]


def component(pin: Pin) -> Component:
    """Return a pinned package."""
    purl = PackageURL("pypi", name=pin.name, version=pin.version)
    return Component(
        name=pin.name,
        version=pin.version,
        bom_ref=str(purl),
        purl=purl,
        licenses=licences(pin.name),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in pin.hashes],
    )


def bill(project: Mapping[str, Any], made: datetime) -> Bom:
    """Return the bill of what a service consists of; ``project`` is the table of pyproject.toml."""
    purl = PackageURL("pypi", name=project["name"], version=project["version"])
    ours = Component(
        name=project["name"],
        version=project["version"],
        type=ComponentType.APPLICATION,
        bom_ref=str(purl),
        purl=purl,
        licenses=[LicenseFactory().make_from_string(project["license"])],
    )
    by_name: dict[str, list[Component]] = defaultdict(list)
    for pin in read_pins(RUNTIME):
        by_name[pin.name].append(component(pin))
    parts = [part for versions in by_name.values() for part in versions]
    # A serial number is random by rule; ours follows from the release, so that anybody can make the same file.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"{purl}#{made.isoformat()}")
    bom = Bom(components=parts, serial_number=serial, metadata=BomMetaData(component=ours, timestamp=made))
    lists = (project["dependencies"], *project["optional-dependencies"].values())
    asked = {canonicalize_name(each.name): each.extras for each in map(Requirement, chain(*lists))}
    bom.register_dependency(ours, [part for name in asked for part in by_name[name]])
    for part in parts:
        needed = needs(part.name, asked.get(part.name, ()))
        bom.register_dependency(part, [each for name in needed for each in by_name.get(name, [])])
    return bom


def main() -> None:
    """Run the command line."""
    made = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    path = Path(sys.argv[1]) / f"{project['name']}-{project['version']}.cdx.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(JsonV1Dot6(bill(project, made)).output_as_string(indent=2) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
