"""What each dataset's own tables and names say of its samples, by pandas and plain Python.

Each function is given the folder of a dataset and returns its `classes` and its `samples`. A sample
is `files` (relative to that folder; one, unless it is a stack of slices) and as far as known `part`
(channel, or array and index), `patient`, `split`, `fold`, `label` (a class), `states` (of each
class) or `values` (the labels as numbers), and `mask`, the label map `[S, H, W]` as stored. Samples
without any labels are labelled by what their masks hold.
"""

import ast
import json
import re

import h5py
import nibabel
import numpy as np
import pandas as pd
import pydicom
from PIL import Image


def of_path(root, path):
    return path.relative_to(root).as_posix()


def nifti_mask(path):
    values = nibabel.load(path).get_fdata()
    return np.moveaxis(values, 2, 0)


# Chest radiographs.

NIH = (
    "Atelectasis Cardiomegaly Consolidation Edema Effusion Emphysema Fibrosis Hernia Infiltration "
    "Mass Nodule Pleural_Thickening Pneumonia Pneumothorax"
).split()


def nih(root, classes=NIH):
    """The findings in alphabetical order; the lists are the official split."""
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
        found = set(row.findings.split("|"))
        assert found <= {*NIH, "No Finding"}
        samples.append(
            {
                "files": [of_path(root, images[row.file])],
                "patient": str(row.patient),
                "split": "train" if row.file in train_val else "test",
                "states": {finding: int(finding in found) for finding in classes},
            }
        )
    return {"classes": classes, "samples": samples}


def nih_with_no_finding(root):
    return nih(root, sorted([*NIH, "No Finding"]))


CHEXPERT = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]


def chexpert(root, uncertain=-1):
    """Frontal views and the five findings of the competition; blank is 0, -1 is `uncertain`."""
    samples = []
    folders = {path.name: path for path in root.rglob("patient*") if path.is_dir()}
    for name, split in [("train.csv", "train"), ("valid.csv", "val"), ("test_labels.csv", "test")]:
        for table in root.rglob(name):
            rows = pd.read_csv(table)
            # The test set's table does not say which views are frontal; the names do.
            is_frontal = rows.get("Frontal/Lateral", rows["Path"].str.contains("frontal"))
            rows = rows[is_frontal.isin(["Frontal", True])]
            rows = rows.fillna(dict.fromkeys(CHEXPERT, 0))
            for _, row in rows.iterrows():
                states = {finding: int(row[finding]) for finding in CHEXPERT}
                for finding, state in states.items():
                    states[finding] = uncertain if state == -1 else state
                samples.append(
                    chexpert_sample(root, row["Path"], folders, split) | {"states": states}
                )
    return {"classes": CHEXPERT, "samples": samples}


def chexpert_sample(root, name, folders, split):
    """Where a table's path leads, which need not be on the disk as it is in the table."""
    patient, rest = re.search(r"(patient\d{5})/(.*)", name).groups()
    path = folders[patient] / rest
    assert path.is_file()
    return {"files": [of_path(root, path)], "patient": patient, "split": split}


def chexpert_ones(root):
    return chexpert(root, 1)


def chexpert_zeros(root):
    return chexpert(root, 0)


def vindr(root):
    """Of the readers of an image, the majority; `Other disease` of the test table is `Other diseases`."""
    train = pd.read_csv(root / "annotations/image_labels_train.csv").drop(columns="rad_id")
    test = pd.read_csv(root / "annotations/image_labels_test.csv")
    test = test.rename(columns={"Other disease": "Other diseases"})
    samples, classes = [], [name for name in test.columns if name not in ("image_id", "No finding")]
    for split, table in [("train", train), ("test", test)]:
        for image, readings in table.groupby("image_id"):
            states = {name: int(readings[name].mean() > 0.5) for name in classes}
            samples.append(
                {"files": [f"{split}/{image}.dicom"], "split": split, "states": states}
            )
    return {"classes": classes, "samples": samples}


PADCHEST = (
    "atelectasis,cardiomegaly,consolidation,emphysema,hiatal hernia,infiltrates,nodule,"
    "pleural effusion,pleural thickening,pneumonia,pneumothorax,pulmonary edema,"
    "pulmonary fibrosis,pulmonary mass"
).split(",")


