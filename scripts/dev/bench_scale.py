#!/usr/bin/env python3
"""Time and peak memory of probes on a cache of random tokens with the shape of CheXpert's.

161,792 slices, four blocks of width 1024, 14 classes: 2.7 GB on disk, in a folder that is deleted at the
end. Build first: cargo build --release --workspace --all-targets --locked
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import benches

PROJECT = Path(__file__).resolve().parents[2]
PROBES = {
    "linear, one epoch": ["linear", "--epochs", "1"],
    "knn (ML-kNN, strict)": ["knn", "--k", "20"],
    "knn (ML-kNN, paper, five k)": ["knn", "--protocol", "paper"],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in dict(rows=161_792, width=1024, layers=4).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", help="only probes whose name contains this")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "cache/scale/random@224")
        sizes = [str(size) for size in (args.rows, args.width, args.layers)]
        cache.parent.mkdir(parents=True)
        subprocess.run([benches.executable("scale"), cache, *sizes], check=True)
        for name, words in PROBES.items():
            if args.only and args.only not in name:
                continue
            command = [PROJECT / "target/release/probe", *words, "--format", "json"]
            command += ["--cache", Path(folder, "cache"), "--runs", Path(folder, "runs")]
            run = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
            if run.returncode:
                sys.exit(run.returncode)
            record = json.loads(run.stdout.splitlines()[-1])
            peak, auroc = record["peak_rss_bytes"] / 1e9, record["metrics"]["auroc_macro"]
            print(f"{name}: {record['seconds']:.0f} s, peak {peak:.2f} GB, AUROC {auroc:.3f}", flush=True)


if __name__ == "__main__":
    main()
