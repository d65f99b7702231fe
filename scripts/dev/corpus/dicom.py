"""DICOM."""

import struct
import tempfile
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from corpus.files import changed, cut
from fixtures import dicom
from fixtures.folder import Folder


def dicom_file(pixels, **options):
    with tempfile.TemporaryDirectory() as folder:
        dicom.write(Folder(Path(folder)), "a", pixels, **options)
        return (Path(folder) / "a").read_bytes()


def element(group, number, kind, value, length=None):
    """An element in explicit VR, little-endian, with a length of four bytes."""
    size = struct.pack("<I", len(value) if length is None else length)
    return struct.pack("<HH", group, number) + kind + b"\0\0" + size + value


def item(value, length=0xFFFFFFFF):
    return struct.pack("<HHI", 0xFFFE, 0xE000, length) + value


def files():
    grey = np.random.default_rng(7).integers(0, 256, (9, 8), np.uint8)
    whole = dicom_file(grey.astype(np.uint16))
    rows, columns = whole.index(b"\x28\0\x10\0US"), whole.index(b"\x28\0\x11\0US")
    pixels = whole.index(b"\xe0\x7f\x10\0")
    sequence = struct.pack("<HH", 0x0008, 0x1140) + b"SQ\0\0\xff\xff\xff\xff"
    size = {"Rows": 9, "Columns": 8}
    found = {
        "whole.dcm": whole,
        "huge.dcm": changed(whole, (rows + 8, b"\xff\xff"), (columns + 8, b"\xff\xff")),
        "no-rows.dcm": changed(whole, (rows + 8, b"\0\0")),
        "billion-frames.dcm": dicom_file(grey, NumberOfFrames=10**9, **size),
        "negative-frames.dcm": dicom_file(grey, NumberOfFrames=-1, **size),
        "bits-0.dcm": dicom_file(grey, BitsStored=0, HighBit=0),
        "bits-over.dcm": dicom_file(grey, BitsStored=99, HighBit=98),
        "allocated-0.dcm": dicom_file(grey, BitsAllocated=0),
        "allocated-1.dcm": dicom_file(grey, BitsAllocated=1, BitsStored=1, HighBit=0),
        "samples-0.dcm": dicom_file(grey, SamplesPerPixel=0),
        "samples-many.dcm": dicom_file(grey, SamplesPerPixel=65535),
        "palette-missing.dcm": dicom_file(grey, PhotometricInterpretation="PALETTE COLOR"),
        "odd-spacing.dcm": dicom_file(grey, PixelSpacing=[0, -1e300]),
        "odd-place.dcm": dicom_file(
            grey, ImagePositionPatient=[1e300] * 3, ImageOrientationPatient=[0] * 6
        ),
        "scale-huge.dcm": dicom_file(grey, RescaleSlope="1e300", RescaleIntercept="-1e300"),
        "window-odd.dcm": dicom_file(grey, WindowCenter="0", WindowWidth="-1"),
        "deep.dcm": whole[:pixels] + (sequence + item(b"")) * 500,
        "length-lies.dcm": whole[:pixels] + element(0x7FE0, 0x10, b"OW", b"", 0xFFFFFFFE),
        "no-pixels.dcm": whole[:pixels],
        "undefined-without-end.dcm": whole[:pixels] + element(0x7FE0, 0x10, b"OB", b"", 0xFFFFFFFF),
        "meta-lies.dcm": changed(whole, (140, b"\xff\xff\xff\x7f")),
        "preamble-only.dcm": bytes(128) + b"DICM",
        "deflate-bomb.dcm": dicom_file(
            np.zeros((2000, 2000), np.uint8), syntax=DeflatedExplicitVRLittleEndian
        ),
        "unknown-syntax.dcm": dicom_file(grey, syntax="1.2.3.4.5"),
    }
    found |= cut("cut.dcm", whole, 100, 128, 132, 140, 160, pixels, pixels + 8, len(whole) - 1)
    return found | rle(grey) | coded()


GOLDEN = Path(__file__).resolve().parents[3] / "tests" / "golden" / "dicom"


def coded():
    """JPEG-LS and JPEG of 12 bits that end early, or whose parameters and codes are others."""
    found = {}
    for name, scan in (("jpeg_ls_runs", 10), ("jpeg_ls_rgb_samples", 14)):
        whole = (GOLDEN / f"{name}.dcm").read_bytes()
        start = whole.rindex(b"\xff\xda")
        frame, coded_at = whole.rindex(b"\xff\xd8"), start + scan
        name = name.replace("_", "-")
        for at in (frame + 4, start, coded_at, coded_at + 20):
            found[f"{name}-end-{at - frame}.dcm"] = changed(whole, (at, b"\xff\xd9"))
        ones = b"\x7f" * (len(whole) - coded_at - 20)
        found |= {
            f"{name}-ones.dcm": changed(whole, (coded_at, ones)),
            f"{name}-zeros.dcm": changed(whole, (coded_at, bytes(len(ones)))),
            f"{name}-odd-scan.dcm": changed(whole, (start + 4, b"\xff" * (scan - 4))),
            f"{name}-odd-frame.dcm": changed(whole, (frame + 4, b"\xff" * 8)),
        }
    twelve = Path(get_testdata_file("JPGExtended.dcm")).read_bytes()
    start = twelve.rindex(b"\xff\xda") + 10
    found |= {
        "jpeg-12-end.dcm": changed(twelve, (start + 200, b"\xff\xd9")),
        "jpeg-12-ones.dcm": changed(twelve, (start + 200, b"\x7f" * 4000)),
        "jpeg-12-zeros.dcm": changed(twelve, (start + 200, bytes(4000))),
    }
    return found


def rle(grey):
    """Run-length encoding: a run of 128 bytes takes two."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(dicom_file(grey))
        data = pydicom.dcmread(path)
        data.compress(RLELossless, generate_instance_uid=False)
        data.save_as(path)
        whole = path.read_bytes()
    pixels = whole.index(b"\xe0\x7f\x10\0")
    frame = pixels + 12 + 8 + 8
    table = whole.index(struct.pack("<II", 1, 64), pixels)
    return {
        "rle.dcm": whole,
        "rle-many-segments.dcm": changed(whole, (table, b"\xff\xff\xff\xff")),
        "rle-segment-nowhere.dcm": changed(whole, (table + 4, b"\xf0\xff\xff\x7f")),
        "rle-runs.dcm": changed(whole, (table + 64, b"\x81\x00" * 20)),
        "rle-offsets.dcm": changed(whole, (frame, b"\xff" * 8)),
        "rle-cut.dcm": whole[: table + 70],
    }
