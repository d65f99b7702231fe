"""Writes run records of the reference study, with made-up figures, for reports: 13 backbones, 9 datasets and
5 probes (kNN, linear, logistic and ridge regression, few-shot) under both protocols, and decoders.

    scripts/dev/run make_records.py RUNS [--part complete|partial|few|one|trained] [--cases N] [--hostile]

`partial` leaves out every third backbone and dataset; `few` is of three backbones and datasets, `one` a single record,
`trained` are those of trained backbones and networks, which `complete` has too. `--cases` is the number of test
cases with saved scores. `--hostile` uses names with markup and control characters.
"""

import argparse
import json
import pathlib
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import average_precision_score, roc_auc_score

EVALUATION_VERSION = 4
MODELS = {  # name: strength in classification, strength in segmentation
    "densenet201": (0.9, None), "resnet152": (0.8, None), "vgg19": (0.6, None), "vit-l16-in21k": (1.15, 0.78),
    "sam-l16": (0.7, 0.8), "clip-l14": (1.0, 0.74), "openclip-h14": (1.0, 0.79), "mae-l16": (0.9, 0.86),
    "msn-l16": (0.95, 0.77), "dinov2-s14": (0.95, 0.78), "dinov2-b14": (1.05, 0.8), "dinov2-l14": (1.2, 0.82),
    "dinov2-g14": (1.2, 0.82),
}
NIH = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
       "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax"]
DATASETS = {  # name: classes, single label, structures
    "nih-chest-xray": (NIH, False, None),
    "chexpert": (["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"], False, None),
    "sars-cov-2": (["healthy", "covid"], True, None),
    "brain-tumor": (["meningioma", "glioma", "pituitary"], True, None),
    "montgomery": (["left lung", "right lung"], False, ["left lung", "right lung"]),
    "amos": (["spleen", "liver", "aorta", "pancreas"], False, ["spleen", "liver", "aorta", "pancreas"]),
    "msd-heart": (["left atrium"], False, ["left atrium"]),
    "msd-hippocampus": (["anterior", "posterior"], False, ["anterior", "posterior"]),
    "msd-spleen": (["spleen"], False, ["spleen"]),
}
HOSTILE = "</script><script>alert(1)</script><b>&\"'|\\\n\u202e\x1b[31m=1+1"
WARNING = "5 patients fitted on and evaluated too: figures are too good"


def seed(*names):
    return np.random.default_rng(zlib.crc32("/".join(map(str, names)).encode()))


class Writer:
    def __init__(self, runs, hostile):
        self.runs, self.hostile, self.count = runs, hostile, 0
        self.rename = {}
        for folder in ["predictions", "overlays"]:
            (runs / folder).mkdir(parents=True, exist_ok=True)

    def name(self, text):
        return text + HOSTILE if self.hostile else text

    def record(self, dataset, model, size, probe, protocol, setting, metrics, results=1, result=1, **more):
        self.count += 1
        key = f"{zlib.crc32(repr((dataset, model, size, probe, protocol, setting if results == 1 else '', more.get('control'), str(more.get('shots')))).encode()):016x}"
        record = {
            "name": f"{probe}-{key[-4:]}", "dataset": self.name(dataset), "model": self.name(model), "image_size": size,
            "probe": probe, "protocol": protocol, "setting": setting, "params": more.pop("params", {}),
            "seed": 0, "split": "test", "examples_sha256": "0" * 64,
            "settings": {"probe": probe, "protocol": protocol, "unit": "slice", "pool": "mean", "seed": 0,
                         "eval": "test", "fit": ["train", "val"], "val_share": 0.2,
                         "confidence": {"draws": 1000, "level": 0.95, "seed": 0},
                         "recipe": {"slicing": "stored-k-xy", "intensity": "minmax", "resize": "bicubic-squash"}},
            "command": f"probe {probe} --protocol {protocol}" + "".join(f" --control {more['control']}" for _ in range("control" in more)),
            "study": "paper", "n_train": 1000, "n_test": 300, "per_patient": False, "metrics": metrics, **more,
            "seconds": 1.5, "result": result, "results": results, "key": key,
            "evaluation_version": EVALUATION_VERSION, "cache_sha256": f"{zlib.crc32((dataset + model + str(size)).encode()):08x}" * 8,
            "tool_version": "0.3.0", "time": "2026-11-30T20:22:43Z",
        }
        with open(self.runs / f"{probe}.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")

    def predictions(self, file, cases, classes, targets, scores, single):
        names = [self.name(name) for name in classes]
        columns = {"sample": [f"{self.name('images/')}{i:05}.png" for i in range(cases)],
                   "slice": pa.array([0] * cases, pa.uint32()),
                   "patient": [f"patient{i // 2:05}" for i in range(cases)]}
        columns |= {f"target/{name}": pa.array(targets[:, c].astype(bool)) for c, name in enumerate(names)}
        columns |= {f"score/{name}": pa.array(scores[:, c]) for c, name in enumerate(names)}
        table = pa.table(columns)
        task = "single-label" if single else "multi-label"
        # The reader takes the metadata of the file, which pyarrow writes from that of the schema.
        pq.write_table(table.replace_schema_metadata({"slicebank.task": task}), self.runs / file)


