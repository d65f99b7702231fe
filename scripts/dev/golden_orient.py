#!/usr/bin/env python3
"""Writes `tests/golden/orientations.json`: affines, which world axis each voxel axis is closest to,
and for some of them how small volumes are cut.

Needs NumPy and nibabel (`.venv-test`). The affines are random turns, some of them sheared, with
random steps and axes in any order and direction.
"""

import json
from pathlib import Path

import numpy as np
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

TARGET = Path(__file__).resolve().parents[2] / "tests/golden/orientations.json"
COUNT = 80
# So many have cuts of a volume of this shape, whose voxels are numbered as C order has them.
CUT_COUNT, SHAPE = 12, (2, 3, 4)
# Where slices, rows and columns run to.
PLANES = {"axial": "SPL", "coronal": "AIL", "sagittal": "RIP"}
# The stored axes that become slices, rows and columns.
STORED = {"stored-k-xy": (2, 0, 1), "stored-j-xz": (1, 0, 2), "stored-i-yz": (0, 1, 2)}


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
        **({"cuts": cuts(affine, orientation)} if k < CUT_COUNT else {}),
    }


def cuts(affine, orientation):
    """For each slicing the cut's `affine` `[3, 4]`, from slice, row and column, and its `voxels`."""
    turns = {
        name: ornt_transform(orientation, axcodes2ornt(codes)) for name, codes in PLANES.items()
    }
    for name, axes in STORED.items():
        turns[name] = np.array([[axes.index(stored), 1] for stored in range(3)])
    voxels = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    return {name: cut(voxels, affine, turn) for name, turn in turns.items()}


def cut(voxels, affine, turn):
    moved = affine @ inv_ornt_aff(turn, voxels.shape)
    return {"affine": moved[:3].tolist(), "voxels": apply_orientation(voxels, turn).tolist()}


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
