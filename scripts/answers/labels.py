"""What each dataset's own tables and names say of its samples, by pandas and plain Python.

Each function is given the folder of a dataset and returns its `classes` and its `samples`. A sample
is `files` (relative to that folder, one unless it is a stack of slices), and as far as known
`part` (channel, or array and index), `patient`, `split`, `label` (a class) or `states` (of each
class), and `mask`, the label map `[S, H, W]` as stored. Samples without `label` and `states` are
labelled by what their masks hold.
"""

import json
import re

import h5py
import nibabel
import numpy as np
import pandas as pd
from PIL import Image


def of_path(root, path):
    return path.relative_to(root).as_posix()


def natural(name):
    """Orders numbers in names by their value."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def nifti_mask(path):
    values = nibabel.load(path).get_fdata()
    return np.moveaxis(values, 2, 0)


def is_junk(path):
    return path.name.startswith("._") or "__MACOSX" in path.parts


# Chest radiographs.

NIH = (
    "Atelectasis Cardiomegaly Consolidation Edema Effusion Emphysema Fibrosis Hernia Infiltration "
    "Mass Nodule Pleural_Thickening Pneumonia Pneumothorax"
).split()


def nih(root):
    """14 findings in alphabetical order; the lists are the official split."""
    path = next(root.glob("Data_Entry_2017*.csv"))
    # The header has more commas than names: columns are taken by their place.
    table = pd.read_csv(path, skiprows=1, header=None, usecols=[0, 1, 3])
    table.columns = ["file", "findings", "patient"]
    train_val = set((root / "train_val_list.txt").read_text().split())
    test = set((root / "test_list.txt").read_text().split())
    assert len(train_val) == 8 and len(test) == 4
    images = {path.name: path for path in root.rglob("*.png")}
    samples = []
    for row in table.itertuples():
        found = set(row.findings.split("|")) - {"No Finding"}
        assert found <= set(NIH)
        samples.append(
            {
                "files": [of_path(root, images[row.file])],
                "patient": str(row.patient),
                "split": "train" if row.file in train_val else "test",
                "states": {finding: int(finding in found) for finding in NIH},
            }
        )
    return {"classes": NIH, "samples": samples}


CHEXPERT = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]


def chexpert(root):
    """Frontal views, the five findings of the competition, blank and uncertain both 0."""
    samples = []
    folders = {path.name: path for path in root.rglob("patient*") if path.is_dir()}
    for name, split in [("train.csv", "train"), ("valid.csv", "val"), ("test_labels.csv", "test")]:
        for table in root.rglob(name):
            rows = pd.read_csv(table)
            # The test set's table does not say which views are frontal; the names do.
            is_frontal = rows.get("Frontal/Lateral", rows["Path"].str.contains("frontal"))
            rows = rows[is_frontal.isin(["Frontal", True])]
            samples += [chexpert_sample(root, row, split, folders) for _, row in rows.iterrows()]
    return {"classes": CHEXPERT, "samples": samples}


def chexpert_sample(root, row, split, folders):
    patient, rest = re.search(r"(patient\d{5})/(.*)", row["Path"]).groups()
    path = folders[patient] / rest
    assert path.is_file()
    return {
        "files": [of_path(root, path)],
        "patient": patient,
        "split": split,
        "states": {finding: int(row[finding] == 1) for finding in CHEXPERT},
    }


def montgomery(root):
    """The left lung is 1, the right one 2."""
    samples = []
    for path in sorted((root / "CXR_png").glob("*.png")):
        left, right = (
            np.asarray(Image.open(root / "ManualMask" / f"{side}Mask" / path.name))
            for side in ("left", "right")
        )
        assert not (left & right).any()
        samples.append(
            {
                "files": [of_path(root, path)],
                "patient": "_".join(path.stem.split("_")[:2]),
                "mask": (left + 2 * right.astype(int))[None],
            }
        )
    return {"classes": ["left lung", "right lung"], "samples": samples}


# CT slices as PNG.


def sars_patient(root):
    """A stack of slices per patient, in the order of their numbers."""
    samples = []
    for folder in sorted(root.glob("*/Patient (*)")):
        files = sorted((path for path in folder.glob("*.png")), key=lambda p: int(p.stem))
        group = folder.parent.name
        samples.append(
            {
                "files": [of_path(root, path) for path in files],
                "patient": f"{group}/{folder.name}",
                "label": group,
            }
        )
    return {"classes": ["Covid", "Healthy", "Others"], "samples": samples}


def sars_flat(root):
    samples = [
        {"files": [of_path(root, path)], "label": path.parent.name}
        for path in sorted(root.glob("*/*.png"))
    ]
    return {"classes": ["COVID", "non-COVID"], "samples": samples}


# Volumes.


def amos(root):
    """The labelled CT scans; what has a number of 500 or more is an MR."""
    description = json.loads((root / "dataset.json").read_text())
    samples = []
    for key, split in [("training", "train"), ("validation", "val")]:
        for entry in description[key]:
            number = int(re.search(r"amos_(\d+)", entry["image"]).group(1))
            if number < 500:
                samples.append(
                    {
                        "files": [entry["image"].removeprefix("./")],
                        "patient": str(number),
                        "split": split,
                        "mask": nifti_mask(root / entry["label"]),
                    }
                )
    return {"classes": classes_of(description), "samples": samples}


def classes_of(description):
    """Names by value, background left out."""
    labels = {int(value): name for value, name in description["labels"].items()}
    return [labels[value] for value in sorted(labels) if value > 0]


def decathlon(root):
    """The labelled cases, and each channel of a scan with several as a sample of its own."""
    description = json.loads((root / "dataset.json").read_text())
    samples = []
    for entry in description["training"]:
        image, label = (root / entry[key] for key in ("image", "label"))
        channels = range(len(description["modality"]))
        for channel in channels:
            sample = {
                "files": [of_path(root, image)],
                "patient": image.name.removesuffix(".nii.gz"),
                "mask": nifti_mask(label),
            }
            samples.append(sample | ({"part": str(channel)} if len(channels) > 1 else {}))
    return {"classes": classes_of(description), "samples": samples}


BTCV = (
    "spleen,right kidney,left kidney,gallbladder,esophagus,liver,stomach,aorta,"
    "inferior vena cava,portal and splenic vein,pancreas,right adrenal gland,left adrenal gland"
).split(",")


def btcv(root):
    samples = []
    for path in sorted((root / "Training/img").glob("*.nii.gz")):
        label = root / "Training/label" / path.name.replace("img", "label")
        number = re.search(r"\d+", path.name).group()
        sample = {"files": [of_path(root, path)], "patient": number, "mask": nifti_mask(label)}
        samples.append(sample)
    return {"classes": BTCV, "samples": samples}


def totalsegmentator(root):
    table = pd.read_csv(root / "meta.csv", sep=";", encoding="utf-8-sig")
    organs = ["spleen", "kidney_right", "liver"]
    samples = []
    for row in table.itertuples():
        folder = root / row.image_id
        mask = 0
        for value, organ in enumerate(organs, 1):
            part = nifti_mask(folder / f"segmentations/{organ}.nii.gz")
            mask = np.where(part > 0, value, mask)
        samples.append(
            {
                "files": [f"{row.image_id}/ct.nii.gz"],
                "patient": row.image_id,
                "split": row.split,
                "mask": mask,
            }
        )
    return {"classes": organs, "samples": samples}


# Arrays.


def brain_tumor(root):
    """One slice per file; `cvind.mat` tells the fold of each, in the order of their numbers."""
    files = [path for path in root.rglob("*.mat") if path.stem.isdigit()]
    files.sort(key=lambda path: int(path.stem))
    with h5py.File(root / "cvind.mat") as file:
        folds = file["cvind"][0].astype(int)
    assert len(folds) == len(files) == 10
    classes = ["meningioma", "glioma", "pituitary tumor"]
    samples = []
    for path, fold in zip(files, folds):
        with h5py.File(path) as file:
            group = file["cjdata"]
            samples.append(
                {
                    "files": [of_path(root, path)],
                    "part": "cjdata/image",
                    "patient": "".join(map(chr, group["PID"][:, 0])),
                    "label": classes[int(group["label"][0, 0]) - 1],
                    "fold": int(fold) - 1,
                    "mask": group["tumorMask"][()][None],
                }
            )
    return {"classes": classes, "samples": samples}


def medmnist(root):
    """Labels as they are in the archives; the classes' names are not in them."""
    answers = {}
    for path in sorted(root.glob("*.npz")):
        samples = []
        with np.load(path) as arrays:
            for split in ("train", "val", "test"):
                for index, labels in enumerate(arrays[f"{split}_labels"]):
                    part = f"{split}_images[{index}]"
                    sample = {"files": [path.name], "part": part, "split": split}
                    samples.append(sample | {"values": labels.tolist()})
        answers[path.stem] = {"samples": samples}
    return answers