def interval(value, width):
    return [max(0.0, value - width), min(1.0, value + width)]


def classification(writer, dataset, model, probe, protocol, cases, few):
    classes, single, _ = DATASETS[dataset]
    strength = MODELS[model][0] * {"knn": 0.8, "linear": 1.1, "logreg": 1.05, "ridge": 1.0}[probe]
    strength *= {"nih-chest-xray": 0.9, "chexpert": 1.2, "sars-cov-2": 1.9, "brain-tumor": 2.0}.get(dataset, 1.5)
    rng = seed(dataset, "cases")
    if single:
        labels = rng.integers(0, len(classes), cases)
        targets = np.eye(len(classes))[labels]
    else:
        share = rng.uniform(0.05, 0.4, len(classes))
        targets = (rng.random((cases, len(classes))) < share).astype(float)
        targets[0], targets[1] = 1, 0
    difficulty = rng.normal(size=(cases, len(classes)))
    noise = seed(dataset, model, probe).normal(size=(cases, len(classes)))
    logits = strength * (2 * targets - 1) * seed(dataset, model, "class").uniform(0.7, 1.0, len(classes)) + difficulty + 0.7 * noise
    if single:
        scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    else:
        scores = 1 / (1 + np.exp(-logits))
    first = 1 if single and len(classes) == 2 else 0
    auroc = {writer.name(name): float(roc_auc_score(targets[:, c], scores[:, c])) for c, name in list(enumerate(classes))[first:]}
    ap = {writer.name(name): float(average_precision_score(targets[:, c], scores[:, c])) for c, name in list(enumerate(classes))[first:]}
    macro = float(np.mean(list(auroc.values())))
    positives = {writer.name(name): int(targets[:, c].sum()) for c, name in list(enumerate(classes))[first:]}
    accuracy = float((scores.argmax(1) == targets.argmax(1)).mean()) if single else float(((scores > 0.5) == targets).mean())
    metrics = {"auroc_macro": macro, "average_precision_macro": float(np.mean(list(ap.values()))), "accuracy": accuracy,
               "positives": positives, "auroc_per_class": auroc, "average_precision_per_class": ap,
               "brier": 0.1, "ece": 0.05}
    if dataset == "chexpert" and protocol == "paper":
        metrics["auroc_undefined"] = ["Uncertain"]
        metrics["auroc_macro"] *= 5 / 6
    ci = {"level": 0.95, "method": "bootstrap of patients", "draws": 1000, "seed": 0,
          "auroc_macro": interval(metrics["auroc_macro"], 0.02), "auroc_per_class": {name: interval(v, 0.05) for name, v in auroc.items()}}
    file = f"predictions/{dataset}-{model}-{probe}-{protocol}.parquet"
    if probe in ("linear", "knn"):
        writer.predictions(file, cases, classes, targets, scores, single)
        saved = {"predictions": file}
    else:
        saved = {}
    common = dict(ci=ci, n_test=cases, warnings=[WARNING] if protocol == "paper" and probe == "knn" else [], **saved)
    if probe == "knn":
        ks = [100, 200, 400, 800, 1000] if protocol == "paper" else [10, 20, 100, 200]
        for number, k in enumerate(ks):
            writer.record(dataset, model, size_of(model), probe, protocol, f"k={k}", metrics, len(ks), number + 1,
                          chosen=number == 1, chosen_on="test" if protocol == "paper" else "val", **common)
    else:
        writer.record(dataset, model, size_of(model), probe, protocol, "blocks=4+mean lr=0.01", metrics,
                      chosen=True, chosen_on="val", **common)
    if few:
        rows = []
        for shots in [1, 2, 4, 8, 16, None]:
            share = 1.0 if shots is None else 1 - 0.9 / (1 + shots) ** 0.5
            value = 0.5 + (macro - 0.5) * share
            spread = None if shots is None or protocol == "paper" else {"auroc_macro": {"sd": 0.04 * (1 - share) + 0.005, "draws": [value] * 5}}
            rows.append((shots, value, spread))
        for number, (shots, value, spread) in enumerate(rows):
            writer.record(dataset, model, size_of(model), "few-shot", protocol, f"linear shots={shots or 'all'}",
                          {"auroc_macro": value}, len(rows), number + 1, params={"head": "linear", "shots": shots, "draws": 5},
                          **({"spread": spread} if spread else {}))


