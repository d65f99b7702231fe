#!/usr/bin/env python3
"""Extracts a dataset in parts on a Ray cluster, or on this machine if there is none.

Each part is a Ray task that runs `extract ARGUMENTS --shard I/N`. All nodes need the program, the
model's files, the dataset and the cache's folder under the same paths. Parts of lost nodes are run
again elsewhere and go on where they stopped. Needs `pip install ray`.

  python scripts/launch/ray_extract.py --parts 8 -- \\
      --model dinov2-l14 --dataset amos --root /data/amos --cache /data/embeddings
"""

import argparse
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import ray

PROJECT = Path(__file__).resolve().parents[2]

# Exit codes of `extract`: all done, and done with skipped samples.
DONE, SKIPPED, FAILED = 0, 1, 2


def main():
    arguments = parse_arguments()
    ray.init(address=arguments.address, log_to_driver=True)
    gpus = arguments.gpus
    if gpus is None:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
    print(f"{arguments.parts} parts, {arguments.cpus:g} CPUs and {gpus:g} GPUs each", flush=True)
    task = ray.remote(extract).options(
        num_cpus=arguments.cpus,
        num_gpus=gpus,
        max_retries=arguments.retries,
        # Spread over nodes rather than filling one.
        scheduling_strategy="SPREAD",
    )
    command = [arguments.program, *threads(arguments), *arguments.words]
    running = {}
    for index in range(1, arguments.parts + 1):
        shard = f"{index}/{arguments.parts}"
        running[task.remote([*command, "--shard", shard], shard)] = shard
    sys.exit(collect(running))


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="\n".join(__doc__.splitlines()[2:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--parts", type=int, required=True, help="number of parts")
    parser.add_argument("--cpus", type=float, default=2, help="CPUs of a part (default: 2)")
    parser.add_argument("--gpus", type=float, help="GPUs of a part (default: 1 if the cluster has any)")
    parser.add_argument("--retries", type=int, default=5, help="retries of a part whose node is lost")
    parser.add_argument("--address", default=os.environ.get("RAY_ADDRESS"), help="address of the cluster, `auto` for a running one (default: $RAY_ADDRESS, else this machine)")
    parser.add_argument("--program", default=program(), help="path of `extract` on the nodes")
    parser.add_argument("words", nargs="+", metavar="ARGUMENT", help="arguments of `extract`, after `--`")
    return parser.parse_args()


def program():
    built = PROJECT / "target/release/extract"
    return str(built) if built.is_file() else shutil.which("extract") or "extract"


def threads(arguments):
    """As many threads as a part has CPUs, unless the user says otherwise."""
    if any(word.split("=")[0] == "--threads" for word in arguments.words):
        return []
    return ["--threads", str(max(1, int(arguments.cpus)))]


def extract(command, shard):
    """Runs one part, and returns its exit code and the last lines of its messages.

    Ray runs it again on another node if this one is lost. If a process of the lost node still writes the
    part, `extract` waits for it.
    """
    child = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=stop_with_parent,
    )
    lines = []
    for line in child.stderr:
        # Ray sends what a task prints to the terminal that started it.
        print(f"part {shard}: {line.rstrip()}", flush=True)
        lines.append(line.rstrip())
    return child.wait(), lines[-5:]


def stop_with_parent():
    """Asks the kernel to stop `extract` when the worker that started it dies (Linux)."""
    pr_set_pdeathsig = 1
    try:
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    except (OSError, AttributeError):
        pass


def collect(running):
    """Waits for all parts, prints each that is done, and returns the exit code of the whole."""
    total, codes, started = len(running), [], time.monotonic()
    while running:
        ready, _ = ray.wait(list(running), num_returns=1)
        shard = running.pop(ready[0])
        try:
            code, lines = ray.get(ready[0])
        except ray.exceptions.RayError as error:
            code, lines = FAILED, [str(error)]
        codes.append(code)
        state = "done" if code in (DONE, SKIPPED) else f"failed (exit code {code})"
        minutes = (time.monotonic() - started) / 60
        print(f"part {shard} {state}; {len(codes)} of {total} after {minutes:.1f} min", flush=True)
        if code not in (DONE, SKIPPED):
            print("\n".join(f"  {line}" for line in lines), flush=True)
    failed = sum(code not in (DONE, SKIPPED) for code in codes)
    if failed:
        print(f"{failed} of {total} parts failed; the same command goes on where they stopped")
        return FAILED
    return SKIPPED if SKIPPED in codes else DONE


if __name__ == "__main__":
    main()
