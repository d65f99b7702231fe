"""Tables, JSON and TOML."""

import gzip
import io
import json

import numpy as np
import pyarrow
import pyarrow.parquet

from corpus.files import MB, changed, cut

# Tables.


def parquet(columns, **options):
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer, **options)
    return buffer.getvalue()


def tables():
    text = "image,label,split,patient\na.png,x,train,1\nb.png,y,test,2\n"
    long = pyarrow.array(["x" * 20_000]).dictionary_encode()
    wide = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array(np.zeros(500_000, np.int32)), long.dictionary
    )
    small = parquet({"image": ["a.png"] * 9, "label": ["x", "y", None] * 3}, compression="none")
    nulls = pyarrow.nulls(11_000_000, pyarrow.string())
    at_once = dict.fromkeys(["row_group_size", "write_batch_size", "max_rows_per_page"], len(nulls))
    files = {
        "whole.csv": text.encode(),
        "empty.csv": b"",
        "header-only.csv": b"image,label\n",
        "blank-lines.csv": b"\n" * 1000,
        "mark-only.csv": b"\xef\xbb\xbf",
        "latin-1.csv": text.replace("x", "\xe9").encode("latin-1"),
        "utf-16.csv": text.encode("utf-16"),
        "nul.csv": text.replace("x", "\0").encode(),
        "quote-open.csv": text.replace("x", '"x').encode(),
        "quotes.csv": b'image\n"' + b'""' * 1000,
        "ragged.csv": text.encode() + b"c.png\n,,,,,,,\n",
        "many-columns.csv": b"image" + b",a" * 2000 + b"\n",
        "same-columns.csv": b"image,image,label,label\na.png,b.png,x,y\n",
        "carriage-returns.csv": text.replace("\n", "\r").encode(),
        "absolute.csv": b"image\n/etc/passwd\n",
        "outside.csv": b"image\n../../../../etc/passwd\n",
        "nul-in-path.csv": b"image\na\0b.png\n",
        "long-path.csv": b"image\n" + b"a/" * 3000 + b"\n",
        "slices.csv": b"image,slices\na.png,0-4294967295\nb.png,9-1\nc.png,99999999999999999999\n",
        "chexpert.csv": b"Path,Sex,Age,Frontal/Lateral,AP/PA,Atelectasis\npatient00001/a,,,,,nan\n",
        "nih.csv": b"Image Index,Finding Labels,Follow-up #,Patient ID\na.png,||||,,\n",
        "small.parquet": small,
        "many-rows.parquet": parquet({"image": nulls}, **at_once),
        "wide-cells.parquet": parquet({"image": wide}, compression="zstd"),
        "footer-longer-than-file.parquet": small[:-8] + b"\xff\xff\xff\x7fPAR1",
        "footer-of-0.parquet": small[:-8] + bytes(4) + b"PAR1",
        "magic-only.parquet": b"PAR1PAR1",
    }
    noise = np.random.default_rng(7)
    for k in range(8):
        at = int(noise.integers(4, len(small) - 12))
        files[f"noise-{k:02}.parquet"] = changed(small, (at, noise.bytes(4)))
    packed = gzip.compress(text.encode(), mtime=0)
    files |= {
        "whole.csv.gz": packed,
        "twice.csv.gz": packed + packed,
        "tail.csv.gz": packed + b"tail",
        "checksum.csv.gz": changed(packed, (len(packed) - 8, b"\0\0\0\0")),
        "parquet.csv.gz": gzip.compress(small, mtime=0),
        "long.csv.gz": gzip.compress(b"image\n" + bytes(4 * MB), mtime=0),
    }
    files |= cut("cut.csv.gz", packed, 2, 10, len(packed) - 4)
    return files | cut("cut.parquet", small, 4, 8, 200, len(small) - 1)


# JSON and TOML.


