#!/usr/bin/env python3
"""Writes tests/golden/dicom/: small DICOM files, and the voxels that a reader must find in them.

pydicom, Pillow and CharLS (JPEG-LS) write and decode the files; slope, inversion
and window are restated in NumPy; GDCM and libjpeg check them. Needs Python 3.11 and the packages in
requirements-golden.txt.
"""

import io
import json
import shutil
import struct
import warnings
from pathlib import Path

import gdcm
import jpeg_ls
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
IMPLICIT, EXPLICIT, DEFLATED, BIG = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2"))
RLE, JPEG, JPEG_LOSSLESS, JPEG_2000 = (
    f"1.2.840.10008.1.2.{end}" for end in ("5", "4.50", "4.70", "4.90")
)
JPEG_12, JPEG_LS, JPEG_LS_NEAR = (f"1.2.840.10008.1.2.4.{end}" for end in ("51", "80", "81"))
# How samples of several colours follow each other in JPEG-LS.
PLANES, LINES, SAMPLES = 0, 1, 2
ROWS, COLUMNS = 11, 14
SEED = 7


def main():
    shutil.rmtree(GOLDEN / "dicom", ignore_errors=True)
    (GOLDEN / "dicom").mkdir(parents=True)
    rows = [write(name, *case) for name, case in cases().items()]
    (GOLDEN / "dicom.json").write_text(json.dumps(rows, indent=1) + "\n")


