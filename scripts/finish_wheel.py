#!/usr/bin/env python3
"""Adds to a wheel of maturin what maturin does not write: finish_wheel.py WHEEL TARGET OUT.

The man pages of its programs, the licences of all crates, and the list of these (SBOM, CycloneDX) without paths of this
machine. The wheel is written into the folder OUT, the list beside it; earlier wheels for the same platform and those of
other versions are deleted there. For scripts/build_wheel.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import third_party
import wheels

LICENCES = "THIRD_PARTY_LICENSES"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("target", help="platform of Rust that the wheel is for")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "wheel", "unpack", "--dest", folder, arguments.wheel)
        (unpacked,) = Path(folder).iterdir()
        (info,) = unpacked.glob("*.dist-info")
        add_man_pages(unpacked / f"{info.stem}.data")
        add_licences(info, arguments.target)
        bill = clean_bill(info)
        remove_earlier(arguments.out, arguments.wheel.stem)
        (arguments.out / f"{arguments.wheel.stem}.cdx.json").write_text(bill)
        run(sys.executable, "-m", "wheel", "pack", "--dest-dir", arguments.out, unpacked)


def remove_earlier(folder, new):
    """Deletes the wheels that `new` replaces, and their lists: `pip install dist/slicebank-*.whl` takes one of them only."""
    for wheel in folder.glob("slicebank-*.whl"):
        (version, platform), (new_version, new_platform) = identity(wheel.stem), identity(new)
        if version != new_version or platform == new_platform:
            wheel.unlink()
            wheel.with_name(f"{wheel.stem}.cdx.json").unlink(missing_ok=True)


def identity(stem):
    """Version and platform in the name of a wheel, without the version of the platform: `linux_x86_64`."""
    _, version, *_, platform = stem.split("-")
    return version, re.sub(r"_\d+_\d+(?=_)", "", platform.split(".")[0]).removeprefix("many")


def run(*command):
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    if done.returncode:
        raise wheels.Failed(f"{command[0]}: {done.stderr.strip()}\nhint: see the message above")


def add_man_pages(data):
    """Written by the programs themselves, so not where these cannot run."""
    for program in ("slicebank-extract", "slicebank-probe"):
        try:
            run(data / "scripts" / program, "man", "--out", data / "data/share/man/man1")
        except OSError as error:
            print(f"warning: no man pages: {error}", file=sys.stderr)


def add_licences(info, target):
    text = third_party.document(third_party.packages(target))
    (info / "licenses" / LICENCES).write_text(text, encoding="utf-8")
    metadata = info / "METADATA"
    field = "License-File: "
    head, last = metadata.read_text(encoding="utf-8").rsplit(f"\n{field}", 1)
    name, rest = last.split("\n", 1)
    metadata.write_text(f"{head}\n{field}{name}\n{field}{LICENCES}\n{rest}", encoding="utf-8")


def clean_bill(info):
    """The SBOM that maturin wrote, without the folder of the project and without a number for each build."""
    (path,) = (info / "sboms").glob("*.cyclonedx.json")
    text = path.read_text(encoding="utf-8").replace(f"{wheels.ROOT}/", "")
    bill = json.loads(text)
    bill.pop("serialNumber", None)
    bill["metadata"].pop("timestamp", None)
    text = json.dumps(bill, indent=1) + "\n"
    path.write_text(text, encoding="utf-8")
    return text


if __name__ == "__main__":
    wheels.run(main)