def jsons():
    whole = {
        "name": "Spleen",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "spleen"},
        "training": [{"image": "./imagesTr/a_0000.nii.gz", "label": "./labelsTr/a.nii.gz"}],
        "test": ["./imagesTs/b.nii.gz"],
    }
    odd = {
        "labels-list": {"labels": [1, 2]},
        "labels-negative": {"labels": {"a": -1}},
        "labels-huge": {"labels": {"a": 1e300}},
        "labels-deep": {"labels": {"a": [[[[1]]]]}},
        "labels-same": {"labels": {"1": "a", "01": "a"}},
        "labels-blank": {"labels": {"": ""}},
        "channels-odd": {"modality": {"x": None, "-1": [], "4294967296": {}}},
        "channels-number": {"modality": 7},
        "training-number": {"training": 7},
        "training-odd": {"training": [None, 1, "", {}, {"image": []}, {"image": {"a": 1}}]},
        "training-outside": {"training": [{"image": "../../../../etc/passwd"}]},
        "training-absolute": {"training": [{"image": "/etc/passwd", "label": "/etc/passwd"}]},
        "training-nul": {"training": [{"image": "a\0b.nii.gz", "label": "\0"}]},
        "training-same": {"training": [whole["training"][0]] * 50},
        "ending-odd": {"file_ending": "../"},
        "ending-number": {"file_ending": 7},
        "name-number": {"name": {"a": []}},
    }
    files = {f"{name}.json": json.dumps(whole | change) for name, change in odd.items()}
    files |= {
        "whole.json": json.dumps(whole),
        "deep.json": "[" * 3000,
        "deep-value.json": '{"labels": ' + '{"a":' * 1000 + "1" + "}" * 1000 + "}",
        "empty.json": "",
        "null.json": "null",
        "list.json": "[]",
        "text.json": "text",
        "nan.json": '{"labels": {"a": NaN}}',
        "same-keys.json": '{"labels": {"a": 1}, "labels": {"a": 2}}',
        "long-number.json": '{"labels": {"a": ' + "9" * 1000 + "}}",
        "surrogate.json": '{"name": "\\ud800", "labels": {"\\udfff": 1}}',
        "cut.json": json.dumps(whole)[:-20],
    }
    files = {name: text.encode() for name, text in files.items()}
    return files | {"latin-1.json": b'{"name": "\xe9"}', "utf-16.json": "{}".encode("utf-16")}


def cards():
    head = 'name = "mine"\nlayout = "folder"\n'
    manifest = 'name = "a"\nlayout = "manifest"\n[options]\nmanifest = '
    files = {
        "whole.toml": head + '[recipe.default]\nintensity = "window:0:1"\nsplit = "official"\n',
        "empty.toml": "",
        "deep.toml": head + "classes = " + "[" * 3000,
        "deep-tables.toml": head + "[" + ".".join(["a"] * 1000) + "]\n",
        "deep-key.toml": head + ".".join(["a"] * 1000) + " = 1\n",
        "no-text.toml": "\0\0\0\0",
        "long-number.toml": head + "classes = " + "9" * 1000,
        "mask-value.toml": head + 'mask_classes = [{ value = 99999999, name = "a" }]\n',
        "mask-same.toml": head
        + 'mask_classes = [{ value = 1, name = "a" }, { value = 1, name = "a" }]\n',
        "same-classes.toml": head + 'classes = ["a", "a"]\n',
        "percent.toml": head + '[recipe.default]\nintensity = "percentile:nan:inf"\n',
        "window.toml": head + '[recipe.default]\nintensity = "window:1e999:-1e999"\n',
        "split.toml": head + '[recipe.default]\nsplit = "systematic:test=99999999999999999999"\n',
        "folds.toml": head + '[recipe.default]\nsplit = "kfold:0:0"\n',
        "manifest.toml": manifest + '"../../etc/passwd"\n',
        "manifest-itself.toml": manifest + '"mine.toml"\n',
        "manifest-endless.toml": manifest + '"/dev/zero"\n',
        "channel.toml": 'name = "a"\nlayout = "nnunet"\n[options]\nchannel = "-1"\n',
    }
    files = {name: text.encode() for name, text in files.items()}
    return files | {"latin-1.toml": b'name = "\xe9"\n'}