def cases():
    """By name: the pixels, the transfer syntax, other attributes, how far a reader may be off."""
    grey = picture(255).astype(np.uint8)
    deep = picture(65535).astype(np.uint16)
    signed = (picture(4000) - 1024).astype(np.int16)
    colours = np.stack([picture(255, seed).astype(np.uint8) for seed in (1, 2, 3)], axis=2)
    frames = np.stack([picture(3000, seed).astype(np.uint16) for seed in (1, 2, 3)])
    ct = {"RescaleSlope": "1", "RescaleIntercept": "-1024", **placed((-70.5, 20, 11))}
    flat = deep // 9000 * 9000
    return {
        "implicit": (deep, IMPLICIT, {}, 0),
        "explicit_8": (grey, EXPLICIT, {}, 0),
        "big_endian": (deep, BIG, {}, 0),
        "big_endian_8": (grey, BIG, {}, 0),
        "deflated": (deep, DEFLATED, {}, 0),
        "signed": (signed, EXPLICIT, window("40\\-600", "400\\1500"), 0),
        "signed_12": (signed & 0xFFF, EXPLICIT, bits(12) | {"PixelRepresentation": 1}, 0),
        # What is above the 12 bits is an overlay, as old scanners wrote it.
        "bits_12": (deep, EXPLICIT, bits(12), 0),
        "bits_10_high_11": (deep, IMPLICIT, bits(10) | {"HighBit": 11}, 0),
        "bits_32": (deep.astype(np.uint32) * 7919, EXPLICIT, {"RescaleSlope": "0.25"}, 0),
        "monochrome1": (deep >> 2, IMPLICIT, bits(14) | white(window("3000", "1200")), 0),
        "monochrome1_signed": (signed, EXPLICIT, white(ct | window("40", "400")), 0),
        "ct": (signed + 1024, EXPLICIT, ct | {"SpacingBetweenSlices": "3"}, 0),
        "radiograph": (grey, EXPLICIT, {"ImagerPixelSpacing": ["0.2", "0.1"]}, 0),
        "frames": (frames, EXPLICIT, bits(12), 0),
        "enhanced": (frames, EXPLICIT, functional_groups(), 0),
        "rgb": (colours, EXPLICIT, {}, 0),
        "rgb_by_plane": (colours, EXPLICIT, {"PlanarConfiguration": 1}, 0),
        "ybr": (colours, EXPLICIT, {"PhotometricInterpretation": "YBR_FULL"}, 1),
        "palette": (grey, EXPLICIT, palette(), 0),
        "rle": (deep, RLE, {}, 0),
        "rle_frames": (frames, RLE, {}, 0),
        "rle_rgb": (colours, RLE, {}, 0),
        "jpeg": (grey, JPEG, {}, 2),
        "jpeg_colour": (colours, JPEG, {"PhotometricInterpretation": "YBR_FULL"}, 2),
        "jpeg_lossless": (deep, JPEG_LOSSLESS, {}, 0),
        "jpeg_lossless_signed": (signed, JPEG_LOSSLESS, ct, 0),
        "jpeg_ls": (deep, JPEG_LS, {}, 0),
        "jpeg_ls_8": (grey, JPEG_LS, {}, 0),
        "jpeg_ls_runs": (flat >> 4, JPEG_LS, bits(12), 0),
        "jpeg_ls_near": (deep >> 4, JPEG_LS_NEAR, bits(12), 0),
        "jpeg_ls_near_runs": (flat >> 8, JPEG_LS_NEAR, bits(8), 0),
        "jpeg_ls_signed": (signed, JPEG_LS, ct, 0),
        "jpeg_ls_frames": (frames, JPEG_LS, bits(12), 0),
        "jpeg_ls_rgb_planes": (colours, (JPEG_LS, PLANES), {}, 0),
        "jpeg_ls_rgb_lines": (colours, (JPEG_LS_NEAR, LINES), {}, 0),
        "jpeg_ls_rgb_samples": (colours // 60 * 60, (JPEG_LS_NEAR, SAMPLES), {}, 0),
        "modality_table": (deep >> 6, EXPLICIT, bits(10) | table("ModalityLUTSequence"), 0),
        "shown_table": (deep >> 6, EXPLICIT, bits(10) | table("VOILUTSequence"), 0),
        "frames_by_place": (frames, EXPLICIT, functional_groups([5, 0, 2.5]), 0),
        "jpeg_2000": (deep, JPEG_2000, {}, 0),
        "jpeg_2000_12": (deep >> 4, JPEG_2000, bits(12), 0),
        "jpeg_2000_rgb": (colours, JPEG_2000, {"PhotometricInterpretation": "YBR_RCT"}, 0),
    }


def picture(high, seed=SEED):
    """Waves and noise from 0 to `high`, `[ROWS, COLUMNS]`."""
    draw = np.random.RandomState(seed)
    y, x = np.mgrid[:ROWS, :COLUMNS] / ROWS
    waves = 0.5 + 0.3 * np.sin(5 * x + seed) + 0.2 * np.cos(7 * y - 2 * x)
    return np.clip(np.rint((waves + 0.02 * draw.standard_normal(x.shape)) * high), 0, high)


def bits(stored):
    return {"BitsStored": stored, "HighBit": stored - 1}


def window(center, width):
    return {"WindowCenter": center.split("\\"), "WindowWidth": width.split("\\")}


def white(attributes):
    return attributes | {"PhotometricInterpretation": "MONOCHROME1"}


def placed(position):
    return {
        "ImagePositionPatient": list(position),
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": ["0.75", "0.5"],
        "SliceThickness": "5",
    }


def palette():
    attributes = {"PhotometricInterpretation": "PALETTE COLOR"}
    ramp = np.arange(256, dtype=np.uint16)
    for name, values in (("Red", ramp * 257), ("Green", 65535 - ramp), ("Blue", ramp[::-1] * 3)):
        attributes[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        attributes[f"{name}PaletteColorLookupTableData"] = values.astype("<u2").tobytes()
    return attributes


def table(sequence):
    """A table that begins at 100, of fewer values than there are numbers."""
    item = Dataset()
    values = np.rint(60000 * (np.arange(700) / 699) ** 2).astype("<u2")
    item.LUTDescriptor = [len(values), 100, 16]
    item.ModalityLUTType = "US"
    item.LUTData = values.tobytes()
    item["LUTData"].VR = "OW"
    return {sequence: [item]}


def group(sequence, **attributes):
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return {sequence: [item]}


def functional_groups(places=(0, 2.5, 5)):
    """Three frames, each with a place, a slope and a window of its own."""
    shared, frames = Dataset(), []
    for name, value in (
        group("PixelMeasuresSequence", PixelSpacing=["0.75", "0.5"], SliceThickness="9")
        | group("PlaneOrientationSequence", ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    ).items():
        setattr(shared, name, value)
    for k in range(3):
        frame = Dataset()
        scale = {"RescaleSlope": str(k + 1), "RescaleIntercept": str(-10 * k)}
        for name, value in (
            group("PlanePositionSequence", ImagePositionPatient=[1, 2, places[k]])
            | group("PixelValueTransformationSequence", RescaleType="US", **scale)
            | group("FrameVOILUTSequence", WindowCenter=str(100 + k), WindowWidth="51")
        ).items():
            setattr(frame, name, value)
        frames.append(frame)
    return {
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": frames,
    }


def write(name, pixels, syntax, attributes, tolerance):
    path = GOLDEN / "dicom" / f"{name}.dcm"
    dataset(pixels, syntax, attributes).save_as(path, enforce_file_format=True)
    found = pydicom.dcmread(path)
    if found.file_meta.TransferSyntaxUID == JPEG:
        found.pixel_array_options(decoding_plugin="pylibjpeg")
    voxels, windows = expected(found)
    order = order_of_frames(found, len(voxels))
    values = f"dicom/{name}.npy"
    np.save(GOLDEN / values, np.ascontiguousarray(voxels[order]))
    row = {
        "file": f"dicom/{name}.dcm",
        "values": values,
        "tolerance": tolerance,
        "windows": [windows[k] for k in order],
        "spacing_mm": spacing(found),
    }
    if "VOILUTSequence" in found:
        row["shown"] = f"dicom/{name}.shown.npy"
        np.save(GOLDEN / row["shown"], apply_voi(found.pixel_array, found))
        row["windows"] = [[0, 65535]]
    return row


def order_of_frames(d, count):
    """By where they lie, if they lie parallel and apart."""
    names = ("PlanePosition", "ImagePosition"), ("PlaneOrientation", "ImageOrientation")
    places, turns = (
        [find(d, k, f"{group}Sequence", f"{name}Patient") for k in range(count)]
        for group, name in names
    )
    if count == 1 or None in places or any(turn != turns[0] for turn in turns):
        return np.arange(count)
    normal = np.cross(*np.array(turns[0], float).reshape(2, 3))
    depths = np.array(places, float) @ normal
    is_apart = np.diff(np.sort(depths)).min() >= 0.01
    return np.argsort(depths) if is_apart else np.arange(count)


def dataset(pixels, syntax, attributes):
    d, meta = Dataset(), FileMetaDataset()
    syntax, *mode = syntax if isinstance(syntax, tuple) else (syntax,)
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = d.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = "1.2.3.4"
    meta.ImplementationClassUID = "1.2.3"
    d.file_meta = meta
    is_colour = pixels.shape[-1] == 3
    d.SamplesPerPixel = 3 if is_colour else 1
    d.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    frames = pixels if pixels.ndim == 3 and not is_colour else pixels[None]
    if len(frames) > 1:
        d.NumberOfFrames = len(frames)
    d.Rows, d.Columns = frames.shape[1:3]
    d.BitsAllocated = d.BitsStored = 8 * pixels.itemsize
    d.HighBit = d.BitsStored - 1
    d.PixelRepresentation = int(pixels.dtype.kind == "i")
    if is_colour:
        d.PlanarConfiguration = 0
    for key, value in attributes.items():
        setattr(d, key, value)
    if is_colour and d.PlanarConfiguration:
        frames = frames.transpose(0, 3, 1, 2)
    if syntax.startswith("1.2.840.10008.1.2.4."):
        d.PixelData = encapsulate([encoded(frame, syntax, d.BitsStored, *mode) for frame in frames])
    else:
        d.PixelData = frames.astype(frames.dtype.newbyteorder("><"[syntax != BIG])).tobytes()
        d.PixelData += b"\0" * (len(d.PixelData) % 2)
    d["PixelData"].VR = "OW" if d.BitsAllocated > 8 else "OB"
    if syntax == RLE:
        meta.TransferSyntaxUID = EXPLICIT
        d.compress(RLE, generate_instance_uid=False, encoding_plugin="pydicom")
    return d


def encoded(frame, syntax, stored, mode=None):
    if syntax == JPEG_LOSSLESS:
        return lossless_jpeg(frame.view(np.uint16))
    if syntax in (JPEG_LS, JPEG_LS_NEAR):
        unsigned = frame.view(f"u{frame.itemsize}")
        near = 3 if syntax == JPEG_LS_NEAR else 0
        rows, columns, samples = (*frame.shape, 1)[:3]
        encode = jpeg_ls.encode_pixel_data
        # CharLS takes planes one after the other if they are not interleaved.
        source = unsigned.transpose(2, 0, 1) if mode == PLANES else unsigned
        return encode(
            np.ascontiguousarray(source).tobytes(),
            lossy_error=near,
            rows=rows,
            columns=columns,
            samples_per_pixel=samples,
            bits_stored=stored,
            bits_allocated=8 * frame.itemsize,
            photometric_interpretation="RGB" if samples == 3 else "MONOCHROME2",
            planar_configuration=int(mode == PLANES),
            interleave_mode=mode,
        )
    options = {
        JPEG: {"format": "JPEG", "quality": 95, "subsampling": 0},
        JPEG_2000: {"format": "JPEG2000", "no_jp2": True, "irreversible": False},
    }[syntax]
    data = io.BytesIO()
    Image.fromarray(frame).save(data, **options)
    return data.getvalue()


def lossless_jpeg(frame):
    """Process 14, selection value 1: each sample by its left neighbour, 16 bits."""
    rows, columns = frame.shape
    before = np.empty((rows, columns), np.int64)
    before[:, 1:] = frame[:, :-1]
    before[1:, 0] = frame[:-1, 0]
    before[0, 0] = 1 << 15
    text = ""
    for difference in ((frame.astype(np.int64) - before + 32768) % 65536 - 32768).ravel():
        size = int(abs(difference)).bit_length()
        # Every size has a code of five bits; the one of 16 bits (-32768) needs no more.
        text += f"{size:05b}"
        if 0 < size < 16:
            text += f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}"
    text += "1" * (-len(text) % 8)
    scan = bytes(int(text[k : k + 8], 2) for k in range(0, len(text), 8))
    table = bytes([0]) + bytes(17 if length == 5 else 0 for length in range(1, 17))

    def segment(marker, content):
        return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content

    return (
        b"\xff\xd8"
        + segment(0xC3, struct.pack(">BHHBBBB", 16, rows, columns, 1, 1, 0x11, 0))
        + segment(0xC4, table + bytes(range(17)))
        + segment(0xDA, bytes([1, 1, 0, 1, 0, 0]))
        + scan.replace(b"\xff", b"\xff\0")
        + b"\xff\xd9"
    )


def expected(d):
    """The voxels `[S, C, H, W]`, and the window of each slice or none."""
    if d.file_meta.TransferSyntaxUID == JPEG_12:
        pixels = by_gdcm(d.filename)
    else:
        pixels = d.pixel_array
    if "ModalityLUTSequence" in d:
        return apply_modality_lut(pixels, d)[None, None], [bounds(d, 0)]
    if d.HighBit + 1 != d.BitsStored:
        # pydicom takes the lowest bits, wherever HighBit is.
        pixels = np.frombuffer(d.PixelData, np.uint16).reshape(d.Rows, d.Columns)
    if d.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, d)
    if pixels.shape[-1] == 3:
        voxels = pixels[None] if pixels.ndim == 3 else pixels
        return voxels.transpose(0, 3, 1, 2), [None] * len(voxels)
    frames = pixels if pixels.ndim == 3 else pixels[None]
    scaled, windows = [], []
    for k, frame in enumerate(frames):
        values = stored(frame, d)
        slope = float(find(d, k, "PixelValueTransformationSequence", "RescaleSlope") or 1)
        intercept = float(find(d, k, "PixelValueTransformationSequence", "RescaleIntercept") or 0)
        ends = bounds(d, k)
        if d.PhotometricInterpretation == "MONOCHROME1":
            greatest = -1 if d.PixelRepresentation else (1 << d.BitsStored) - 1
            values = greatest - values
            # What was the value of a pixel is that of its inverse now.
            back = [greatest - (end - intercept) / slope for end in ends or ()]
            ends = ends and sorted(slope * end + intercept for end in back)
        scaled.append(slope * values + intercept)
        windows.append(ends)
    return np.stack(scaled)[:, None], windows


def by_gdcm(path):
    """pydicom lets no plugin decode JPEG of 12 bits whose scan has a wrong header."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read(), path
    image = reader.GetImage()
    values = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), "<u2")
    columns, rows = image.GetDimensions()
    return values.reshape(rows, columns)


def stored(frame, d):
    """The bits that BitsStored and HighBit name, as float64."""
    values = frame.astype(np.int64) >> (d.HighBit + 1 - d.BitsStored)
    values &= (1 << d.BitsStored) - 1
    if d.PixelRepresentation:
        values -= (values >> (d.BitsStored - 1)) << d.BitsStored
    return values.astype(np.float64)


def bounds(d, k):
    center, width = (
        find(d, k, "FrameVOILUTSequence", name) for name in ("WindowCenter", "WindowWidth")
    )
    if center is None:
        return None
    first = [float(np.atleast_1d(value)[0]) for value in (center, width)]
    middle, half = first[0] - 0.5, (first[1] - 1) / 2
    return [middle - half, middle + half]


def find(d, k, sequence, name):
    """An attribute of frame `k`, wherever it stands."""
    frames = d.get("PerFrameFunctionalGroupsSequence", [])[k : k + 1]
    for groups in [*frames, *d.get("SharedFunctionalGroupsSequence", [])]:
        if sequence in groups and name in groups[sequence].value[0]:
            return groups[sequence].value[0].get(name)
    return d.get(name)


def spacing(d):
    """Distance between slices, rows and columns."""
    pixel = find(d, 0, "PixelMeasuresSequence", "PixelSpacing") or d.get("ImagerPixelSpacing")
    if pixel is None:
        return None
    places = [find(d, k, "PlanePositionSequence", "ImagePositionPatient") for k in (0, 1)]
    step = d.get("SpacingBetweenSlices") or d.get("SliceThickness") or 1
    if places[0] != places[1]:
        places = (find(d, k, "PlanePositionSequence", "ImagePositionPatient") for k in range(3))
        places = sorted(map(list, places))
        step = np.linalg.norm(np.subtract(*places[:2]))
    return [float(step), *map(float, pixel)]


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="pydicom")
    main()
