#!/usr/bin/env python3
"""Validates the `croissant.json` of caches with mlcroissant, and the hashes in it, which mlcroissant does not compare.

usage: check_croissant.py CACHE…    (needs `pip install mlcroissant`, about 540 MB)
"""

import hashlib
import sys
from pathlib import Path

import mlcroissant


def check(cache: Path) -> None:
    dataset = mlcroissant.Dataset(cache / "croissant.json")
    print(f"{cache}: {dataset.metadata.name}, {len(dataset.metadata.distribution)} files")
    for file in dataset.metadata.distribution:
        found = hashlib.sha256((cache / file.content_url).read_bytes()).hexdigest()
        if found != file.sha256:
            sys.exit(f"{cache / file.content_url}: sha256 {found}, not {file.sha256}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for argument in sys.argv[1:]:
        check(Path(argument))