def padchest(root):
    """Frontal images, wherever they lie; an image without a list of labels has unknown ones."""
    table = pd.read_csv(next(root.glob("PADCHEST*.csv")), keep_default_na=False)
    samples = []
    for row in table[~table["Projection"].isin(["L", "COSTAL"])].itertuples():
        found = {word.strip() for word in ast.literal_eval(row.Labels)} if row.Labels else None
        samples.append(
            {
                "files": [of_path(root, next(root.rglob(row.ImageID)))],
                "patient": str(row.PatientID),
                "states": {name: found and int(name in found) for name in PADCHEST},
            }
        )
    return {"classes": PADCHEST, "samples": samples}


def rsna(root):
    """One class per image, in one row or more; the class of the test images is not published."""
    table = pd.read_csv(root / "stage_2_detailed_class_info.csv").drop_duplicates()
    samples = [
        {
            "files": [f"stage_2_train_images/{row.patientId}.dcm"],
            "patient": row.patientId,
            "label": row[2],
        }
        for row in table.itertuples()
    ]
    return {"classes": ["Normal", "No Lung Opacity / Not Normal", "Lung Opacity"], "samples": samples}


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


def merged_lungs(root):
    """One mask for both lungs, of 0 and 255; some images have none."""
    samples = []
    for path in sorted((root / "CXR_png").glob("*.png")):
        names = [path.name, f"{path.stem}_mask.png"]
        masks = [root / "masks" / name for name in names if (root / "masks" / name).is_file()]
        sample = {
            "files": [of_path(root, path)],
            "patient": "_".join(path.stem.split("_")[:2]),
        }
        if masks:
            sample["mask"] = (np.asarray(Image.open(masks[0])) > 0)[None]
        samples.append(sample)
    return {"classes": ["lung"], "samples": samples}


# CT slices as PNG.


def sars_patient(root, labels):
    """A stack of slices per patient, in the order of their numbers; `labels` name the folders."""
    samples = []
    for folder in sorted(root.glob("*/Patient (*)")):
        files = sorted(folder.glob("*.png"), key=lambda path: int(path.stem))
        group = folder.parent.name
        samples.append(
            {
                "files": [of_path(root, path) for path in files],
                "patient": f"{group}/{folder.name}",
                "label": labels[group],
            }
        )
    return samples


def sars_binary(root):
    labels = {"Covid": "covid", "Healthy": "other", "Others": "other"}
    return {"classes": ["other", "covid"], "samples": sars_patient(root, labels)}


def sars_groups(root):
    groups = ["Covid", "Healthy", "Others"]
    return {"classes": groups, "samples": sars_patient(root, dict(zip(groups, groups)))}


def sars_flat(root):
    labels = {"COVID": "covid", "non-COVID": "other"}
    samples = [
        {"files": [of_path(root, path)], "label": labels[path.parent.name]}
        for path in sorted(root.glob("*/*.png"))
    ]
    return {"classes": ["other", "covid"], "samples": samples}


# Volumes.


def amos(root, is_wanted=lambda number: number < 500):
    """The labelled CT scans; what has a number of 500 or more is an MR."""
    description = json.loads((root / "dataset.json").read_text())
    samples = []
    for key, split in [("training", "train"), ("validation", "val")]:
        for entry in description[key]:
            case = re.search(r"amos_(\d+)", entry["image"])
            if is_wanted(int(case.group(1))):
                samples.append(
                    {
                        "files": [entry["image"].removeprefix("./")],
                        "patient": case.group(),
                        "split": split,
                        "mask": nifti_mask(root / entry["label"]),
                    }
                )
    # The file misspells one of them.
    classes = [name.replace("arota", "aorta") for name in classes_of(description)]
    return {"classes": classes, "samples": samples}


def amos_mr(root):
    return amos(root, lambda number: number >= 500)


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
                "split": "train",
                "mask": nifti_mask(label),
            }
            samples.append(sample | ({"part": str(channel)} if len(channels) > 1 else {}))
    return {"classes": classes_of(description), "samples": samples}


# Arrays.


