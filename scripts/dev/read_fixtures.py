#!/usr/bin/env python3
"""Reads what make_fixtures.py wrote with nibabel, Pillow, h5py, pydicom, NumPy and pandas.

usage: read_fixtures.py FOLDER. Writes `expected.json` there and the arrays that it names, f64:
`images` are the pixels of every file, `datasets` the samples of every dataset. The tests compare
them with what the Rust code reads. Needs Python 3.11 and the packages in requirements-test.txt.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np

import wheels
from answers import images, labels


def main():
    if len(sys.argv) != 2:
        raise wheels.Failed("usage: read_fixtures.py FOLDER")
    warnings.filterwarnings("ignore", module="pydicom")
    root = Path(sys.argv[1])
    saved = Arrays(root)
    answers = {
        "images": [saved.in_place_of_arrays(row) for row in images.all_images(root)],
        "datasets": {
            name: saved.in_place_of_arrays(read(root / name.split("#")[0]))
            for name, read in labels.DATASETS.items()
        },
    }
    (root / "expected.json").write_text(json.dumps(answers, indent=1) + "\n")
    print(f"{len(answers['images'])} images, {len(answers['datasets'])} datasets")


class Arrays:
    """Saves arrays as `expected/NUMBER.npy`."""

    def __init__(self, root):
        self.root = root
        self.count = 0
        (root / "expected").mkdir()

    def in_place_of_arrays(self, value):
        """The same value with the names of files in the place of arrays."""
        if isinstance(value, dict):
            return {key: self.in_place_of_arrays(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.in_place_of_arrays(inner) for inner in value]
        return self.save(value) if isinstance(value, np.ndarray) else value

    def save(self, array):
        name = f"expected/{self.count}.npy"
        self.count += 1
        np.save(self.root / name, np.ascontiguousarray(array, np.float64))
        return name


if __name__ == "__main__":
    wheels.run(main)
