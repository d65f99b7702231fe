"""Results of `probe`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from slicebank._errors import CacheError


def runs(folder: str | os.PathLike[str] = "runs") -> pl.DataFrame:
    """Run records, a row each, oldest first.

    Measures are columns `metrics.NAME`, intervals `ci.NAME.low` and `ci.NAME.high`, parameters
    `params.NAME`. `record` is the whole record as JSON, `folder` the folder that it was read from.

    Raises `CacheError` if there is no such folder, or a line is not a record.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CacheError(f"`{folder}`: no such folder\nhint: `probe` writes records to `runs`")
    rows = [_flat(record) | {"record": line, "folder": str(folder)} for line, record in _records(folder)]
    frame = pl.DataFrame(rows, infer_schema_length=None, strict=False)
    return frame.sort("time", maintain_order=True) if rows else frame


def predictions(run: Mapping[str, Any] | str | os.PathLike[str]) -> pl.DataFrame:
    """Scores of the cases of a run: a row of the frame that `runs` returns (as a dictionary), or a file.

    Columns: `sample`, `slice`, `patient`, then `target/CLASS` and `score/CLASS` for each class.

    Raises `CacheError` if the run saved none.
    """
    if not isinstance(run, Mapping):
        return pl.read_parquet(run)
    if not run.get("predictions"):
        raise CacheError(f"the run {run.get('key')} saved no predictions")
    return pl.read_parquet(Path(run["folder"]) / run["predictions"])


def _records(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise CacheError(f"`{file}`, line {number}: not a run record: {error}") from None
            if not isinstance(record, dict):
                raise CacheError(f"`{file}`, line {number}: not a run record")
            yield line, record


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """The record with numbers and words only; dictionaries become columns, lists stay in `record`."""
    row: dict[str, Any] = {}
    for key, value in record.items():
        if key in ("metrics", "params"):
            row |= {f"{key}.{name}": v for name, v in value.items() if _is_plain(v)}
        elif key == "ci":
            row |= _intervals(value)
        elif _is_plain(value):
            row[key] = value
    return row


def _intervals(ci: dict[str, Any]) -> dict[str, Any]:
    return {
        f"ci.{name}.{side}": value
        for name, pair in ci.items()
        if isinstance(pair, list) and len(pair) == 2
        for side, value in zip(("low", "high"), pair, strict=True)
    }


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)
