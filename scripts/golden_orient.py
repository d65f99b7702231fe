#!/usr/bin/env python3
"""Writes `tests/golden/orientations.json`: affines, and which world axis each voxel axis is closest to.

Needs NumPy and nibabel (`.venv-test`). The affines are random turns, some of them sheared, with
random steps and axes in any order and direction.
"""

import json
from pathlib import Path

import numpy as np
from nibabel.orientations import io_orientation

TARGET = Path(__file__).parent.parent / "tests/golden/orientations.json"
COUNT = 80


def main():
    rng = np.random.default_rng(20261124)
    cases = [case(rng, k) for k in range(COUNT)]
    lines = ",\n".join(json.dumps(case) for case in cases)
    TARGET.write_text(f"[\n{lines}\n]\n")
    print(f"wrote {TARGET}: {COUNT} affines")


def case(rng, k):
    """`affine` `[3, 4]`; `axes[i]` is the world axis of voxel axis `i`, `signs[i]` its direction."""
    turn = turned(rng, spread=[0.2, 0.6, 3.0][k % 3])
    order = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    shear = np.eye(3) + np.triu(rng.uniform(-0.3, 0.3, (3, 3)), 1) * (k % 2)
    affine = np.zeros((4, 4))
    affine[:3, :3] = turn @ order @ shear @ np.diag(rng.uniform(0.4, 5, 3))
    affine[:3, 3], affine[3, 3] = rng.uniform(-200, 200, 3), 1
    affine = affine.round(6)
    orientation = io_orientation(affine)
    return {
        "affine": affine[:3].tolist(),
        "axes": orientation[:, 0].astype(int).tolist(),
        "signs": orientation[:, 1].astype(int).tolist(),
    }


def turned(rng, spread):
    """A turn by up to `spread` radians around each axis."""
    turn = np.eye(3)
    for axis, angle in enumerate(rng.uniform(-spread, spread, 3)):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        one = np.eye(3)
        one[[a, b], [a, b]] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    return turn


if __name__ == "__main__":
    main()