# A user's own.


def image_folder(root):
    samples = [
        {
            "files": [of_path(root, path)],
            "split": path.relative_to(root).parts[0],
            "label": path.relative_to(root).parts[1],
        }
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() == ".png"
    ]
    return {"classes": ["b", "cat a"], "samples": samples}


SPLITS = {"train": "train", "valid": "val", "test": "test"}


def manifest(root):
    table = pd.read_csv(root / "manifest.csv", encoding="utf-8-sig")
    samples = [
        {
            "files": [row.image],
            "patient": row.patient,
            "split": SPLITS[row.split],
            "label": row.label,
            "mask": np.asarray(Image.open(root / row.mask))[None],
        }
        for row in table.itertuples()
    ]
    return {"classes": ["normal", "other", "tb"], "samples": samples}


def joined_labels(path):
    """Several labels in a cell; a blank one says nothing."""
    table = pd.read_csv(path, keep_default_na=False)
    classes = ["nodule", "tb"]
    samples = [
        {
            "files": [row.image],
            "split": row.split,
            "states": {
                name: int(name in row.label.split("|")) if row.label else None for name in classes
            },
        }
        for row in table.itertuples()
    ]
    return {"classes": classes, "samples": samples}


# The folder of each fixture.
DATASETS = {
    "nih_official": nih,
    "nih_kaggle": nih,
    "chexpert_small/CheXpert-v1.0-small": chexpert,
    "chexpert_full": chexpert,
    "montgomery/MontgomerySet": montgomery,
    "sars_patient/New_Data_CoV2": sars_patient,
    "sars_flat": sars_flat,
    "amos/amos22": amos,
    "msd/Task09_Spleen": decathlon,
    "msd/Task04_Hippocampus": decathlon,
    "msd/Task02_Heart": decathlon,
    "msd/Task01_BrainTumour": decathlon,
    "btcv/RawData": btcv,
    "totalseg/Totalsegmentator_dataset_v201": totalsegmentator,
    "brain_tumor": brain_tumor,
    "medmnist": medmnist,
    "generic/imagefolder": image_folder,
    "generic/manifest": manifest,
    "generic/manifest/multilabel.csv": joined_labels,
}
