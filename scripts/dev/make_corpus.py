#!/usr/bin/env python3
"""Writes files that are made to break a reader to extract/fuzz/corpus/TARGET/.

Bombs, headers that lie, and whole files cut short or changed in one place; under 500 KB in all. The
same files come out each time. Needs Python 3.11 and the packages in requirements-test.txt.
"""

import shutil

import wheels
from corpus import arrays, dicom, embeddings, model, nifti, raster, text

CORPUS = wheels.ROOT / "extract" / "fuzz" / "corpus"
TARGETS = {
    "nifti": nifti.files,
    "raster": raster.files,
    "mat": arrays.mat,
    "npz": arrays.npz,
    "dicom": dicom.files,
    "table": text.tables,
    "json": text.jsons,
    "card": text.cards,
    "checkpoint": model.files,
    "vectors-npy": embeddings.npy,
    "vectors-npz": embeddings.npz,
    "vectors-hdf5": embeddings.hdf5,
    "vectors-parquet": embeddings.lists,
    "vectors-torch": embeddings.torch,
}


def main():
    shutil.rmtree(CORPUS, ignore_errors=True)
    for target, files in TARGETS.items():
        folder = CORPUS / target
        folder.mkdir(parents=True)
        for name, content in files().items():
            (folder / name).write_bytes(content)
    sizes = [path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()]
    print(f"{len(sizes)} files, {sum(sizes)} bytes")


if __name__ == "__main__":
    wheels.run(main)
