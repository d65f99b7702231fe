"""A project that exists while a benchmark runs: its models, and images to run them on.

So nothing comes to lie in the real one, least of all random weights under a model's name.
"""

import json
import os
import subprocess
from pathlib import Path

import random_weights
import wheels

# Images that differ; a longer run takes them again.
IMAGES = 64
SEED = 7


class Home:
    """The project in `folder`, for `names` of models, with grey PNG images of `pixels` a side."""

    def __init__(self, folder, extract, names, pixels):
        if not extract.is_file():
            raise wheels.Failed(f"{extract}: no such file\nhint: cargo build --release --bins")
        self.folder, self.extract = folder, extract.resolve()
        (folder / "onnx_models").mkdir()
        (folder / "runtime").mkdir()
        for library in (wheels.ROOT / "runtime").glob("onnxruntime*"):
            (folder / "runtime" / library.name).symlink_to(library.resolve())
        self.weights = {name: self.add(name) for name in names}
        write_images(folder / "images", IMAGES, pixels)

    def add(self, name):
        """Whose weights the model has: `real` ones that the project has already, or `random`."""
        card = random_weights.MODELS / f"{name}.toml"
        target = self.folder / "onnx_models" / f"{name}.safetensors"
        if not card.is_file():
            raise wheels.Failed(f"{card}: no such file\nhint: `extract models` lists all models")
        (target.parent / card.name).write_bytes(card.read_bytes())
        real = random_weights.MODELS / target.name
        if real.is_file():
            target.write_bytes(real.read_bytes())
            return "real"
        random_weights.write(random_weights.read_card(name), target)
        return "random"

    def run(self, name, images, *words):
        """The summary of a run of `extract` into a new cache, or else why there is none."""
        self.write_manifest(images)
        cache = self.folder / "cache"
        command = [self.extract, "--model", name, "--dataset", "manifest", "--format", "json"]
        command += ["--root", self.folder / "images", "--cache", cache, *words]
        environment = os.environ | {"SLICEBANK_HOME": str(self.folder)}
        done = subprocess.run(
            list(map(str, command)), check=False, capture_output=True, text=True, env=environment
        )
        subprocess.run(["rm", "-rf", cache], check=True)
        if done.returncode:
            return {"error": reason(done.stderr).replace(str(self.folder), str(wheels.ROOT))}
        return json.loads(done.stdout)

    def write_manifest(self, images):
        rows = [f"{index},{index % IMAGES:04}.png" for index in range(images)]
        text = "".join(f"{row}\n" for row in ["id,image", *rows])
        (self.folder / "images" / "manifest.csv").write_text(text)


def reason(stderr):
    """The message of an error without its hint."""
    lines = stderr.strip().splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it said nothing"])[-1]


def parity(summary):
    """The least cosine and the relative RMS as text; a graph of another tool is the reference."""
    found = summary["parity"]
    return (f"{found['cosine_min']:.7f}", f"{found['relative_rms']:.1e}") if found else ("-", "-")


def default_extract():
    target = Path(os.environ.get("CARGO_TARGET_DIR", wheels.ROOT / "target"))
    return target / "release" / "extract"


def table(rows):
    """Rows of text as lines with columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    cells = [[cell.ljust(width) for cell, width in zip(row, widths)] for row in rows]
    return "\n".join("  ".join(row).rstrip() for row in cells)


def write_images(root, count, side):
    """A folder with a manifest and `count` grey PNG of smooth noise, no two alike."""
    import numpy as np
    from PIL import Image

    root.mkdir()
    draw = np.random.default_rng(SEED)
    names = [f"{index:04}.png" for index in range(count)]
    for name in names:
        coarse = draw.integers(0, 256, (side // 8, side // 8), np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((side, side), Image.BICUBIC), np.int16)
        noisy = smooth + draw.integers(-8, 9, (side, side), np.int16)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(root / name)
    (root / "manifest.csv").write_text("".join(f"{line}\n" for line in ["image", *names]))
    return root