def size_of(model):
    return 1024 if model == "sam-l16" else 224


def segmentation(writer, dataset, model, size, decoder, protocol, volumes):
    structures = DATASETS[dataset][2]
    base = MODELS[model][1] + {"montgomery": 0.14, "amos": -0.2, "msd-heart": 0.03, "msd-hippocampus": 0.0, "msd-spleen": 0.02}[dataset]
    base += (0.04 if size == 448 else 0) - (0.12 if decoder == "linear" else 0)
    ease = seed(dataset, "volumes").normal(0, 0.05, (volumes, len(structures)))
    dice = np.clip(base + ease + seed(dataset, model, size, decoder).normal(0, 0.03, ease.shape), 0.02, 0.99)
    per_class = {writer.name(name): float(dice[:, c].mean()) for c, name in enumerate(structures)}
    macro = float(dice.mean())
    params = {"decoder": decoder, "shots": None, "classes": structures}
    if protocol == "paper":
        metrics = {"dice_pooled": macro, "jaccard_pooled": macro - 0.05, "dice_jaccard_mean": macro - 0.025, "dice_pooled_per_class": per_class}
        more = {}
    else:
        metrics = {"dice_macro": macro, "dice_per_class": per_class, "iou_macro": macro - 0.08, "hd95_penalised_mm_macro": 12.0, "volumes": volumes}
        more = {"ci": {"level": 0.95, "method": "bootstrap of patients, percentiles", "draws": 1000, "dice_macro": interval(macro, 0.02)}}
    file = f"predictions/{dataset}-{model}-{size}-{decoder}.parquet"
    count = volumes * len(structures)
    pq.write_table(pa.table({
        "sample": [f"volume{i // len(structures):03}" for i in range(count)], "patient": pa.array([None] * count, pa.string()),
        "class": [writer.name(name) for name in structures] * volumes, "dice": dice.reshape(-1), "iou": dice.reshape(-1) - 0.08,
        "hd95_penalised_mm": [12.0] * count, "hd95_mm": [12.0] * count,
        "true_pixels": pa.array([100] * count, pa.uint64()), "predicted_pixels": pa.array([100] * count, pa.uint64())}), writer.runs / file)
    writer.record(dataset, model, size, "segment", protocol, f"{decoder} lr=0.05", metrics, params=params, n_test=volumes,
                  predictions=file, chosen=True, chosen_on="val", **more)
    if dataset == "montgomery" and decoder == "unet":
        for number, shots in enumerate([1, 2, 4, 8, 16]):
            value = macro - 0.3 / (1 + shots)
            few = {"dice_pooled": value, "dice_jaccard_mean": value} if protocol == "paper" else {"dice_macro": value}
            writer.record(dataset, model, size, "segment", protocol, f"{decoder} lr=0.05 shots={shots}", few, 5, number + 1,
                          params=params | {"shots": shots}, shots="few")


