"""Images and labels of a cache.

Rows, labels, splits and masks are those of the cache's tables; pixels are those of `extract pixels`.
"""

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import torch

import slicebank
from finetuning import process
from finetuning.augment import Augment
from finetuning.errors import Failed

IGNORE = -1
# Rows whose masks are read together.
READ = 256
# Classes that the study's code makes of the labels of two datasets.
NIH = {"Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis"}
NIH |= {"Hernia", "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax"}
CHEXPERT = {"Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"}


class Data:
    """The examples of a cache: rows of its table `slices`, with targets by row.

    `classes` are the names; `values` those of the classes in masks; `parts` the plain rows of `train`, `val` and `test`;
    `width` that of the last layer's patch tokens.
    """

    def __init__(self, args):
        if not (args.cache / "meta.json").is_file():
            hint = "name the folder of a finished cache: embeddings/DATASET/MODEL@SIZE"
            raise Failed(f"`{args.cache}`: no cache", hint)
        self.cache = slicebank.open(args.cache, split=args.split, labels=args.labels)
        self.path = args.cache
        self.meta = self.cache.meta
        self.sha256 = hashlib.sha256((args.cache / "meta.json").read_bytes()).hexdigest()
        if "imported" in self.meta:
            hint = "extract the dataset with a model of `extract models`"
            raise Failed(f"`{args.cache}`: its tokens were imported, so there are no pixels", hint)
        self.slices = self.cache.slices
        self.side = self.meta["image_size"]
        self.width = self.meta["shapes"][-1]["patch"] if "shapes" in self.meta else self.meta["width"]
        self.is_segmentation = bool(args.decoder or args.model)
        if self.is_segmentation:
            self.read_masks()
        else:
            self.read_labels(args.protocol)
        self.parts = {part: self.rows_of(part) for part in ("train", "val", "test")}
        for part, rows in self.parts.items():
            if not len(rows):
                hint = "make a split with all three by `extract split`, and give its name as --split"
                what = "with a mask" if self.is_segmentation else "with a label"
                raise Failed(f"`{args.cache}`: no slice {what} in `{part}`", hint)
        self.views = self.views_by_row()

    def read_labels(self, protocol):
        """`targets` `[N]` of classes, or `[N, C]` of 1, 0 and NaN; -1 or NaN without a label."""
        self.is_single = self.meta["task"] == "single-label"
        self.classes = list(self.cache.classes)
        if not self.classes:
            hint = "give --decoder for masks, or labels by `extract relabel`"
            raise Failed(f"`{self.path}`: unlabelled", hint)
        if self.is_single:
            known = {name: index for index, name in enumerate(self.classes)}
            labels = self.slices["label"].to_list()
            self.targets = np.array([known.get(label, -1) for label in labels], np.int64)
            self.is_labelled = self.targets >= 0
            return
        words = {"present": 1.0, "absent": 0.0, "uncertain": -1.0, None: np.nan}
        columns = [self.slices[f"label_{name}"].to_list() for name in self.classes]
        states = np.array([[words[word] for word in column] for column in columns], np.float32).T
        self.is_labelled = ~np.isnan(states).all(axis=1)
        made = made_class(set(self.classes), states) if protocol == "paper" else None
        # A blank label counts as absent where others are known.
        states = np.where(np.isnan(states), 0, states)
        states[states < 0] = 0 if protocol == "paper" else np.nan
        if made:
            self.classes.append(made[0])
            states = np.column_stack([states, made[1]])
        self.targets = states.astype(np.float32)

    def read_masks(self):
        """`squares` `[N, S, S]`: the classes of each row at the size of the input."""
        if not self.meta["has_masks"]:
            raise Failed(f"`{self.path}`: no masks", "leave --decoder and --model out to classify")
        count, found = len(self.slices), set()
        squares = np.zeros((count, self.side, self.side), np.uint16)
        self.is_labelled = np.zeros(count, bool)
        for start in range(0, count, READ):
            rows = np.arange(start, min(start + READ, count))
            for row, mask in zip(rows, self.cache.masks(rows)):
                if mask is not None:
                    found.update(np.unique(mask).tolist())
                    squares[row] = mask[np.ix_(*(centres(length, self.side) for length in mask.shape))]
                    self.is_labelled[row] = True
        ignored = self.meta.get("ignored_mask_value")
        named = self.cache.mask_classes
        unnamed = sorted(found - set(named) - {0, ignored}) if named else []
        if unnamed:
            hint = "name them, or extract with `--unnamed-values ignore`"
            raise Failed(f"`{self.path}`: masks hold values without a name: {unnamed[:8]}", hint)
        self.values = np.array(sorted((found | {0}) - {ignored}), np.uint16)
        self.classes = [named.get(int(value), f"value {value}") for value in self.values]
        lookup = np.full(2**16, IGNORE, np.int8 if len(self.values) < 128 else np.int32)
        lookup[self.values] = np.arange(len(self.values))
        self.squares = lookup[squares]

    def rows_of(self, part):
        plain = (self.slices["view"] == 0).to_numpy()
        inside = (self.slices["split"].fill_null("") == part).to_numpy()
        return np.flatnonzero(plain & inside & self.is_labelled)

    def views_by_row(self):
        """Rows of the augmented views of each plain row; none if the cache has none."""
        keys = zip(self.slices["sample"].to_list(), self.slices["slice"].to_list())
        views = {}
        for row, (key, view) in enumerate(zip(keys, self.slices["view"].to_list())):
            views.setdefault(key, []).append((view, row))
        return {rows[0][1]: [row for _, row in rows[1:]] for rows in map(sorted, views.values()) if rows[1:]}

    def target(self, row):
        """The class of a row, its classes `[C]`, or those of its pixels `[S, S]`."""
        if self.is_segmentation:
            return torch.from_numpy(self.squares[row].astype(np.int64))
        return torch.tensor(self.targets[row])


