"""PNG and JPEG."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from corpus.files import MB, changed, cut
from fixtures.folder import encoded


def chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(width, height, data, *between, depth=8, colours=0):
    """A PNG of raw rows, packed; `between` are chunks in front of them."""
    head = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    chunks = [chunk(b"IHDR", head), *between, chunk(b"IDAT", zlib.compress(data, 9))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def files():
    draw = np.random.default_rng(7)
    grey = draw.integers(0, 256, (13, 17), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in grey)
    whole = png(17, 13, rows)
    palette = bytes(range(48))
    found = {
        "whole.png": whole,
        "one-bit.png": encoded(grey > 100, "PNG"),
        "deep.png": encoded(grey.astype(np.uint16) * 257, "PNG"),
        "huge.png": png(32767, 32767, rows),
        "wider-than-huge.png": png(2**31 - 1, 2**31 - 1, rows),
        "empty.png": png(0, 0, b""),
        "no-rows.png": png(17, 0, b""),
        "depth-3.png": png(17, 13, rows, depth=3),
        "colours-5.png": png(17, 13, rows, colours=5),
        "palette-missing.png": png(17, 13, rows, colours=3),
        "palette-too-short.png": png(17, 13, rows, chunk(b"PLTE", palette), colours=3),
        "palette-odd.png": png(17, 13, rows, chunk(b"PLTE", palette[:-1]), colours=3),
        "filter-9.png": png(17, 13, b"\x09" + rows[1:]),
        "rows-missing.png": png(17, 13, rows[:-18]),
        "rows-too-many.png": png(17, 13, rows + bytes(2 * MB)),
        "profile-bomb.png": png(
            17, 13, rows, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2 * MB)))
        ),
        "text-bomb.png": png(17, 13, rows, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2 * MB)))),
        "chunk-longer-than-file.png": whole[:33] + b"\xff\xff\xff\xffIDAT",
        "many-chunks.png": png(17, 13, rows, *[chunk(b"tEXt", b"a\0")] * 300),
        "animation.png": png(17, 13, rows, chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
        "image-bomb.png": png(2000, 2000, bytes(2001 * 2000)),
        "checksum.png": changed(whole, (len(whole) - 18, b"\0\0\0\0")),
    }
    found |= cut("cut.png", whole, 4, 8, 16, 33, 40, 60, len(whole) - 12)
    return found | jpegs(grey) | tiffs(grey)


def tiffs(grey):
    """Of one page, and with a directory that leads elsewhere."""
    whole = encoded(grey, "TIFF")
    directory = struct.unpack_from("<I", whole, 4)[0]
    entries = struct.unpack_from("<H", whole, directory)[0]
    end = directory + 2 + 12 * entries
    sizes = [directory + 2 + 12 * k for k in range(entries)]
    tag = {struct.unpack_from("<H", whole, at)[0]: at for at in sizes}
    long = struct.Struct("<HI").pack
    huge = [(tag[k] + 2, long(4, 1) + b"\xff\x7f\0\0") for k in (256, 257)]
    files = {
        "whole.tif": whole,
        "pages.tif": changed(whole, (end, struct.pack("<I", directory))),
        "huge.tif": changed(whole, *huge),
        "huge-strip.tif": changed(whole, (tag[279] + 2, long(4, 1) + b"\xff\xff\xff\x7f")),
        "many-strips.tif": changed(whole, (tag[273] + 4, b"\xff\xff\xff\x0f")),
        "directory-nowhere.tif": changed(whole, (4, b"\xff\xff\xff\xff")),
        "directory-in-itself.tif": changed(whole, (4, struct.pack("<I", 4))),
        "big.tif": b"II+\0\x08\0\0\0" + bytes(16),
    }
    return files | cut("cut.tif", whole, 4, 8, 20, directory + 4, end, len(whole) - 4)


def jpegs(grey):
    whole = encoded(grey, "JPEG")
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", progressive=True)
    progressive = buffer.getvalue()
    frame = whole.index(b"\xff\xc0")
    scan = progressive.rindex(b"\xff\xda")
    large = changed(
        progressive, (progressive.index(b"\xff\xc2") + 5, struct.pack(">HH", 4000, 4000))
    )
    files = {
        "whole.jpg": whole,
        "progressive.jpg": progressive,
        "colours.jpg": encoded(
            np.dstack([grey, grey.T[:13, :13].repeat(2, 1)[:, :17], grey]), "JPEG"
        ),
        "huge.jpg": changed(whole, (frame + 5, b"\x7f\xff\x7f\xff")),
        "size-0.jpg": changed(whole, (frame + 5, bytes(4))),
        "four-components.jpg": changed(whole, (frame + 9, b"\x04")),
        "sampling-0.jpg": changed(whole, (frame + 11, b"\x00")),
        "many-scans.jpg": large[:scan] + large[scan:-2] * 100 + b"\xff\xd9",
        "no-tables.jpg": whole[:2] + whole[frame:],
        "segment-of-0.jpg": b"\xff\xd8\xff\xe0\x00\x00\xff\xda\xff\xd9",
    }
    return files | cut("cut.jpg", whole, 2, 3, 4, 100, frame + 4, len(whole) // 2, len(whole) - 2)
