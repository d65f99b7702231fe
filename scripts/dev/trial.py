"""A small dataset, its cache of one run, and the comparison with a cache that was made in parts."""

import os
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
EXTRACT = PROJECT / "target/release/extract"
NAME = "trial/tiny-vit@56"
# Small shards, so that a stopped part has something to go on with.
SIZES = ["--batch-size", "4", "--shard-rows", "16"]


class Trial:
    """Random pictures in `folder`, and the arguments of `extract` for them."""

    def __init__(self, folder, images):
        self.folder, self.images = Path(folder), images
        draw = random.Random(1)
        pictures = self.folder / "images"
        pictures.mkdir(parents=True)
        names = [f"{index:05}.png" for index in range(images)]
        for name in names:
            (pictures / name).write_bytes(png(draw, 48, 40))
        self.table = pictures / "manifest.csv"
        self.table.write_text("".join(f"{line}\n" for line in ["image", *names]))

    def words(self, cache):
        words = ["--model", "tiny-vit", "--dataset", "manifest", "--name", "trial"]
        return [*words, "--root", str(self.table), "--cache", str(self.folder / cache), *SIZES]

    def single_run(self):
        subprocess.run([EXTRACT, *self.words("one")], check=True)

    def compare(self, cache):
        """Ends the program unless `cache` has the files of the single run, byte for byte."""
        one, other = (files(self.folder / of / NAME) for of in ("one", cache))
        differing = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
        if differing:
            sys.exit(f"differs from a single run: {', '.join(differing)}")
        print(f"{len(one)} files of {self.images} slices equal those of a single run, byte for byte")


def files(folder):
    """Contents by name, without locks and `history.json`, which has times."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if not name.startswith(".lock") and name != "history.json":
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def png(draw, width, height):
    """A grey PNG of noise."""
    rows = b"".join(b"\0" + draw.randbytes(width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)
