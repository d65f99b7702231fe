"""The built benches of the workspace."""

import json
import subprocess
from pathlib import Path


def executable(name):
    """The path of a bench, which is built first.

    All crates are selected, as in CONTRIBUTING.md: other selections unify features differently and
    recompile half of the dependencies.
    """
    command = ["cargo", "build", "--release", "--workspace", "--locked", "--bench", name]
    run = subprocess.run(
        [*command, "--message-format=json-render-diagnostics"],
        cwd=Path(__file__).resolve().parents[2],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    for message in map(json.loads, run.stdout.splitlines()):
        if message.get("target", {}).get("name") == name and message.get("executable"):
            return message["executable"]
    raise RuntimeError(f"cargo built no bench `{name}`")
