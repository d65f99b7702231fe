"""Caches of tokens."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from slicebank._errors import CacheError
from slicebank._files import Files

if TYPE_CHECKING:
    # Imported where it is used: it takes as long as all else together, with pandas installed.
    import pyarrow.dataset

Tokens = Literal["cls", "mean", "cls+mean"]
Unit = Literal["slice", "volume"]
Pool = Literal["mean", "max"]

_STATES = {0: "absent", 1: "present", -1: "uncertain"}
_ORIGINAL = "original"


class _Groups(NamedTuple):
    """Slices of each of `N` examples."""

    at: np.ndarray
    """Positions of slices in their frame; those of an example are together, in their order."""
    starts: np.ndarray
    """`[N]`: where those of each example begin in `at`."""

    def are_single(self) -> bool:
        """Whether each example has one slice."""
        return len(self.at) == len(self.starts)

    def reduced(self, by: np.ufunc, values: np.ndarray) -> np.ndarray:
        """`[N, …]`: the values of each example's slices reduced to one; `values` has one for each slice."""
        values = values[self.at]
        return values if self.are_single() else by.reduceat(values, self.starts, axis=0)

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """The values of the slices of each example."""
        return np.split(values[self.at], self.starts[1:])


class Features(NamedTuple):
    """Features of `N` examples with their labels, as `Cache.features` returns them."""

    X: np.ndarray
    """`[N, F]`, float32."""
    y: np.ndarray
    """`[N]` class indices, or `[N, C]` for multi-label data."""
    groups: np.ndarray
    """`[N]`: the patient of each example, or its sample where no patient is known."""
    split: np.ndarray
    """`[N]`: `train`, `val`, `test`, or an empty string."""


def open(
    path: str | os.PathLike[str], *, split: str | None = None, labels: str | None = None
) -> Cache:
    """Opens a cache: the folder with `meta.json`, or its URL in a bucket.

    `split` is the name of a split that `extract split` added, `labels` that of labels that `extract
    relabel` added.

    Raises `CacheError` if there is no finished cache of a known version, or no such split or labels.
    """
    return Cache(Files.of(path), split, labels)


