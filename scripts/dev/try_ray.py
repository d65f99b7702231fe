#!/usr/bin/env python3
"""Tries scripts/launch/ray_extract.py on a Ray cluster of three local nodes, of which one is lost.

Environment: requirements-ray.txt. The nodes have an artificial GPU each. One part is first written by a
process outside of Ray, as an orphan of a lost node would. While parts are extracted, one node and its
workers are killed. At the end the cache has to equal that of a single run, byte for byte. Build first.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trial
from ray.cluster_utils import Cluster

LAUNCHER = trial.PROJECT / "scripts/launch/ray_extract.py"
PARTS = 6
# Time for which an orphan keeps the lock of its part.
ORPHAN_S = 20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=6000)
    arguments = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as folder:
        data = trial.Trial(Path(folder, "data"), arguments.images)
        data.single_run()
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        nodes = [cluster.add_node(num_cpus=1, num_gpus=1) for _ in range(3)]
        cluster.wait_for_nodes()
        try:
            run(data, cluster, nodes)
        finally:
            cluster.shutdown()
        data.compare("ray")


def run(data, cluster, nodes):
    words = data.words("ray")
    parts = data.folder / "ray" / trial.NAME / "parts"
    orphan = subprocess.Popen([trial.EXTRACT, *words, "--threads", "1", "--shard", f"2/{PARTS}"])
    while not (parts / f"2-of-{PARTS}/cls/00000.parquet").is_file():
        time.sleep(0.001)
    # It holds the lock of its part as long as it is paused.
    orphan.send_signal(signal.SIGSTOP)
    command = [sys.executable, LAUNCHER, "--address", cluster.address, "--parts", str(PARTS)]
    command += ["--cpus", "1", "--program", str(trial.EXTRACT), "--", *words]
    launcher = subprocess.Popen(list(map(str, command)))
    part = busy_part(parts, launcher)
    print(f"killing a node and its workers while part {part} is extracted", flush=True)
    kill(nodes[0])
    time.sleep(ORPHAN_S)
    print("the orphan goes on", flush=True)
    orphan.send_signal(signal.SIGCONT)
    if code := launcher.wait():
        sys.exit(f"the launcher ended with {code}")
    orphan.wait()


def busy_part(parts, launcher):
    """Waits until a part that Ray started has its second shard, and returns its name."""
    while launcher.poll() is None:
        for part in parts.glob(f"*-of-{PARTS}"):
            if part.name != f"2-of-{PARTS}" and (part / "cls/00001.parquet").is_file():
                return part.name
        time.sleep(0.01)
    sys.exit("the launcher ended before a node could be killed")


def kill(node):
    """Kills the raylet of a node and its workers, as a lost machine would lose them."""
    raylets = [process.process.pid for process in node.all_processes["raylet"]]
    for pid in [*raylets, *(child for raylet in raylets for child in children(raylet))]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def children(parent):
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            yield int(path.parent.name)


if __name__ == "__main__":
    main()
