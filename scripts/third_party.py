#!/usr/bin/env python3
"""Writes the licences of all crates that the programs of the wheel contain: third_party.py TARGET OUT.

TARGET is a platform of Rust, such as x86_64-unknown-linux-gnu. Needs Python 3.11 and cargo, with the crates of
Cargo.lock downloaded.
"""

import argparse
import json
import re
import subprocess
from pathlib import Path

import wheels

ROOT = wheels.ROOT
# The texts of crates' own copyright; `src/` of a crate may hold those of C code that it builds.
NAMES = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense|ofl)([-_.].*)?$", re.IGNORECASE)
SOURCES = {".rs", ".py", ".c", ".h", ".toml", ".json", ".html", ".yml"}
HEAD = """\
The programs of this package contain the crates below, in this order, and Rust's standard library
(MIT OR Apache-2.0, https://github.com/rust-lang/rust). Texts that several crates share stand once.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.write_text(document(packages(arguments.target)), encoding="utf-8")


def packages(target):
    """The metadata of all crates of others that are linked into the programs, by name and version."""
    tree = cargo(
        "tree", "--package", "slicebank", "--features", "programs", "--target", target,
        "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}",
    )  # fmt: skip
    linked = {tuple(line.split()[:2]) for line in tree.splitlines()}
    metadata = json.loads(cargo("metadata", "--format-version", "1"))
    found = {(each["name"], f"v{each['version']}"): each for each in metadata["packages"]}
    ours = set(metadata["workspace_members"])
    return [found[key] for key in sorted(linked) if found[key]["id"] not in ours]


def cargo(*words):
    command = ["cargo", *words, "--locked", "--offline"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise wheels.Failed(f"{' '.join(command)}: {done.stderr.strip()}\nhint: build the wheel first")
    return done.stdout


def document(packages):
    """Names and licences, then each text after the crates that it is of."""
    rows, users = [], {}
    for package in packages:
        name = f"{package['name']} {package['version']}"
        licence = package["license"] or package["license_file"]
        rows.append(f"{name}: {licence}, {package['repository'] or 'no repository'}\n")
        for text in texts(package):
            users.setdefault(text, []).append(name)
    parts = [HEAD, "".join(rows)]
    parts += [f"{'=' * 79}\n{', '.join(names)}\n\n{text}\n" for text, names in users.items()]
    return "\n".join(parts)


def texts(package):
    """The texts of a crate's files of licences; of one without such files, its authors and licence."""
    folder = Path(package["manifest_path"]).parent
    files = [path for path in sorted(folder.rglob("*")) if NAMES.fullmatch(path.name) and path.is_file()]
    files = [path for path in files if path.suffix not in SOURCES]
    if not files:
        authors = ", ".join(package["authors"]) or f"the authors of {package['name']}"
        return [
            f"Copyright {authors}. Licensed under {package['license']}; the crate has no file with the "
            "text, which LICENSE-MIT or LICENSE-APACHE has."
        ]
    return [plain(path) for path in files]


def plain(path):
    """The text of a file without blank lines around it and spaces at ends of lines."""
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    wheels.run(main)