def brain_tumor(root):
    """One slice per file; `cvind.mat` tells the fold of files 1, 2, …, counted from 1."""
    files = [path for path in root.rglob("*.mat") if path.stem.isdigit()]
    files.sort(key=lambda path: int(path.stem))
    with h5py.File(root / "cvind.mat") as file:
        folds = file["cvind"][0].astype(int)
    assert len(files) == 10
    classes = ["meningioma", "glioma", "pituitary"]
    samples = []
    for path in files:
        with h5py.File(path) as file:
            group = file["cjdata"]
            samples.append(
                {
                    "files": [of_path(root, path)],
                    "part": "cjdata/image",
                    "patient": "".join(map(chr, group["PID"][:, 0])),
                    "label": classes[int(group["label"][0, 0]) - 1],
                    "fold": int(folds[int(path.stem) - 1]) - 1,
                    "mask": group["tumorMask"][()][None],
                }
            )
    return {"classes": classes, "samples": samples}


def medmnist(path):
    """Labels as numbers; the classes' names are not in the archive."""
    samples = []
    with np.load(path) as arrays:
        for split in ("train", "val", "test"):
            for index, labels in enumerate(arrays[f"{split}_labels"]):
                sample = {"files": [path.name], "part": f"{split}_images[{index}]", "split": split}
                samples.append(sample | {"values": labels.tolist()})
    return {"samples": samples}


# A user's own.


def series(root):
    """Series by position; their patients have one name, so their folders tell them apart."""
    samples = []
    for pattern in ("patientA/CT_1/*.dcm", "patientA/CT_1/IMG*", "patientB/MR_oblique/*.dcm"):
        heights = {}
        for path in root.glob(pattern):
            data = pydicom.dcmread(path)
            along_row, along_column = np.array(data.ImageOrientationPatient).reshape(2, 3)
            heights[path] = np.cross(along_row, along_column) @ data.ImagePositionPatient
        files = [of_path(root, path) for path in sorted(heights, key=heights.get)]
        samples.append({"files": files, "patient": pattern.split("/")[0]})
    return {"classes": [], "samples": samples}


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
                name: int(name in row.labels.split("|")) if row.labels else None for name in classes
            },
        }
        for row in table.itertuples()
    ]
    return {"classes": classes, "samples": samples}


def nnunet_channels(root):
    """A file per channel, `CASE_0000` and so on; names of regions are no names of values."""
    samples = []
    for path in sorted((root / "imagesTr").iterdir()):
        case, channel = re.fullmatch(r"(.*)_(\d{4})\.nii\.gz", path.name).groups()
        samples.append(
            {
                "files": [of_path(root, path)],
                "patient": case,
                "split": "train",
                "mask": nifti_mask(root / "labelsTr" / f"{case}.nii.gz"),
            }
        )
    return {"samples": samples}


# The folder of each fixture, and after `#` in which way it is read.
DATASETS = {
    "nih_official": nih,
    "nih_official#no-finding": nih_with_no_finding,
    "nih_kaggle": nih,
    "chexpert_small/CheXpert-v1.0-small": chexpert,
    "chexpert_small/CheXpert-v1.0-small#ones": chexpert_ones,
    "chexpert_small/CheXpert-v1.0-small#zeros": chexpert_zeros,
    "chexpert_full": chexpert,
    "montgomery/MontgomerySet": montgomery,
    "montgomery_kaggle/Lung Segmentation": merged_lungs,
    "sars_patient/New_Data_CoV2": sars_binary,
    "sars_patient/New_Data_CoV2#groups": sars_groups,
    "sars_flat": sars_flat,
    "amos/amos22": amos,
    "amos/amos22#mr": amos_mr,
    "msd/Task09_Spleen": decathlon,
    "msd/Task04_Hippocampus": decathlon,
    "msd/Task02_Heart": decathlon,
    "msd/Task01_BrainTumour": decathlon,
    "brain_tumor": brain_tumor,
    "vindr/physionet.org/files/vindr-cxr/1.0.0": vindr,
    "rsna/rsna-pneumonia-detection-challenge": rsna,
    "padchest": padchest,
    "medmnist/breastmnist_64.npz": medmnist,
    "medmnist/bloodmnist.npz": medmnist,
    "medmnist/chestmnist.npz": medmnist,
    "medmnist/organmnist3d.npz": medmnist,
    "dicom_series": series,
    "generic/imagefolder": image_folder,
    "generic/manifest": manifest,
    "generic/manifest/multilabels.csv": joined_labels,
    "generic/nnunet/nnUNet_raw/Dataset123_Toy": nnunet_channels,
}
