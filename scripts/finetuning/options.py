"""The command line."""

import argparse
import math
from pathlib import Path

METHODS = ("lora", "full", "bitfit", "head-only")
SCRATCH = ("unet", "transunet")
# The study's for low-rank adapters (appendix B.3); of its rates for fine-tuning (B.1) the largest for biases and a small one
# for all parameters.
RATES = {"lora": 2e-4, "bitfit": 5e-4, "full": 1e-5, "head-only": 0.0, "scratch": 1e-4}
# The study's for low-rank adapters, and the smallest of its rates for decoders (B.4): at larger ones, AdamW soon makes a
# linear decoder predict the background everywhere, where soft Dice has no gradient.
HEAD_RATE = 5e-3
DECODER_RATE = 1e-3
# The study's (appendix B.1).
EPOCHS = {"nih-chest-xray": 20, "chexpert": 10}
CNN_BATCH = 128


def count(text):
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}`: expected a whole number from 1")
    return int(text)


def natural(text):
    """A whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"`{text}`: expected a whole number from 0")
    return int(text)


def positive(text):
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"`{text}`: expected a number above 0")
    return value


def share(text):
    """A number from 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"`{text}`: expected a number from 0 to below 1")
    return value


def parse(words=None):
    """The arguments, with the defaults that depend on each other."""
    parser = argparse.ArgumentParser(
        prog="finetune",
        description="Fine-tune a backbone on the images of a finished cache, or train a network from scratch, and record "
        "the result as `probe` does. The same command goes on after a stop.",
        epilog="docs/finetune.md describes methods, schedule and files.",
    )
    add = parser.add_argument
    add("cache", type=Path, metavar="CACHE", help="folder of the cache: embeddings/DATASET/MODEL@SIZE")
    add("--root", type=Path, help="folder of the dataset, from which `extract pixels` reads the images")
    add("--pixels", type=Path, help="file of `extract pixels` [default: RUNS/pixels/…, made from --root]")
    add("--dataset", help="dataset of the extraction, for `extract pixels` [default: that of the cache]")
    add("--method", choices=METHODS, help="what of the backbone is trained [default: lora]")
    add("--model", choices=SCRATCH, help="train this network from scratch in place of the backbone")
    add("--decoder", choices=("linear", "unet"), help="segment by this decoder; else classify")
    add("--from", dest="start", type=Path, metavar="FOLDER", help="go on from what `probe adapt` or `finetune` saved")
    add("--protocol", choices=("strict", "paper"), default="strict", help="evaluation protocol [strict]")
    add("--split", metavar="NAME", help="split made by `extract split`")
    add("--labels", metavar="NAME", help="labels made by `extract relabel`")
    add("--epochs", type=count, help="passes over `train` [20; 10 for chexpert]")
    add("--batch-size", type=count, help="images a step, over all processes [32; 128 for CNNs; 16 for decoders; 8 from scratch]")
    add("--lr", type=positive, help="rate of the backbone [lora 0.0002, bitfit 0.0005, full 0.00001, from scratch 0.0001]")
    add("--head-lr", type=positive, help="rate of the head or decoder [0.005; 0.001 for decoders]")
    add("--optimiser", choices=("adamw", "sgd"), default="adamw", help="[adamw]; sgd has momentum 0.9")
    add("--weight-decay", type=share, default=0.01, help="of AdamW [0.01]")
    add("--rank", type=count, default=48, help="of low-rank adapters [48]")
    add("--alpha", type=positive, default=16, help="their scale times the rank [16]")
    add("--dropout", type=share, default=0.1, help="of their inputs [0.1]")
    add("--augment", choices=("study", "none"), help="augmentation [study; the stored views of a cache that has some]")
    add("--seed", type=natural, default=0, help="random seed [0]")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="[auto: a GPU if there is one]")
    add("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto", help="[auto: bf16 or fp16 on a GPU]")
    add("--save-memory", action="store_true", help="compute activations again in the backward pass")
    add("--processes", type=count, default=1, metavar="N", help="processes of this machine, one for each GPU [1]")
    add("--workers", type=natural, help="processes that read images, for each training process [0; 4 on a GPU]")
    add("--threads", type=count, help="threads of a process on a CPU")
    add("--save-every", type=float, default=300, metavar="SECONDS", help="save the training after this time [300]")
    add("--models", type=Path, default=Path("onnx_models"), help="folder of cards and weights [onnx_models]")
    add("--runs", type=Path, default=Path("runs"), help="folder of records [runs]")
    add("--per-patient", action="store_true", help="measure patients by the mean scores of their slices")
    add("--force", action="store_true", help="train again what has been trained")
    args = parser.parse_args(words)
    if args.model and args.method:
        parser.error("--method belongs to backbones, --model to networks from scratch")
    if args.model and (args.decoder or args.start):
        parser.error("--decoder and --from belong to backbones, --model to networks from scratch")
    args.method = args.method or ("scratch" if args.model else "lora")
    return args


def is_cnn(card):
    return card["heads"] == 0


def complete(args, dataset, card):
    """Fills in the defaults that depend on the dataset and on the backbone's card, `None` for networks from scratch."""
    if args.epochs is None:
        args.epochs = EPOCHS.get(dataset, 20)
    if args.batch_size is None:
        args.batch_size = 8 if card is None else 16 if args.decoder else CNN_BATCH if is_cnn(card) else 32
    if args.lr is None:
        args.lr = RATES[args.method]
    if args.head_lr is None:
        args.head_lr = DECODER_RATE if args.decoder else HEAD_RATE


def settings(args, augmentation):
    """What the result depends on, by the names of `probe adapt` where it has them."""
    lora = {"rank": args.rank, "alpha": args.alpha, "dropout": args.dropout, "bias": "lora_only"}
    return {
        "task": "segmentation" if args.decoder or args.model else "classification",
        "method": args.method,
        "decoder": args.decoder,
        "lora": lora if args.method == "lora" else None,
        "learning_rate": args.lr,
        "head_learning_rate": None if args.model else args.head_lr,
        "optimiser": args.optimiser,
        "weight_decay": args.weight_decay if args.optimiser == "adamw" else 0,
        "epochs": args.epochs,
        "batch_size": args.batch_size,
        "augmentation": augmentation,
        "precision": args.precision,
        "continued": args.start is not None,
    }
