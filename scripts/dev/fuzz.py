#!/usr/bin/env python3
"""Builds the fuzz targets of `cache`, `extract` and `probe` with libFuzzer, runs them in rounds, and keeps a ledger.

    scripts/dev/fuzz.py [--minutes 60] [--round 60] [--jobs 1] [TARGET...]

Each target runs for `--minutes` of a core in all, unless it ends at an input. In a round, each of them runs for `--round`
seconds by the clock, so that a stop leaves nearly as much of each. What earlier calls ran counts. An input that takes
20 s, by the clock, ends a target: the machine must be idle. Needs a C++ compiler, and no nightly Rust: LLVM counts the coverage, and without an address sanitizer
nothing but panics, time-outs and too much memory is found, which suits code that is nearly all safe.

The folder `target/fuzz` has `ledger.csv` (a line for each run), `corpus/TARGET` (what was found to reach new code,
beside the files in `*/fuzz/corpus/TARGET` that it began with), `artifacts/TARGET` (inputs at which a target ended) and
`logs/TARGET`. The exit code is 1 if there are artifacts.
"""

import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CRATES = ["cache", "extract", "probe"]
WORK = PROJECT / "target/fuzz"
LEDGER = WORK / "ledger.csv"
SUMS = ["seconds", "processor_seconds", "executions", "artifacts"]
COLUMNS = ["target", *SUMS, "edges", "features"]
MOST_BYTES = 16_384
SLOWEST = 20
MEGABYTES = 2_048
PASSES = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
]


def main():
    known = {
        target["name"]: crate
        for crate in CRATES
        for target in tomllib.loads((PROJECT / crate / "fuzz/Cargo.toml").read_text())["bin"]
    }
    arguments = parse(known)
    wanted = arguments.targets or list(known)
    programs = build()
    ended = set()
    while left := [name for name in wanted if name not in ended and lacks(name, arguments.minutes)]:
        with ThreadPoolExecutor(arguments.jobs) as pool:
            for result in pool.map(lambda name: run(programs / name, known[name], arguments.round), left):
                write(result)
                if result["artifacts"]:
                    ended.add(result["target"])
                print(", ".join(f"{name} {result[name]}" for name in COLUMNS), flush=True)
    return summarise(wanted)


def parse(known):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(known)} [default: all]")
    parser.add_argument(
        "--minutes", type=float, default=60, help="minutes of a core for each target [default: 60]"
    )
    parser.add_argument(
        "--round", type=int, default=60, help="seconds of each target in a round [default: 60]"
    )
    parser.add_argument("--jobs", type=int, default=1, help="targets that run at the same time [default: 1]")
    arguments = parser.parse_args()
    for name in arguments.targets:
        if name not in known:
            parser.error(f"no target `{name}`, there are {', '.join(known)}")
    return arguments


def build():
    """Builds all targets, some of which would have other features, and returns the folder of the programs."""
    facts = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = re.search(r"^host: (.*)$", facts, re.M)[1]
    lock = PROJECT / "fuzz/Cargo.lock"
    if not lock.exists():
        lock.write_bytes((PROJECT / "Cargo.lock").read_bytes())
    environment = os.environ | {"CARGO_TARGET_DIR": str(WORK), "RUSTFLAGS": " ".join(PASSES)}
    # With `--target`, the flags are not those of build scripts.
    command = ["cargo", "build", "--release", "--workspace", "--bins", "--target", host]
    subprocess.run(command, check=True, cwd=PROJECT / "fuzz", env=environment)
    return WORK / host / "release"


def run(program, crate, seconds):
    """Runs a target for some seconds."""
    name = program.name
    corpus, artifacts, log = (WORK / folder / name for folder in ("corpus", "artifacts", "logs"))
    for folder in (corpus, artifacts, log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(artifacts.iterdir())
    words = [
        f"-max_total_time={seconds}",
        f"-max_len={MOST_BYTES}",
        f"-timeout={SLOWEST}",
        f"-report_slow_units={SLOWEST}",
        f"-rss_limit_mb={MEGABYTES}",
        "-detect_leaks=0",
        "-print_final_stats=1",
        f"-artifact_prefix={artifacts}/",
        str(corpus),
    ]
    seeds = PROJECT / crate / "fuzz/corpus" / name
    words += [str(seeds)] if seeds.is_dir() else []
    memory = Path("/dev/shm")
    started = time.monotonic()
    # Files of a target are small and short-lived.
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
        open(log, "wb") as output,
    ):
        environment = os.environ | {"TMPDIR": folder}
        child = subprocess.Popen([program, *words], stdout=output, stderr=output, env=environment)
        _, _, used = os.wait4(child.pid, 0)
    text = log.read_bytes().decode(errors="replace")
    executions = re.findall(r"^stat::number_of_executed_units: (\d+)$|^#(\d+)\t", text, re.M)
    coverage = re.findall(r"cov: (\d+) ft: (\d+)", text) or [(0, 0)]
    return {
        "target": name,
        "seconds": round(time.monotonic() - started),
        "processor_seconds": round(used.ru_utime + used.ru_stime),
        "executions": max((int(one or other) for one, other in executions), default=0),
        "edges": int(coverage[-1][0]),
        "features": int(coverage[-1][1]),
        "artifacts": len(set(artifacts.iterdir()) - before),
    }


def write(result):
    is_new = not LEDGER.exists()
    with open(LEDGER, "a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow(result)


def lacks(name, minutes):
    return done(name)["processor_seconds"] < 60 * minutes


def done(name):
    """What the ledger says of a target: sums, and the greatest coverage."""
    rows = []
    if LEDGER.exists():
        with open(LEDGER, newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["target"] == name]
    of = {column: [int(row[column]) for row in rows] for column in COLUMNS[1:]}
    return {column: (sum if column in SUMS else greatest)(values) for column, values in of.items()}


def greatest(values):
    return max(values, default=0)


def summarise(wanted):
    print("".join(f"{column:>18}" for column in COLUMNS))
    for name in wanted:
        row = {"target": name} | done(name)
        print("".join(f"{row[column]:>18}" for column in COLUMNS))
    left = [path for name in wanted for path in sorted((WORK / "artifacts" / name).iterdir())]
    for path in left:
        print(f"{path}: the target ended at this input; `{path.parent.name} {path.name}` repeats it")
    return bool(left)


if __name__ == "__main__":
    sys.exit(main())
