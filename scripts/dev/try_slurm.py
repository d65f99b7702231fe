#!/usr/bin/env python3
"""Tries scripts/launch/slurm_array.sh on a Slurm of this machine, with one task requeued at work.

Needs root, and Debian's packages: apt-get install slurm-wlm munge. The controller, the node and their
files are those of a temporary folder; they are stopped at the end. Slurm restarts a requeued task after
about two minutes. At the end the cache has to equal that of a single run, byte for byte. Build first.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trial

SCRIPT = trial.PROJECT / "scripts/launch/slurm_array.sh"
PARTS = 4
CONF = """
ClusterName=trial
SlurmctldHost={host}
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
ReturnToService=2
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} CPUs={cpus} State=UNKNOWN
PartitionName=trial Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=6000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = trial.Trial(Path(folder, "data"), arguments.images)
        data.single_run()
        daemons = start(Path(folder))
        try:
            run(data)
        finally:
            for daemon in daemons:
                daemon.terminate()
                daemon.wait()
        data.compare("slurm")


def start(folder):
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().split(".")[0]
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, folder=folder, cpus=os.cpu_count()))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=yes\n")
    os.environ["SLURM_CONF"] = str(conf)
    Path("/run/munge").mkdir(exist_ok=True)
    subprocess.run(["chown", "munge:", "/run/munge"], check=True)
    # It may run already.
    subprocess.run(["runuser", "-u", "munge", "--", "munged"], check=False)
    daemons = [subprocess.Popen(["slurmctld", "-D", "-f", conf])]
    time.sleep(2)
    daemons.append(subprocess.Popen(["slurmd", "-D", "-f", conf]))
    for _ in range(60):
        if "idle" in output(["sinfo", "--noheader", "--format", "%T"]):
            return daemons
        time.sleep(1)
    sys.exit("the node does not come up: see slurmctld.log")


def run(data):
    words = ["sbatch", "--parsable", f"--array=1-{PARTS}", "--cpus-per-task=1"]
    words += [f"--output={data.folder}/%a.log", "--export", f"ALL,EXTRACT={trial.EXTRACT}"]
    job = output([*words, SCRIPT, *data.words("slurm")]).strip()
    requeue(f"{job}_1", data.folder / "slurm" / trial.NAME / f"parts/1-of-{PARTS}")
    started = time.monotonic()
    while output(["squeue", "--noheader", "--jobs", job]).strip():
        if time.monotonic() - started > 900:
            sys.exit("the array does not end")
        time.sleep(2)
    for log in sorted(data.folder.glob("*.log")):
        print(f"{log.name}: {log.read_text().strip().splitlines()[-1]}")


def requeue(task, part):
    """Requeues a task when it has its second shard."""
    for _ in range(6000):
        if (part / "cls/00001.parquet").is_file():
            print(f"requeuing {task}", flush=True)
            subprocess.run(["scontrol", "requeue", task], check=True)
            return
        time.sleep(0.01)
    sys.exit(f"{task} does not start")


def output(command):
    return subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
