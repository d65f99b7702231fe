"""What `meta.json` says of a cache's columns."""

import math


def token_shape(meta, column):
    """`(P, D)` of a row of a column `cls_K`, `mean_K` or `patch_K`; `P` is 1 but for `patch_K`."""
    kind, layer = column.rsplit("_", 1)
    equal = {"cls": meta["width"], "patch": meta["width"], "grid": meta["grid"]}
    shape = meta.get("shapes", [equal] * meta["layers"])[-int(layer)]
    patches = math.prod(shape["grid"]) if kind == "patch" else 1
    return patches, shape["cls" if kind == "cls" else "patch"]
