#!/usr/bin/env python3
"""Adds to a wheel of maturin what maturin does not write: finish_wheel.py WHEEL TARGET OUT.

The man pages of its programs, the licences of all crates, and the list of these (SBOM, CycloneDX) without paths of this
machine. The wheel is written into the folder OUT, the list beside it. For scripts/build_wheel.
"""

import argparse
import json
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
        (arguments.out / f"{arguments.wheel.stem}.cdx.json").write_text(bill)
        run(sys.executable, "-m", "wheel", "pack", "--dest-dir", arguments.out, unpacked)


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