def centres(length, side):
    """The pixels at the centres of `side` equal parts, as PyTorch's `nearest-exact`."""
    at = (np.arange(side, dtype=np.float32) + 0.5) * np.float32(length / side)
    return np.minimum(at.astype(int), length - 1)


def made_class(classes, states):
    """The class that the study's code adds, and which rows are of it."""
    if classes == NIH:
        return "No Finding", ~(states == 1).any(axis=1)
    if classes == CHEXPERT:
        return "Uncertain", (states == -1).any(axis=1)
    return None


def pixels(args, data):
    """The pixels of all rows of the cache, f32 `[N, 3, S, S]`, mapped from a file, which is made first."""
    meta = data.meta
    name = f"{meta['dataset']}-{meta['model']['name']}@{data.side}-{data.sha256[:12]}.npy"
    path = args.pixels or args.runs / "pixels" / name
    if process.first() and not path.is_file():
        if args.pixels or args.root is None:
            hint = "give the folder of the dataset as --root, or make the file: `extract pixels CACHE --root DIR --out FILE`"
            raise Failed(f"`{path}`: no such file, and the images are needed", hint)
        extract(args, path)
    process.wait()
    array = np.load(path, mmap_mode="r")
    expected = (len(data.slices), 3, data.side, data.side)
    if array.shape != expected or array.dtype != np.float32:
        hint = "delete it, and it is made again"
        raise Failed(f"`{path}`: {array.dtype} {array.shape}, expected float32 {expected}", hint)
    return array


def extract(args, path):
    command = ["extract", "pixels", str(args.cache), "--root", str(args.root), "--out", str(path)]
    command += ["--dataset", args.dataset] if args.dataset else []
    try:
        done = subprocess.run(command, check=False)
    except FileNotFoundError:
        hint = "build the programs: `cargo build --release`, or install the wheel"
        raise Failed("`extract`: not found", hint) from None
    if done.returncode:
        hint = "see the message above; with other options, run it yourself and give --pixels"
        raise Failed(f"`{' '.join(command)}` failed", hint)


class Images(torch.utils.data.Dataset):
    """Items by `(row, epoch)`: pixels `[3, S, S]`, target, row. Training images are augmented; an epoch of -1 stands for
    plain ones."""

    def __init__(self, data, array, augmentation, seed):
        self.data = data
        self.array = array
        self.augmentation = augmentation
        self.augment = Augment(data.meta["preprocess"], seed)

    def __getitem__(self, item):
        row, epoch = item
        views = self.data.views.get(row, []) if epoch >= 0 else []
        at = views[epoch % len(views)] if views else row
        image = torch.from_numpy(np.array(self.array[at]))
        target = self.data.target(at)
        if epoch >= 0 and self.augmentation == "crop-flip":
            image = self.augment.crop_flip(image, epoch, row)
        if epoch >= 0 and self.augmentation == "flip-rotate":
            image, target = self.augment.flip_rotate(image, target, epoch, row)
        return image, target, row


def augmentation(args, data):
    """The name of what is done to training images."""
    if data.views and args.augment is None:
        return "stored-views"
    if data.views:
        hint = "leave --augment out: each epoch takes another view"
        raise Failed(f"`{data.path}`: has stored views, which are the augmentation", hint)
    if args.augment == "none":
        return "none"
    return "flip-rotate" if data.is_segmentation else "crop-flip"


def weights(args, name):
    """The file of a backbone's weights."""
    path = Path(args.models) / f"{name}.safetensors"
    if not path.is_file():
        hint = f"`extract export {name}` gets it; `--models DIR` names another folder"
        raise Failed(f"`{path}`: no such file", hint)
    return path
