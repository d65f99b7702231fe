"""NIfTI-1 and gzip."""

import gzip
import struct

import numpy as np

from corpus.files import MB, changed, cut
from fixtures.folder import nifti_bytes, packed, position_code


def shorts(*values):
    return struct.pack(f"<{len(values)}h", *values)


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


def files():
    """Places in the header: 40 axes, 70 type, 76 spacing, 108 offset of the voxels, 112 scale, 252
    codes of the affines, 256 quaternion, 280 affine, 344 magic.
    """
    whole = nifti_bytes(position_code((6, 5, 4)), np.diag([1.0, 2, 3, 1]))
    four = nifti_bytes(np.stack([position_code((6, 5, 4))] * 2, -1), np.eye(4))
    huge = changed(whole, (40, shorts(3, 32767, 32767, 32767)))
    found = {
        "whole.nii": whole,
        "whole.nii.gz": packed(whole),
        "channels.nii.gz": packed(four),
        "huge.nii": huge,
        "huge.nii.gz": packed(huge),
        "huge-in-one-axis.nii.gz": packed(changed(whole, (40, shorts(3, 32767, 32767, 1)))),
        "many-channels.nii": changed(whole, (40, shorts(4, 6, 5, 4, 32767))),
        "seven-axes.nii": changed(whole, (40, shorts(7, 6, 5, 4, 2, 2, 2, 2))),
        "no-axes.nii": changed(whole, (40, shorts(0))),
        "negative-axis.nii": changed(whole, (40, shorts(3, 6, -5, 4))),
        "empty-axis.nii": changed(whole, (40, shorts(3, 6, 0, 4))),
        "nine-axes.nii": changed(whole, (40, shorts(9))),
        "type-0.nii": changed(whole, (70, shorts(0))),
        "type-rgb.nii": changed(whole, (70, shorts(128))),
        "type-f128.nii": changed(whole, (70, shorts(1536))),
        "type-wider-than-bits.nii": changed(whole, (70, shorts(64))),
        "spacing-nan.nii": changed(whole, (76, floats(*[np.nan] * 4)), (252, shorts(0, 0))),
        "spacing-0.nii": changed(whole, (76, floats(*[0] * 4)), (252, shorts(0, 0))),
        "offset-nan.nii": changed(whole, (108, floats(np.nan))),
        "offset-infinite.nii": changed(whole, (108, floats(np.inf))),
        "offset-negative.nii": changed(whole, (108, floats(-1e30))),
        "offset-huge.nii.gz": packed(changed(whole, (108, floats(2.6e8)))),
        "offset-odd.nii.gz": packed(changed(whole, (108, floats(353)))),
        "scale-huge.nii": changed(whole, (112, floats(3e38, 3e38))),
        "intercept-nan.nii": changed(whole, (112, floats(1, np.nan))),
        "quaternion-long.nii": changed(whole, (252, shorts(1, 0)), (256, floats(1e30, 1e30, -9))),
        "affine-nan.nii": changed(whole, (280, floats(*[np.nan] * 12))),
        "affine-0.nii": changed(whole, (280, floats(*[0] * 12))),
        "affine-flat.nii": changed(whole, (280, floats(*[1] * 12))),
        "affine-huge.nii": changed(whole, (280, floats(*[3e38] * 12))),
        "pair.nii": changed(whole, (344, b"ni1\0")),
        "version-2.nii": struct.pack("<i", 540) + b"n+2\0\r\n\x1a\n" + bytes(532),
        "whole-2.nii": second(whole),
        "huge-2.nii": changed(second(whole), (24, struct.pack("<3q", 2**62, 2**62, 2))),
        "negative-2.nii": changed(second(whole), (24, struct.pack("<q", -(2**63)))),
        "offset-2.nii": changed(second(whole), (168, struct.pack("<q", 2**63 - 1))),
        "pair-2.nii": changed(second(whole), (4, b"ni2")),
        "billion-slices.nii": struct.pack("<i", 540)
        + bytes(12)
        + struct.pack("<4q", 3, 9, 9, 10**9),
    }
    found |= cut("cut.nii", whole, 0, 1, 4, 40, 347, 348, 351, 352, len(whole) - 1)
    found |= cut("cut.nii.gz", packed(whole), 2, 10, 18, 60, len(packed(whole)) - 4)
    return found | gzips(whole)


def second(whole):
    """The volume of a NIfTI-1 file behind a header of NIfTI-2."""
    dim = struct.unpack_from("<8h", whole, 40)
    header = bytearray(544)
    struct.pack_into("<i8s2h8q", header, 0, 540, b"n+2\0\r\n\x1a\n", *struct.unpack_from("<2h", whole, 70), *dim)
    struct.pack_into("<8d", header, 104, *[1.0] * 8)
    struct.pack_into("<q", header, 168, 544)
    return bytes(header) + whole[352:]


def gzips(whole):
    """Gzip's own tricks around a whole file."""
    zipped = packed(whole)
    bomb = gzip.compress(whole + bytes(4 * MB), mtime=0)
    volume = changed(whole, (40, shorts(3, 2048, 1024, 1)))
    return {
        "bomb.nii.gz": bomb,
        "bomb-that-lies.nii.gz": bomb[:-4] + struct.pack("<I", len(whole)),
        "bomb-that-is-an-image.nii.gz": gzip.compress(volume + bytes(4 * MB - 240), mtime=0),
        "size-too-large.nii.gz": zipped[:-4] + b"\xff\xff\xff\xff",
        "size-0.nii.gz": zipped[:-4] + bytes(4),
        "checksum.nii.gz": zipped[:-8] + b"\xde\xad\xbe\xef" + zipped[-4:],
        "name-without-end.nii.gz": b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 2000,
        "all-flags.nii.gz": b"\x1f\x8b\x08\xff" + bytes(6) + b"\xff\xff" + b"a" * 100,
        "empty-members.nii.gz": gzip.compress(b"", mtime=0) * 200 + zipped,
        "two-members.nii.gz": packed(whole[:400]) + packed(whole[400:]),
        "nested.nii.gz": packed(zipped),
    }
