"""What `probe score` measures and records: scores of cases or label maps of slices, and a description."""

import hashlib
import json
import os
import subprocess

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from finetuning import losses, methods, process
from finetuning.errors import Failed

RUN = "run.json"
SCORES = "scores.parquet"
MASKS = "masks.parquet"


def key(args, data, settings, weights_sha256):
    """Equal for trainings with the same result."""
    what = [settings, data.sha256, weights_sha256, args.model, args.protocol, args.split, args.labels, args.seed]
    what += [file_sha256(args.start / methods.HEAD)] if args.start else []
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode())
    for part in sorted(data.parts):
        digest.update(data.parts[part].tobytes())
    if not data.is_segmentation:
        digest.update(data.targets.tobytes())
    return digest.hexdigest()[:16]


def file_sha256(path):
    if not path.is_file():
        raise Failed(f"`{path}`: no such file", "name a folder that `probe adapt` or `finetune` has written")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_scores(args, data, training, folder):
    """Writes scores of `val` and `test`, a row for each slice; all processes compute them."""
    rows = np.sort(np.concatenate([data.parts["val"], data.parts["test"]]))
    found = losses.scores(data, args.protocol, training.logits(rows))
    if process.first():
        columns = {"row": rows.astype(np.uint64)}
        columns |= {f"score/{name}": found[:, index] for index, name in enumerate(data.classes)}
        pl.DataFrame(columns).write_parquet(folder / SCORES)


def write_masks(args, data, training, folder):
    """Writes the label maps of `test`, at the size of the slice or, by the protocol `paper`, of the input."""
    if not process.first():
        return
    rows = np.sort(data.parts["test"])
    heights, widths = (data.slices[name].to_numpy() for name in ("height", "width"))
    schema = pa.schema([("row", pa.uint64()), ("mask", pa.binary())])

    def maps(images, rows):
        native = args.protocol == "strict"
        sizes = [(int(heights[row]), int(widths[row])) if native else (data.side,) * 2 for row in rows]
        found = training.network.maps(images, sizes)
        masks = [data.values[one.cpu().numpy()].astype("<u2").tobytes() for one in found]
        return pa.record_batch([pa.array(rows, pa.uint64()), pa.array(masks, pa.binary())], schema)

    with pq.ParquetWriter(folder / MASKS, schema, compression="zstd") as writer:
        for batch in training.outputs(rows, maps):
            writer.write_batch(batch)


def write(args, data, training, settings, found, folder):
    """Writes all files of a training; the description is the last."""
    if process.first():
        folder.mkdir(parents=True, exist_ok=True)
    process.wait()
    peak = training.peak()
    (write_masks if data.is_segmentation else write_scores)(args, data, training, folder)
    if not process.first():
        return
    trained, all_parameters = methods.counts(training.network)
    epoch = training.best["epoch"]
    decoder = f" {args.decoder}" if args.decoder else ""
    params = {
        **settings,
        "best_epoch": epoch,
        "trainable_parameters": trained,
        "parameters": all_parameters,
        "peak_memory_bytes": peak,
        "device": training.device.type,
        "processes": process.count(),
        "precision": str(training.type).removeprefix("torch."),
        "train": "train",
        "adapter": f"adapters/{folder.name}",
        **found,
    }
    if data.is_segmentation:
        params |= {"val_dice": training.best["value"], "classes": data.classes[1:]}
    run = {
        "task": settings["task"],
        "cache_sha256": data.sha256,
        "model": args.model,
        "protocol": args.protocol,
        "split": args.split,
        "seed": args.seed,
        "train": ["train"],
        "n_train": len(data.parts["train"]),
        "setting": f"{args.model or args.method}{decoder} epoch={epoch}",
        "settings": settings,
        "params": params,
        "seconds": training.seconds(),
        "peak_memory_bytes": peak,
    }
    about = {
        "model": args.model or data.meta["model"]["name"],
        "cache_sha256": data.sha256,
        "image_size": data.side,
        "preprocess": data.meta["preprocess"],
        "classes": data.classes,
        "options": settings,
    }
    methods.save(args, training.network, folder, about)
    part = folder / f"{RUN}.part"
    part.write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    os.replace(part, folder / RUN)


def score(args, folder):
    """Measures and records by `probe score`, and prints its table."""
    cache = args.cache.resolve()
    model, _, side = cache.name.rpartition("@")
    command = ["probe", "score", str(folder), "--runs", str(args.runs), "--cache", str(cache.parent.parent)]
    command += ["--dataset", cache.parent.name, "--model", model, "--image-size", side, "--seed", str(args.seed)]
    command += ["--labels", args.labels] if args.labels else []
    command += ["--per-patient"] if args.per_patient else []
    command += ["--force"] if args.force else []
    try:
        done = subprocess.run(command, check=False)
    except FileNotFoundError:
        hint = "build the programs: `cargo build --release`, or install the wheel"
        raise Failed("`probe`: not found", hint) from None
    if done.returncode:
        raise Failed(f"`{' '.join(command)}` failed", "see the message above; the same command measures again")
