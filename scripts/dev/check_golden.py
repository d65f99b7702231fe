#!/usr/bin/env python3
"""Writes reference values again and compares them with the committed ones.

Usage: check_golden.py [GENERATOR…], by default all golden*.py. Numbers in JSON may differ by 1e-6 in
relation to their size, since libraries and processors round differently; other files must be equal. What
agrees is restored to the committed bytes. Exits with 1 if something differs or a generator fails (some
need packages that no requirements file names; their first lines say so).
"""

import json
import math
import pathlib
import subprocess
import sys

DEV = pathlib.Path(__file__).resolve().parent
ROOT = DEV.parents[1]
FOLDERS = ["tests/golden", "probe/golden", "probe/nn/golden"]
TOLERANCE = 1e-6


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


def is_same(path):
    if pathlib.Path(path).suffix != ".json":
        return False
    try:
        before = git("show", f"HEAD:{path}")
    except subprocess.CalledProcessError:
        return False
    return agree(json.loads(before), json.loads((ROOT / path).read_text()))


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
