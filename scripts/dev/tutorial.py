#!/usr/bin/env python3
"""Runs the tutorial as it stands in docs/tutorial.md, in the current folder, with the programs of PATH.

Commands of `sh` blocks are run; those of `console` blocks too, and their output must have the lines that the tutorial
shows, in this order. `python` blocks are run by the `python` of PATH; a comment `# NUMBER, …` behind a `print` is the
number that it must print. For check_wheel.
"""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"


def main():
    blocks = re.findall(r"^```(sh|console|python)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    if {kind for kind, _ in blocks} != {"sh", "console", "python"}:
        raise SystemExit(f"error: {PAGE}: a kind of block is missing")
    for kind, text in blocks:
        if kind == "sh":
            for command in text.splitlines():
                output(command)
        elif kind == "console":
            for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, shown = command.split("\n", 1)
                compare(command, output(command), shown.splitlines())
        else:
            numbers = re.findall(r"# (\d+\.\d+),", text)
            printed = output("python -", text)
            rounded = {f"{float(number):.4f}" for number in re.findall(r"\b\d+\.\d+\b", printed)}
            if missing := [number for number in numbers if number not in rounded]:
                raise SystemExit(f"error: {PAGE}: the Python code does not print {', '.join(missing)}:\n{printed}")


def output(command, stdin=None):
    print(f"$ {command}", flush=True)
    done = subprocess.run(command, shell=True, check=False, input=stdin, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"error: {PAGE}: exit status {done.returncode}: {command}")
    return done.stdout


def compare(command, found, shown):
    lines = iter(found.splitlines())
    for line in shown:
        if not any(line.rstrip() == each.rstrip() for each in lines):
            raise SystemExit(f"error: {PAGE}: `{command}` does not print this line, or not here:\n{line}\nbut\n{found}")


if __name__ == "__main__":
    sys.exit(main())
