#!/usr/bin/env python3
"""Time and peak memory of the commands that read a cache's descriptions and labels, on a large cache.

1,000,000 slices in 2,000 shards, one block of width 4, 14 classes, of which this makes a cache in a
folder that is deleted at the end. Build first: cargo build --release --workspace --all-targets --locked

With --s3, the cache is copied to the S3 server of the tests, and the commands that work on buckets run there too;
the number of their requests is printed. Needs `.venv-servers`, which scripts/test makes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import benches

PROJECT = Path(__file__).resolve().parents[2]
NAME = "scale/random@224"
LABELS = "labels.csv"
IN_BUCKET = ["ls", "show", "verify", "split", "ridge"]
COMMANDS = [
    ["extract", "ls"],
    ["extract", "show", NAME],
    ["extract", "verify", NAME, "--quick"],
    ["extract", "verify", NAME],
    ["extract", "split", "--dataset", "scale", "--rule", "random:0.7:0.1:0.2", "--name", "random"],
    ["extract", "relabel", NAME, "--labels", LABELS, "--name", "new", "--force"],
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
    parser.add_argument("--s3", action="store_true", help="also on the S3 server of the tests")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.keep or Path(folder, "caches")
        cache = root / NAME
        if not (cache / "meta.json").is_file():
            cache.parent.mkdir(parents=True)
            sizes = (arguments.rows, 4, 1, arguments.rows // arguments.shards)
            measure([benches.executable("scale"), cache, *map(str, sizes)], "writing the cache")
        labels = Path(folder, LABELS)
        labels.write_text(
            "sample,label\n" + "".join(f"{row:07},{'ab'[row % 2]}\n" for row in range(arguments.rows))
        )
        wanted = [words for words in COMMANDS if not arguments.only or arguments.only in " ".join(words)]
        for words in wanted:
            measure([*program(words, folder), "--cache", root], " ".join(words))
        if arguments.s3:
            in_bucket([words for words in wanted if words[1] in IN_BUCKET], root, folder)


def program(words, folder):
    """A command without its caches."""
    words = [Path(folder, word) if word == LABELS else word for word in words]
    runs = ["--runs", Path(folder, "runs")] if words[0] == "probe" and words[1] != "ls" else []
    return [PROJECT / "target/release" / words[0], *words[1:], *runs]


def in_bucket(commands, root, folder):
    """Measures commands over a copy of the caches on an S3 server."""
    python, scripts = PROJECT / ".venv-servers/bin/python", PROJECT / "scripts/dev"
    server = subprocess.Popen(
        [python, scripts / "s3_server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    url = f"http://127.0.0.1:{server.stdout.readline().decode().strip()}"
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    os.environ.update(AWS_ENDPOINT_URL=url, AWS_DEFAULT_REGION="us-east-1", **keys)
    try:
        measure(
            [python, scripts / "s3_copy.py", root, "s3://scale/caches"], "copying the cache to the server"
        )
        for words in commands:
            before = requests(url)
            measure([*program(words, folder), "--cache", "s3://scale/caches"], " ".join(words) + ", S3")
            after = requests(url)
            print({key: after[key] - before.get(key, 0) for key in after}, flush=True)
    finally:
        server.stdin.close()
        server.wait()


def requests(url):
    with urllib.request.urlopen(f"{url}/-/requests") as answer:
        return json.load(answer)


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
