#!/usr/bin/env python3
"""Writes reference values again and compares them with the committed ones.

Usage: check_golden.py [GENERATOR…], by default all golden*.py. Numbers in JSON may differ by 1e-6 in
relation to their size, and those in arrays by 1e-5 in relation to the largest of the array, since
libraries and processors round differently; other files must be equal. What agrees is restored to the
committed bytes. Exits with 1 if something differs or a generator fails. Needs the packages in
requirements-golden.txt.
"""

import io
import json
import math
import pathlib
import subprocess
import sys

import numpy as np
import safetensors.numpy

DEV = pathlib.Path(__file__).resolve().parent
ROOT = DEV.parents[1]
FOLDERS = ["tests/golden", "probe/golden", "probe/nn/golden"]
TOLERANCE = 1e-6
ARRAY_TOLERANCE = 1e-5


def git(*words):
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout


def changed():
    lines = git("status", "--porcelain", "--untracked-files=all", "--", *FOLDERS).decode().splitlines()
    return [line[3:] for line in lines]


def agree(left, right):
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(agree(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(agree, left, right))
    if isinstance(left, float) or isinstance(right, float):
        is_number = all(isinstance(value, (int, float)) for value in (left, right))
        return is_number and math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return left == right


def arrays_agree(left, right):
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    if left.dtype.kind != "f":
        return bool((left == right).all())
    left, right = left.astype(np.float64), right.astype(np.float64)
    largest = np.abs(left).max(initial=0)
    return np.allclose(left, right, rtol=0, atol=ARRAY_TOLERANCE * largest, equal_nan=True)


def tensors_agree(left, right):
    left, right = safetensors.numpy.load(left), safetensors.numpy.load(right)
    return left.keys() == right.keys() and all(arrays_agree(left[key], right[key]) for key in left)


def is_same(path):
    try:
        before = git("show", f"HEAD:{path}")
    except subprocess.CalledProcessError:
        return False
    if not (ROOT / path).exists():
        return False
    now = (ROOT / path).read_bytes()
    match pathlib.Path(path).suffix:
        case ".json":
            return agree(json.loads(before), json.loads(now))
        case ".npy":
            return arrays_agree(np.load(io.BytesIO(before)), np.load(io.BytesIO(now)))
        case ".safetensors":
            return tensors_agree(before, now)
    return False


def main():
    if changed():
        sys.exit(f"error: {', '.join(FOLDERS)}: uncommitted changes\nhint: commit or stash them")
    names = sys.argv[1:] or sorted(path.name for path in DEV.glob("golden*.py"))
    wrong = []
    for name in names:
        command = [DEV / "run", name]
        done = subprocess.run(
            command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if done.returncode:
            wrong.append(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    for path in changed():
        if is_same(path):
            git("checkout", "--", path)
        else:
            wrong.append(f"{path}: differs from the committed file")
    print("\n".join(wrong) or f"ok: {len(names)} generators")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
