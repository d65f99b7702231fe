#!/usr/bin/env python3
"""Writes tests/golden/packaged.json: what a reader must find in the images that the packages pydicom,
pydicom-data and nibabel bring along for their own tests.

For each file: the shape and the sha256 of its voxels as float32 `[S, C, H, W]`, or of each channel of
a NIfTI with several; of lossy JPEG, whose decoders may differ by a grey level, the voxels of every
STEP-th row and column and how far a reader may be off; of what is not read, words of the reason. The
files themselves are not in the repository: `extract/imaging/tests/packaged.rs` looks for them where Python has
installed them.

Needs Python 3.11 and the packages in requirements-golden.txt.
"""

import hashlib
import json
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom

from golden_dicom import (
    BIG,
    EXPLICIT,
    GOLDEN,
    IMPLICIT,
    JPEG,
    JPEG_12,
    expected,
    order_of_frames,
)

SITE = Path(pydicom.__file__).parent.parent
FOLDERS = [
    "pydicom/data/test_files",
    "pydicom/data/charset_files",
    "data_store/data",
    "nibabel/tests/data",
    "nibabel/nicom/tests/data",
]
STEP = 16


TOO_LARGE = 4_000_000
# What the packages' own readers read and this project does not, and words of its reason.
REFUSED = {
    "gdcm-US-ALOKA-16.dcm": "a palette whose tables are missing, segmented or too short",
    "gdcm-US-ALOKA-16_big.dcm": "a palette whose tables are missing, segmented or too short",
}
# The same image, for files whose tables of colours pydicom reads in the wrong byte order.
TWINS = {
    "OBXXXX1A_expb.dcm": "OBXXXX1A.dcm",
    "OBXXXX1A_expb_2frame.dcm": "OBXXXX1A_2frame.dcm",
}


def main():
    rows = []
    for folder in FOLDERS:
        for path in sorted((SITE / folder).rglob("*")):
            if path.is_file() and path.suffix not in (".py", ".pyc"):
                rows.append({"file": str(path.relative_to(SITE))} | reference(path))
    lines = ",\n".join(json.dumps(row) for row in rows)
    (GOLDEN / "packaged.json").write_text(f"[\n{lines}\n]\n")


def reference(path):
    if path.name in REFUSED:
        return {"refused": REFUSED[path.name]}
    try:
        if "nibabel/tests" in str(path) and path.suffix != ".dcm":
            return nifti(path)
        return dicom(path.with_name(TWINS.get(path.name, path.name)))
    except Exception as error:
        reason = str(error).replace(f"{SITE}/", "").split("\n")[0]
        return {"refused": "", "by_others": reason[:90]}


def dicom(path):
    d = pydicom.dcmread(path, force=True)
    if "Rows" not in d:
        return {"refused": "", "by_others": "no image"}
    meta = d.file_meta
    if "TransferSyntaxUID" not in meta:
        implicit, little = d.original_encoding
        meta.TransferSyntaxUID = (BIG, IMPLICIT if implicit else EXPLICIT)[little]
    frames = int(d.get("NumberOfFrames") or 1)
    if frames * d.Rows * d.Columns * d.SamplesPerPixel > TOO_LARGE:
        return {"too_large": True}
    voxels, _ = expected(d)
    voxels = voxels[order_of_frames(d, len(voxels))]
    if meta.TransferSyntaxUID in (JPEG, JPEG_12):
        some = voxels[:1, :, ::STEP, ::STEP].ravel().astype(int).tolist()
        tolerance = 1 if voxels.shape[1] == 1 else 5
        return {"shape": list(voxels.shape), "some": some, "tolerance": tolerance}
    return {"shape": list(voxels.shape), "sha256": [digest(voxels)]}


def nifti(path):
    image = nibabel.load(path)
    if not isinstance(image, nibabel.Nifti1Pair):
        return {"refused": "", "by_others": f"{type(image).__name__}"}
    values = image.get_fdata()
    values = values.reshape(values.shape + (1,) * (4 - values.ndim))
    if values.ndim > 4:
        return {"refused": "expected three axes, or four"}
    # Slices lie along the third axis, rows along the first, channels along the fourth.
    channels = [channel.transpose(2, 0, 1)[:, None] for channel in np.moveaxis(values, 3, 0)]
    return {"shape": list(channels[0].shape), "sha256": [digest(channel) for channel in channels]}


def digest(voxels):
    return hashlib.sha256(np.ascontiguousarray(voxels).astype("<f4").tobytes()).hexdigest()


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
