"""Where the time of a run on a GPU goes, for gpu_check.py."""

import json
import shutil
from collections import Counter

MOST = 12


def kernels(check, command):
    """Shares of the GPU's time by kernel, as text, where Nsight Systems is there to see it."""
    if not shutil.which("nsys"):
        return ""
    options = ["--stats=true", "--force-overwrite=true", f"--output={check.folder / 'nsys'}"]
    shutil.rmtree(check.folder / "profiled", ignore_errors=True)
    process = check.start(["nsys", "profile", *options, *command])
    stdout, _ = process.communicate()
    if process.returncode:
        return ""
    lines = stdout.partition("cuda_gpu_kern_sum")[2].splitlines()
    lines = [line.split(maxsplit=8) for line in lines if line.strip()[:1].isdigit()]
    return "; ".join(f"{line[0]}% {line[-1].strip()[:60]}" for line in lines[:MOST])


def operators(check, command):
    """Shares of the time in which ONNX Runtime launches kernels, by operator, as text."""
    shutil.rmtree(check.folder / "profiled", ignore_errors=True)
    process = check.start(command, ORT_PROFILE=str(check.folder / "profile"))
    process.communicate()
    if process.returncode:
        return ""
    times = Counter()
    for file in check.folder.glob("profile*.json"):
        for event in json.loads(file.read_text()):
            if event.get("cat") == "Node" and "op_name" in event.get("args", {}):
                times[event["args"]["op_name"]] += event["dur"]
    if not times:
        return ""
    shares = (f"{time / times.total():.0%} {name}" for name, time in times.most_common(MOST))
    return f"launching, without nsys: {'; '.join(shares)}"
