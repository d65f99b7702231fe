"""Pixels by nibabel, Pillow, h5py, NumPy and pydicom."""

import gzip
import re

import h5py
import nibabel
import numpy as np
import pydicom
from PIL import Image

# Fixtures that are no image on purpose; `not_gzipped_but_gz.nii.gz` is one.
BAD = re.compile(r"/bad/(?!not_gzipped)|brain_tumor_bad/")
MAT_ARRAYS = ("image", "cjdata/image", "cjdata/tumorMask")
DICOM_SERIES = ("dicom_series/patientA/CT_1", "dicom_series/patientB/MR_oblique")


def all_images(root):
    """A row for every image: `kind`, `file` or `files`, perhaps `channel`, `array`, `index`, and
    `stored`, the slices `[S, C, H, W]`; for images with a known place in the patient `axial`,
    `coronal` and `sagittal` as well, `[S, 1, H, W]`, and `spacing_mm` of each.
    """
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if BAD.search(f"/{name}") or "/._" in f"/{name}" or "__MACOSX" in name:
            continue
        kind = kind_of(name)
        if kind and path.is_file():
            for row in READERS[kind](path):
                yield {"kind": kind, "file": name} | row
    for folder in DICOM_SERIES:
        yield from dicom_series(root, folder)


def kind_of(name):
    endings = {
        "nifti": (".nii", ".nii.gz"),
        "raster": (".png", ".jpg", ".jpeg"),
        "mat": (".mat", ".h5"),
        "npz": (".npz",),
        "dicom": (".dcm", ".dicom"),
    }
    lower = name.lower()
    return next((kind for kind, ends in endings.items() if lower.endswith(ends)), None)


# NIfTI.


def nifti(path):
    content = path.read_bytes()
    plain = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    image = nibabel.Nifti1Image.from_bytes(plain)
    values = image.get_fdata()
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 3:
        yield volume(values, image)
        return
    for channel in range(values.shape[3]):
        yield {"channel": channel} | volume(values[..., channel], image)


def volume(values, image):
    """The slices as stored, and in the patient's three planes."""
    i, j, k = (float(step) for step in image.header.get_zooms()[:3])
    stored = {"stored": slices(values, 2), "spacing_mm": {"stored": [k, i, j]}}
    only = nibabel.Nifti1Image(values, image.affine)
    return join(stored, planes(nibabel.as_closest_canonical(only)))


def planes(canonical):
    """From an image with axes to the right, to anterior and to superior."""
    right, anterior, superior = (float(step) for step in canonical.header.get_zooms()[:3])
    values = canonical.get_fdata()
    # Rows run downwards and columns to the right of the picture, the patient's right on the left.
    return {
        "axial": slices(values[::-1, ::-1, :], 2).swapaxes(2, 3),
        "coronal": slices(values[::-1, :, ::-1], 1).swapaxes(2, 3),
        "sagittal": slices(values[:, ::-1, ::-1], 0).swapaxes(2, 3),
        "spacing_mm": {
            "axial": [superior, anterior, right],
            "coronal": [anterior, superior, right],
            "sagittal": [right, superior, anterior],
        },
    }


def slices(values, axis):
    """`[S, 1, H, W]`, cut along one of three axes."""
    return np.moveaxis(values, axis, 0)[:, None]


def join(stored, cut):
    return stored | cut | {"spacing_mm": stored["spacing_mm"] | cut["spacing_mm"]}


# PNG and JPEG.


def raster(path):
    yield {"stored": pixels(path), "lossy": path.suffix.lower() != ".png"}


def pixels(path):
    """`[1, C, H, W]`: palettes become colours, 1 bit becomes 0 and 255, alpha is dropped."""
    image = Image.open(path)
    image = image.convert(
        {"1": "L", "P": "RGB", "LA": "L", "RGBA": "RGB"}.get(image.mode, image.mode)
    )
    values = np.asarray(image).astype(np.float64)
    return np.moveaxis(np.atleast_3d(values), 2, 0)[None]


# MATLAB and NumPy.


def mat(path):
    with h5py.File(path) as file:
        for name in MAT_ARRAYS:
            if name in file:
                yield {"array": name, "stored": file[name][()].astype(np.float64)[None, None]}


def npz(path):
    with np.load(path) as arrays:
        for name in arrays:
            if name.endswith("_images"):
                for index, image in enumerate(arrays[name]):
                    yield {"array": name, "index": index, "stored": array_slices(image)}


def array_slices(image):
    """`[H, W]`, `[H, W, 3]` or `[D, H, W]` as slices."""
    image = image.astype(np.float64)
    if image.ndim == 2:
        return image[None, None]
    return np.moveaxis(image, 2, 0)[None] if image.shape[2] == 3 else image[:, None]


# DICOM.


def dicom(path):
    data = pydicom.dcmread(path)
    yield {"stored": frames(data), "lossy": data.get("LossyImageCompression") == "01"}


def frames(data):
    """`[S, C, H, W]` in the modality's units, bright where the patient is dense."""
    values = data.pixel_array.astype(np.float64)
    if data.PhotometricInterpretation == "MONOCHROME1":
        values = 2**data.BitsStored - 1 - values
    values = values * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
    if data.SamplesPerPixel == 3:
        return np.moveaxis(values, 2, 0)[None]
    return values.reshape(-1, 1, data.Rows, data.Columns)


def dicom_series(root, folder):
    """The files of the first series of a folder, in the order of their positions."""
    files = {path: pydicom.dcmread(path) for path in sorted((root / folder).glob("*.dcm"))}
    data = next(iter(files.values()))
    along_row, along_column = np.array(data.ImageOrientationPatient).reshape(2, 3)
    normal = np.cross(along_row, along_column)
    place = {path: float(normal @ files[path].ImagePositionPatient) for path in files}
    paths = sorted(files, key=place.get)
    stored = np.concatenate([frames(files[path]) for path in paths])
    step = float(np.median(np.diff(sorted(place.values()))))
    row_step, column_step = map(float, data.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along_row * column_step, along_column * row_step
    affine[:3, 2] = normal * step
    affine[:3, 3] = files[paths[0]].ImagePositionPatient
    # DICOM counts to the left and to the back.
    image = nibabel.Nifti1Image(stored[:, 0].transpose(2, 1, 0), np.diag([-1, -1, 1, 1]) @ affine)
    spacing = {"stored": [step, row_step, column_step]}
    names = [path.relative_to(root).as_posix() for path in paths]
    row = {"kind": "dicom", "files": names, "stored": stored, "spacing_mm": spacing}
    yield join(row, planes(nibabel.as_closest_canonical(image)))


READERS = {"nifti": nifti, "raster": raster, "mat": mat, "npz": npz, "dicom": dicom}
