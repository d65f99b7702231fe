#!/usr/bin/env python3
"""Times reading and preparing images by this project and by what one would write in Python.

Both decode a file, clip it, resize every slice to 224 pixels (bicubic), stretch it to 0..1 and
normalise it; by turns, several rounds, on one core. Python reads with nibabel, Pillow or pydicom,
computes with NumPy and resizes with Pillow. Times are taken within the processes, so that starting
them does not count. Needs Python 3.11 and requirements-test.txt, and the example:
cargo build --release --workspace --all-targets --locked
"""

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

# Before NumPy is loaded, which reads them then.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import nibabel
import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import RLELossless

import wheels
from fixtures import dicom
from fixtures.folder import Folder

SIZE = 224
MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]
WINDOW = (-1024, 600)


def main():
    arguments = parse_arguments()
    if not arguments.prepare.is_file():
        hint = "hint: cargo build --release --workspace --all-targets --locked"
        raise wheels.Failed(f"{arguments.prepare}: no such file\n{hint}")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        for name, count, write, read, intensity in CASES:
            paths = [Path(folder) / f"{k}-{name}" for k in range(count)]
            for seed, path in enumerate(paths):
                write(path, np.random.default_rng(seed))
            print(f"{name}: {compare(arguments, paths, read, intensity)}")


def parse_arguments():
    target = Path(os.environ.get("CARGO_TARGET_DIR", wheels.ROOT / "target"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    example = target / "release" / "examples" / "prepare"
    parser.add_argument("--prepare", type=Path, default=example, help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(arguments, paths, read, intensity):
    """Slices per second of both, and the median of the rounds' ratios."""
    in_python(read, paths)
    rates = []
    for _ in range(arguments.rounds):
        rates.append((in_rust(arguments.prepare, paths, intensity), in_python(read, paths)))
    rust, python = (statistics.median(column) for column in zip(*rates))
    ratio = statistics.median(rust / python for rust, python in rates)
    return f"{rust:.1f} slices/s, Python {python:.1f}, {ratio:.2f} times as fast"


def in_rust(prepare, paths, intensity):
    command = [prepare, "--intensity", intensity, "--image-size", str(SIZE), *paths]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise wheels.Failed(done.stderr.strip())
    return float(re.search(r"([\d.]+) slices/s", done.stdout).group(1))


def in_python(read, paths):
    start = time.perf_counter()
    count = 0
    for path in paths:
        for plane in read(path):
            prepared(plane)
            count += 1
    return count / (time.perf_counter() - start)


def prepared(plane):
    """`[H, W]` in f32 as `[3, SIZE, SIZE]`."""
    resized = np.asarray(Image.fromarray(plane).resize((SIZE, SIZE), Image.BICUBIC))
    low, high = resized.min(), resized.max()
    return ((resized - low) / (high - low) - MEAN) / STD


# How Python reads them.


def nifti_planes(path):
    voxels = np.asarray(nibabel.load(path).dataobj)
    for k in range(voxels.shape[2]):
        yield np.clip(voxels[:, :, k].astype(np.float32), *WINDOW)


def raster_planes(path):
    yield np.asarray(Image.open(path), np.float32)


def dicom_planes(path):
    data = pydicom.dcmread(path)
    hu = data.pixel_array * np.float32(data.RescaleSlope) + np.float32(data.RescaleIntercept)
    yield np.clip(hu, *WINDOW)


# The files.


def smooth(draw, side, step):
    """Smooth noise of 0 to 1, `[side, side]`."""
    coarse = draw.integers(0, 256, (side // step, side // step), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.BICUBIC), np.float32) / 255


def ct(draw, slices):
    """A body in air, in HU, int16 `[512, 512, slices]`."""
    y, x = np.mgrid[:512, :512] / 512 - 0.5
    body = (x / 0.42) ** 2 + (y / 0.33) ** 2 < 1
    voxels = np.empty((512, 512, slices), np.int16)
    for k in range(slices):
        tissue = 400 * smooth(draw, 512, 16) - 100 + draw.normal(0, 15, body.shape)
        voxels[:, :, k] = np.where(body, tissue, draw.normal(-1000, 5, body.shape))
    return voxels


def write_ct(path, draw):
    voxels = ct(draw, 100)
    nibabel.Nifti1Image(voxels, np.diag([0.7, 0.7, 3, 1])).to_filename(path)


def write_xray(path, draw):
    image = 60 + 140 * smooth(draw, 1024, 32) + draw.normal(0, 4, (1024, 1024))
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path)


def write_dicom(path, draw):
    stored = (ct(draw, 1)[:, :, 0] + 1024).clip(0, 4095).astype(np.uint16)
    scale = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    dicom.write(Folder(path.parent), path.name, stored, Modality="CT", BitsStored=12, **scale)


def write_packed_dicom(path, draw):
    write_dicom(path, draw)
    data = pydicom.dcmread(path)
    data.compress(RLELossless, generate_instance_uid=False)
    data.save_as(path)


# Name, how many, how it is written and read, and the intensity rule.
CASES = [
    ("ct.nii.gz", 1, write_ct, nifti_planes, "window:{}:{}".format(*WINDOW)),
    ("xray.png", 30, write_xray, raster_planes, "minmax"),
    ("ct.dcm", 100, write_dicom, dicom_planes, "window:{}:{}".format(*WINDOW)),
    ("ct-rle.dcm", 40, write_packed_dicom, dicom_planes, "window:{}:{}".format(*WINDOW)),
]


if __name__ == "__main__":
    wheels.run(main)