class Cache:
    """A finished cache. Rows are numbered from 0, in the order of `slices`.

    `meta` is the content of `meta.json`, `classes` the names of the classes, and `split_name` and
    `labels_name` are as given to `open`.
    """

    def __init__(self, files: Files, split: str | None, labels: str | None) -> None:
        self._files = files
        self.meta: dict[str, Any] = _meta(files, "meta.json")
        if self.meta.get("format_version") != 1:
            version = self.meta.get("format_version")
            raise CacheError(
                f"`{files.shown}`: format version {version}, expected 1\nhint: update slicebank"
            )
        if not self.meta["complete"]:
            raise CacheError(
                f"`{files.shown}`: not finished: `extract` was stopped or is running\n"
                "hint: repeat the command that began it"
            )
        self.split_name = split
        self.labels_name = None if labels == _ORIGINAL else labels
        self._label_meta = self.meta
        if self.labels_name is not None:
            self._label_meta = self._label_set(self.labels_name)
        self.classes: list[str] = self._label_meta["classes"]
        self._slices: pl.DataFrame | None = None
        self._raw: pl.DataFrame | None = None
        ends = np.cumsum([shard["rows"] for shard in self.meta["shards"]])
        self._starts = np.concatenate([[0], ends]).astype(np.int64)

    def __repr__(self) -> str:
        model = self.meta["model"]["name"]
        return (
            f"<slicebank.Cache {self.meta['dataset']} {model}@{self.meta['image_size']}: "
            f"{len(self)} slices, {len(self.classes)} classes>"
        )

    def __len__(self) -> int:
        """The number of rows."""
        return int(self._starts[-1])

    @property
    def path(self) -> str:
        """The path or URL that the cache was opened by."""
        return self._files.shown

    @property
    def split_names(self) -> list[str]:
        """Names of the splits that were added."""
        files = self._files.names("splits", ".parquet")
        return [name.removesuffix(".parquet") for name in files]

    @property
    def label_names(self) -> list[str]:
        """Names of the label sets that were added."""
        return [name for name in self._files.names("labels") if not name.startswith(".")]

    @property
    def slices(self) -> pl.DataFrame:
        """A row per slice: source, patient, split, size, spacing and labels.

        Labels are words: `label` is the name of the class; of multi-label data, `label_CLASS` is
        `present`, `absent` or `uncertain`. Null is not known.
        """
        if self._slices is None:
            self._slices = self._worded(self._rows())
        return self._slices

    def features(
        self,
        layer: int | Sequence[int] = 1,
        tokens: Tokens = "cls",
        unit: Unit | None = None,
        pool: Pool = "mean",
    ) -> Features:
        """Features and labels of the labelled examples, as `probe` reads them.

        `layer` 1 is the last block; of several layers the oldest comes first. `mean` is the mean of the
        patch tokens. Examples are slices or volumes, whose features are the `pool` of those of their slices;
        by default volumes where all slices of each have the same labels. Augmented views are left out.

        `y` of multi-label data is 1 or 0 for each class (int8), or float32 with NaN where a label is uncertain.
        A label that is not known counts as absent, since the other labels of the example are. Without any
        labels `y` is -1.
        """
        rows = self._rows().filter(pl.col("view") == 0)
        unit = unit or _unit(rows, self._label_columns())
        if self._label_meta["task"] != "unlabelled":
            has_label = pl.any_horizontal(pl.col(name).is_not_null() for name in self._label_columns())
            rows = rows.filter(has_label.any().over("sample") if unit == "volume" else has_label)
        groups = _members(rows, unit)
        x = self._pooled(rows["row"].to_numpy(), groups, layer, tokens, pool)
        firsts = rows[groups.at[groups.starts]]
        who = firsts.select(pl.coalesce("patient", "sample"))["patient"].to_numpy()
        return Features(
            X=x,
            y=self._targets(rows, groups),
            groups=who,
            split=firsts["split"].fill_null("").to_numpy(),
        )

    def tokens(self, table: Literal["cls", "mean"] = "cls", layer: int = 1) -> np.ndarray:
        """CLS tokens or means of patch tokens of all rows, `[N, D]`, float16."""
        shards = [self._tensor(table, layer, shard) for shard in range(len(self.meta["shards"]))]
        return shards[0] if len(shards) == 1 else np.concatenate(shards)

    def patches(
        self, rows: int | slice | Sequence[int] | np.ndarray, layer: int = 1
    ) -> np.ndarray:
        """Patch tokens of some rows, `[n, P, D]`, float16, or float32 from a cache of int8 tokens.

        A patch `p` is in row `p // grid[1]` and column `p % grid[1]` of `cache.grid(layer)`. Only the row
        groups of the file that hold the rows are read; consecutive rows of one row group are not copied.
        """
        if self.meta["tokens"] != "all":
            raise CacheError(f"`{self.path}`: no patch tokens\nhint: {self._patches_hint()}")
        height, width = self.grid(layer)
        shape = (height * width, self._shape(layer)["patch"])
        column = f"patch_{layer}"
        parts = self._pieces("patch", column, self._numbers(rows))
        if self.meta.get("patch_dtype") == "int8":
            arrays = [_scaled(part, shape) for part in parts]
        else:
            arrays = [_floats(part, shape) for part in parts]
        if not arrays:
            return np.empty((0, *shape), np.float16)
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    def _patches_hint(self) -> str:
        if "imported" in self.meta:
            return "import a file that has them under another name (`extract import-tokens`, option `--patches`)"
        if self.meta["tokens"] == "residual":
            return (
                "this cache has the table `residual` in their place: extract into another folder of caches "
                "(`--cache`), without `--tokens residual`"
            )
        return "run `extract` again with `--tokens all`, which adds them"

    def masks(self, rows: int | slice | Sequence[int] | np.ndarray) -> list[np.ndarray | None]:
        """Label maps of some rows, each `[H, W]`, uint16, at the slice's own size; `None` without a mask.

        `cache.mask_classes` names the values.
        """
        table = "mask"
        if not self.meta["has_masks"]:
            raise CacheError(f"`{self.path}`: no masks")
        numbers = self._numbers(rows)
        sizes = self._rows()
        masks: list[np.ndarray | None] = []
        for part in self._pieces(table, "mask", numbers):
            for mask in part:
                row = numbers[len(masks)]
                size = sizes["height"][int(row)], sizes["width"][int(row)]
                buffer = mask.as_buffer()
                masks.append(None if buffer is None else np.frombuffer(buffer, "<u2").reshape(size))
        return masks

    @property
    def mask_classes(self) -> dict[int, str]:
        """Names of the values in masks, without the background, 0."""
        return {known["value"]: known["name"] for known in self._label_meta.get("mask_classes", [])}

    def pictures(self, rows: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """Slices as the backbone saw them, `[n, S, S]`, uint8, grey."""
        if not self.meta.get("has_pictures"):
            raise CacheError(f"`{self.path}`: no pictures")
        side = self.meta["image_size"]
        parts = self._pieces("picture", "picture", self._numbers(rows))
        arrays = [_bytes(part).reshape(-1, side, side) for part in parts]
        return np.concatenate(arrays) if arrays else np.empty((0, side, side), np.uint8)

    def grid(self, layer: int = 1) -> tuple[int, int]:
        """Rows and columns of a layer's patch grid."""
        height, width = self._shape(layer)["grid"]
        return height, width

    def dataset(self, table: str = "slices") -> pyarrow.dataset.Dataset:
        """A table (`slices`, `cls`, `mean`, `patch`, `mask`, `picture`) as an Arrow dataset.

        DuckDB and Polars scan it without reading all of it::

            slices = cache.dataset()
            duckdb.sql("SELECT split, count(*) FROM slices GROUP BY split")
        """
        import pyarrow.dataset

        shards = range(len(self.meta["shards"]))
        paths = [f"{self._files.folder}/{self._file(table, shard)}" for shard in shards]
        return pyarrow.dataset.dataset(paths, filesystem=self._files.system, format="parquet")

    def verify(self) -> None:
        """Compares every file with its sha256 in `meta.json`, and raises `CacheError` at the first that differs.

        It reads the whole cache. `extract verify` checks more, and lists all faults.
        """
        for number, shard in enumerate(self.meta["shards"]):
            for table, known in shard["tables"].items():
                name = f"{table}/{number:05}.parquet"
                if hashlib.sha256(self._files.bytes(name)).hexdigest() != known["sha256"]:
                    raise CacheError(
                        f"`{self.path}/{name}`: damaged: its sha256 is not that of meta.json\n"
                        "hint: `extract verify --repair` computes damaged shards again"
                    )

    # The files.

    def _label_set(self, name: str) -> dict[str, Any]:
        if name not in self.label_names:
            known = ", ".join(self.label_names) or "none"
            raise CacheError(f"`{self.path}`: no labels `{name}`; there are: {known}")
        meta = _meta(self._files, f"labels/{name}/labels.json")
        if "mask" not in meta["shards"][0]["tables"]:
            kept = ("mask_classes", "ignored_mask_value")
            meta |= {key: self.meta[key] for key in kept if key in self.meta}
        return meta

    def _file(self, table: str, shard: int) -> str:
        name = f"{table}/{shard:05}.parquet"
        if table not in self.meta["shards"][shard]["tables"]:
            raise CacheError(f"`{self.path}`: there is no table `{table}`")
        if self._label_meta is not self.meta and table in self._label_meta["shards"][shard]["tables"]:
            # Files of labels that replaced others of their name are in numbered folders.
            replaced = self._label_meta.get("replaced", 0)
            folder = f"{table}-{replaced}" if replaced else table
            return f"labels/{self.labels_name}/{folder}/{shard:05}.parquet"
        return name

    def _parquet(self, table: str, shard: int) -> pq.ParquetFile:
        name = self._file(table, shard)
        file = self._files.parquet(name)
        rows = self.meta["shards"][shard]["rows"]
        if file.metadata.num_rows != rows:
            raise CacheError(
                f"`{self.path}/{name}`: {file.metadata.num_rows} rows, expected {rows}"
            )
        return file

    def _rows(self) -> pl.DataFrame:
        """The table `slices` as it is stored, with the split that was chosen."""
        if self._raw is None:
            shards = range(len(self.meta["shards"]))
            frame = pl.from_arrow(pa.concat_tables(self._parquet("slices", i).read() for i in shards))
            assert isinstance(frame, pl.DataFrame)
            if not np.array_equal(frame["row"].to_numpy(), np.arange(len(self))):
                raise CacheError(f"`{self.path}/slices`: rows are not numbered from 0 to {len(self) - 1}")
            self._raw = frame if self.split_name is None else self._with_split(frame, self.split_name)
        return self._raw

    def _with_split(self, slices: pl.DataFrame, name: str) -> pl.DataFrame:
        if name not in self.split_names:
            known = ", ".join(self.split_names) or "none"
            raise CacheError(f"`{self.path}`: no split `{name}`; there are: {known}")
        split = pl.from_arrow(self._files.parquet(f"splits/{name}.parquet").read())
        assert isinstance(split, pl.DataFrame)
        order = slices.columns
        joined = slices.drop("split").join(split, on="sample", how="left", maintain_order="left")
        return joined.select(order)

    def _label_columns(self) -> list[str]:
        match self._label_meta["task"]:
            case "single-label":
                return ["label"]
            case "multi-label":
                return [f"label_{name}" for name in self.classes]
            case _:
                return []

    def _worded(self, slices: pl.DataFrame) -> pl.DataFrame:
        if self._label_meta["task"] == "single-label":
            words, kind = dict(enumerate(self.classes)), pl.Enum(self.classes)
        else:
            words, kind = _STATES, pl.Enum(list(_STATES.values()))
        columns = self._label_columns()
        return slices.with_columns(
            pl.col(name).replace_strict(words, return_dtype=kind) for name in columns
        )

    def _shape(self, layer: int) -> dict[str, Any]:
        layers = self.meta["layers"]
        if not 1 <= layer <= layers:
            raise CacheError(f"`{self.path}`: no layer {layer}: there are 1 (the last block) to {layers}")
        plain = {"cls": self.meta["width"], "patch": self.meta["width"], "grid": self.meta["grid"]}
        return self.meta.get("shapes", [plain] * layers)[-layer]

    def _tensor(self, table: str, layer: int, shard: int) -> np.ndarray:
        width = self._shape(layer)["cls" if table == "cls" else "patch"]
        column = f"{table}_{layer}"
        values = self._parquet(table, shard).read([column])[column].combine_chunks()
        return _floats(values, (width,))

    def _numbers(self, rows: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            return np.arange(len(self))[rows]
        numbers = np.atleast_1d(np.asarray(rows))
        if numbers.size == 0:
            return np.empty(0, np.int64)
        if not np.issubdtype(numbers.dtype, np.integer):
            raise TypeError(f"rows must be integers, not {numbers.dtype}")
        if numbers.min() < 0 or numbers.max() >= len(self):
            raise IndexError(f"`{self.path}`: rows are 0 to {len(self) - 1}")
        return numbers

    def _pieces(self, table: str, column: str, rows: np.ndarray) -> list[pa.Array]:
        """The column at `rows`, in their order, in pieces of one shard. Reads the row groups that hold them."""
        pieces: list[pa.Array] = []
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        ends = np.flatnonzero(np.diff(shards)) + 1
        for part in np.split(rows, ends) if rows.size else []:
            shard = int(np.searchsorted(self._starts, part[0], side="right") - 1)
            pieces.append(_taken(self._parquet(table, shard), column, part - self._starts[shard]))
        return pieces

    # The examples.

    def _pooled(
        self,
        rows: np.ndarray,
        groups: _Groups,
        layers: int | Sequence[int],
        tokens: Tokens,
        pool: Pool,
    ) -> np.ndarray:
        """`[N, F]`: features of each group of `rows`, which ascend."""
        layers = [layers] if isinstance(layers, int) else sorted(layers, reverse=True)
        if pool not in ("mean", "max"):
            raise ValueError(f"pool must be `mean` or `max`, not `{pool}`")
        kinds = {"cls": "cls", "mean": "patch"}
        if any(table not in kinds for table in tokens.split("+")):
            raise ValueError(f"tokens must be `cls`, `mean` or `cls+mean`, not `{tokens}`")
        parts = [(table, layer) for table in tokens.split("+") for layer in layers]
        widths = [self._shape(layer)[kinds[table]] for table, layer in parts]
        x = np.empty((len(groups.starts), sum(widths)), np.float32)
        for (table, layer), width, end in zip(parts, widths, np.cumsum(widths), strict=True):
            target = x[:, end - width : end]
            if groups.are_single():
                self._fill(target, table, layer, rows)
            else:
                stored = np.empty((len(rows), width), np.float16)
                self._fill(stored, table, layer, rows)
                target[:] = _pool(groups.split(stored), pool)
        return x

    def _fill(self, target: np.ndarray, table: str, layer: int, rows: np.ndarray) -> None:
        """Writes the tokens of `rows`, which ascend, into `target`, `[len(rows), D]`."""
        starts = np.searchsorted(rows, self._starts)

        def fill(shard: int) -> None:
            first, end = starts[shard], starts[shard + 1]
            if first < end:
                numbers = rows[first:end] - self._starts[shard]
                values = self._tensor(table, layer, shard)
                is_whole = len(numbers) == len(values)
                target[first:end] = values if is_whole else values[numbers]

        # NumPy and pyarrow work without the interpreter's lock.
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
            list(threads.map(fill, range(len(self._starts) - 1)))

    def _targets(self, rows: pl.DataFrame, groups: _Groups) -> np.ndarray:
        """Labels of each group: `[N]` or `[N, C]`."""
        match self._label_meta["task"]:
            case "single-label":
                return _only(rows["label"].fill_null(-1).to_numpy().astype(np.int64), rows, groups)
            case "multi-label":
                states = rows.select(self._label_columns()).cast(pl.Float32).to_numpy()
                y = _merged(states, groups)
                return y if np.isnan(y).any() else y.astype(np.int8)
            case _:
                return np.full(len(groups.starts), -1, np.int64)


def _meta(files: Files, name: str) -> dict[str, Any]:
    content = files.bytes(name)
    try:
        meta = json.loads(content)
    except ValueError as error:
        raise CacheError(f"`{files.shown}/{name}`: not JSON: {error}") from None
    if not isinstance(meta, dict):
        raise CacheError(f"`{files.shown}/{name}`: not a JSON object")
    written = meta.get("sha256")
    if written is not None:
        body = content[: content.rindex(b",")]
        if hashlib.sha256(body).hexdigest() != written:
            raise CacheError(f"`{files.shown}/{name}`: damaged: its sha256 is not the one it names")
    return meta


def _taken(file: pq.ParquetFile, column: str, rows: np.ndarray) -> pa.Array:
    """The column at `rows` of one file."""
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    group = np.searchsorted(starts, rows, side="right") - 1
    needed = np.unique(group)
    values = file.read_row_groups(needed.tolist(), columns=[column])[column].combine_chunks()
    first = np.concatenate([[0], np.cumsum(np.array(sizes)[needed])])[:-1]
    places = rows - starts[group] + first[np.searchsorted(needed, group)]
    if np.array_equal(places, np.arange(places[0], places[0] + len(places))):
        return values.slice(int(places[0]), len(places))
    return values.take(pa.array(places))


def _bytes(values: pa.Array) -> np.ndarray:
    """`[n, bytes in a row]`, a view of the Arrow buffer."""
    width = values.type.byte_width
    data = np.frombuffer(values.buffers()[1], np.uint8, len(values) * width, values.offset * width)
    return data.reshape(len(values), width)


def _floats(values: pa.Array, shape: tuple[int, ...]) -> np.ndarray:
    return _bytes(values).view("<f2").reshape(len(values), *shape)


def _scaled(values: pa.Array, shape: tuple[int, int]) -> np.ndarray:
    """Tokens of int8: each the product of its numbers and its scale."""
    data = _bytes(values)
    tokens = shape[0]
    scales = np.ascontiguousarray(data[:, : 4 * tokens]).view("<f4")
    numbers = data[:, 4 * tokens :].view(np.int8).reshape(len(values), *shape)
    return numbers * scales[:, :, None]


def _unit(rows: pl.DataFrame, labels: list[str]) -> Unit:
    """Volumes if samples have several slices, all with equal labels within a sample."""
    samples = rows.group_by("sample").agg(
        pl.len(), *(pl.col(name).n_unique().alias(f"n {name}") for name in labels)
    )
    several = bool((samples["len"] > 1).any())
    equal = all(bool((samples[f"n {name}"] == 1).all()) for name in labels)
    return "volume" if several and equal else "slice"


def _members(rows: pl.DataFrame, unit: Unit) -> _Groups:
    """The slices of each example, examples in order of first appearance."""
    if unit == "slice":
        positions = np.arange(len(rows))
        return _Groups(positions, positions)
    if unit != "volume":
        raise ValueError(f"unit must be `slice` or `volume`, not `{unit}`")
    numbered = rows.select("sample").with_row_index("at")
    groups = numbered.group_by("sample", maintain_order=True).agg("at")["at"]
    sizes = groups.list.len().to_numpy().astype(np.int64)
    return _Groups(groups.explode().to_numpy(), np.cumsum(sizes) - sizes)


def _pool(examples: list[np.ndarray], pool: Pool) -> np.ndarray:
    """`[N, D]`: tokens of examples, each `[slices, D]`, in half precision, as `probe` does."""
    pooled = np.empty((len(examples), examples[0].shape[1]), np.float16)
    for at, tokens in enumerate(examples):
        slices = tokens.astype(np.float32)
        pooled[at] = slices.mean(axis=0) if pool == "mean" else slices.max(axis=0)
    return pooled


def _only(labels: np.ndarray, rows: pl.DataFrame, groups: _Groups) -> np.ndarray:
    """`[N]`: the one class of the slices of each example; -1 where it is not known."""
    highest = groups.reduced(np.maximum, labels)
    known = np.where(labels < 0, np.iinfo(labels.dtype).max, labels)
    lowest = groups.reduced(np.minimum, known)
    several = np.flatnonzero((highest >= 0) & (lowest != highest))
    if len(several):
        sample = rows["sample"][int(groups.at[groups.starts[several[0]]])]
        raise CacheError(
            f"sample `{sample}`: its slices are of several classes\nhint: use `unit=\"slice\"`"
        )
    return highest


def _merged(states: np.ndarray, groups: _Groups) -> np.ndarray:
    """`[N, C]`: a class is present in an example if it is in any slice, else uncertain if it is in one, else absent.

    A blank label is NaN: beside others of the slice it means absent, and slices without any label do not count.
    """
    present = groups.reduced(np.logical_or, states == 1)
    uncertain = groups.reduced(np.logical_or, states == -1)
    return np.where(present, 1, np.where(uncertain, np.nan, 0)).astype(np.float32)
