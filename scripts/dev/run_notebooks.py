#!/usr/bin/env python3
"""Runs the notebooks of docs/notebooks in a folder that has `embeddings` and `runs`.

Needs the packages in requirements-notebooks.txt. Exits with 1 at the first cell that fails. With
`--write`, the notebooks keep their outputs.
"""

import argparse
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

PROJECT = Path(__file__).resolve().parents[2]
NOTEBOOKS = PROJECT / "docs" / "notebooks"


def main():
    parser = argparse.ArgumentParser(description="run the notebooks of the documentation")
    parser.add_argument("folder", type=Path, help="folder with `embeddings` and `runs`")
    parser.add_argument("--write", action="store_true", help="keep the outputs")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(PROJECT / "python")
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": arguments.folder}})
        try:
            client.execute()
        except CellExecutionError as error:
            sys.exit(f"error: {path.name}: {error}")
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        print(f"{path.name}: {len(cells)} cells ran")
        if arguments.write:
            for cell in cells:
                cell.metadata.pop("execution", None)
            nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
