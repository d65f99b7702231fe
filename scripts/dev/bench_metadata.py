#!/usr/bin/env python3
"""Time and peak memory of the commands that read a cache's descriptions and labels, on a large cache.

1,000,000 slices in 2,000 shards, one block of width 4, 14 classes, of which this makes a cache in a
folder that is deleted at the end. Build first: cargo build --release --workspace --all-targets --locked
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import benches

PROJECT = Path(__file__).resolve().parents[2]
NAME = "scale/random@224"
COMMANDS = [
    ["extract", "ls"],
    ["extract", "show", NAME],
    ["extract", "verify", NAME, "--quick"],
    ["extract", "verify", NAME],
    ["extract", "split", "--dataset", "scale", "--rule", "random:0.7:0.1:0.2", "--name", "random"],
    ["extract", "diff", NAME, NAME],
    ["probe", "ls"],
    ["probe", "ridge"],
    ["probe", "ridge", "--split", "random"],
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="slices (default: 1000000)")
    parser.add_argument("--shards", type=int, default=2000, help="shards (default: 2000)")
    parser.add_argument("--keep", type=Path, help="folder of the cache; made unless it is there")
    parser.add_argument("--only", help="only commands that contain this")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.keep or Path(folder, "caches")
        cache = root / NAME
        if not (cache / "meta.json").is_file():
            cache.parent.mkdir(parents=True)
            sizes = (arguments.rows, 4, 1, arguments.rows // arguments.shards)
            measure([benches.executable("scale"), cache, *map(str, sizes)], "writing the cache")
        for words in COMMANDS:
            if arguments.only and arguments.only not in " ".join(words):
                continue
            command = [PROJECT / "target/release" / words[0], *words[1:], "--cache", root]
            if words[0] == "probe" and words[1] != "ls":
                command += ["--runs", Path(folder, "runs")]
            measure(command, " ".join(words))


def measure(command, name):
    """Runs a command, and prints its time and the greatest size of its memory."""
    started = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds, peak = time.monotonic() - started, usage.ru_maxrss * 1024 / 1e6
    print(f"{name}: {seconds:.1f} s, peak {peak:.0f} MB", flush=True)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"`{name}` failed")


if __name__ == "__main__":
    main()
