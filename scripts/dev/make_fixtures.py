#!/usr/bin/env python3
"""Writes small datasets in the layouts in which the real ones come, their quirks included.

usage: make_fixtures.py FOLDER. The tests read them; no patient is in them. The same files come out
each time. Needs Python 3.11 and the packages in requirements-test.txt.
"""

import sys
import warnings
from pathlib import Path

import wheels
from fixtures import arrays, chest, dicom, matlab, nifti, own, rasters, sars, volumes
from fixtures.folder import Folder

# They draw their noise one after the other: append new ones, so that the others stay as they are.
DATASETS = [
    chest.nih,
    chest.chexpert,
    chest.montgomery,
    sars.sars,
    volumes.amos,
    volumes.decathlon,
    nifti.nifti_quirks,
    matlab.brain_tumor,
    dicom.rsna,
    dicom.vindr,
    dicom.series,
    volumes.btcv,
    volumes.totalsegmentator,
    arrays.medmnist,
    volumes.brats,
    own.own,
    rasters.rasters,
    rasters.mat_types,
    dicom.dicom_kinds,
    chest.padchest,
    sars.more_patients,
]


def main():
    if len(sys.argv) != 2:
        raise wheels.Failed("usage: make_fixtures.py FOLDER")
    # pydicom warns about ages that are wrong on purpose.
    warnings.filterwarnings("ignore", module="pydicom")
    out = Folder(Path(sys.argv[1]))
    for write in DATASETS:
        write(out)
    files = [path for path in out.root.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"{len(files)} files, {size // 1024} KiB")


if __name__ == "__main__":
    wheels.run(main)