def controls(writer, dataset, model):
    for control, value in [("shuffled-labels", 0.503), ("metadata-only", 0.58), ("random-features", 0.51)]:
        metrics = {"auroc_macro": value}
        if control == "shuffled-labels":
            metrics |= {"true_labels_auroc_macro": 0.76, "p_permutation": 1 / 21}
        writer.record(dataset, model, 224, "linear", "strict", "blocks=4+mean lr=0.01", metrics, control=control)


def trained(writer):
    """Fine-tuned backbones and networks from scratch of `scripts/finetune`, and last blocks of `probe adapt`."""
    costs = {"parameters": 1_136_481_000, "peak_memory_bytes": 12_340_000_000}
    counts = {"full": 1_136_481_000, "lora": 8_000_000, "bitfit": 800_000}
    for dataset in ["nih-chest-xray", "chexpert"]:
        for number, method in enumerate(counts):
            params = costs | {"task": "classification", "method": method, "trainable_parameters": counts[method]}
            writer.record(dataset, "dinov2-g14", 224, "finetune", "strict", method, {"auroc_macro": round(0.8 + number / 100, 2)}, params=params)
            for blocks in [1, 2, 4]:
                params = costs | {"method": method, "blocks": blocks, "trainable_parameters": counts[method] * blocks // 40}
                writer.record(dataset, "dinov2-g14", 224, "adapt", "strict", f"{method} blocks={blocks}",
                              {"auroc_macro": round(0.7 + number / 100 + blocks / 1000, 3)}, params=params)
    for model, parameters in [("unet", 31_000_000), ("transunet", 324_000_000)]:
        params = {"task": "segmentation", "method": "scratch", "trainable_parameters": parameters, "parameters": parameters}
        writer.record("montgomery", model, 224, "finetune", "strict", model, {"dice_macro": 0.9}, params=params)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=pathlib.Path)
    parser.add_argument("--part", default="complete", choices=["complete", "partial", "few", "one", "trained"])
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--hostile", action="store_true")
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    writer = Writer(options.runs, options.hostile)
    if options.part == "one":
        classification(writer, "brain-tumor", "dinov2-l14", "linear", "strict", options.cases, False)
        return
    if options.part in ("trained", "complete"):
        trained(writer)
    if options.part == "trained":
        return
    models, datasets = list(MODELS), list(DATASETS)
    if options.part == "partial":
        models = [name for at, name in enumerate(models) if at % 3]
        datasets = [name for at, name in enumerate(datasets) if at % 3 != 2]
    if options.part == "few":
        models, datasets = ["vgg19", "mae-l16", "dinov2-l14"], ["nih-chest-xray", "brain-tumor", "montgomery"]
    for dataset in datasets:
        for model in models:
            for protocol in ["strict", "paper"]:
                for probe in ["knn", "linear", "logreg", "ridge"]:
                    classification(writer, dataset, model, probe, protocol, options.cases, probe == "linear")
                if DATASETS[dataset][2] and MODELS[model][1]:
                    for size in [224, 448] if model in ("dinov2-l14", "dinov2-g14") else [224]:
                        for decoder in ["linear", "unet"]:
                            segmentation(writer, dataset, model, size, decoder, protocol, 40)
        controls(writer, dataset, "dinov2-l14" if "dinov2-l14" in models else models[0])
    print(f"{writer.count} records in {options.runs}")


if __name__ == "__main__":
    main()
