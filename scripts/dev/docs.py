#!/usr/bin/env python3
"""Writes docs/commands.md, the help of every command, and checks the links of all pages.

Usage: docs.py [--check] FOLDER, where FOLDER holds the built programs. With --check nothing is
written: the exit status is 1 if docs/commands.md is not what the programs print.
"""

import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMANDS = ROOT / "docs/commands.md"
HEAD = """# Command reference

Generated from `--help` by `scripts/dev/run docs.py`.
"""
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def help_of(program, words):
    result = subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=True)
    return result.stdout


def subcommands(text):
    """The names in the groups of commands, which stand between the usage and the options."""
    text = text.partition("\nUsage: ")[2].partition("\nOptions:\n")[0]
    return re.findall(r"^  ([a-z][a-z-]*)  ", text, re.MULTILINE)


def sections(program, words=()):
    text = help_of(program, words)
    lines = "\n".join(line.rstrip() for line in text.rstrip().splitlines())
    yield f"\n## {' '.join([program.name, *words])}\n\n```text\n{lines}\n```\n"
    if not words:
        for name in subcommands(text):
            yield from sections(program, [name])


def slug(heading):
    """The anchor that GitHub and mdBook give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(path):
    return {slug(heading) for heading in HEADING.findall(FENCE.sub("", path.read_text()))}


def unlisted_pages():
    """The pages that mdBook leaves out."""
    summary = COMMANDS.with_name("SUMMARY.md")
    listed = summary.read_text()
    for page in COMMANDS.parent.glob("*.md"):
        if page != summary and f"({page.name})" not in listed:
            yield f"docs/SUMMARY.md: no line for {page.name}"


def broken_links():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )
    for page in filter(pathlib.Path.exists, map(ROOT.joinpath, listed.stdout.splitlines())):
        for link in LINK.findall(FENCE.sub("", page.read_text())):
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            path = page.parent / target if target else page
            if page.parent == COMMANDS.parent and COMMANDS.parent not in path.resolve().parents:
                yield f"{page.relative_to(ROOT)}: {link}: not in the book"
            elif not path.exists():
                yield f"{page.relative_to(ROOT)}: {link}: no such file"
            elif anchor and path.suffix == ".md" and anchor not in anchors(path):
                yield f"{page.relative_to(ROOT)}: {link}: no such heading"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    parser.add_argument("folder", type=pathlib.Path, help="folder of the built programs")
    arguments = parser.parse_args()
    programs = [arguments.folder.resolve() / name for name in ("extract", "probe")]
    text = HEAD + "".join(section for program in programs for section in sections(program))
    problems = []
    if not arguments.check:
        COMMANDS.write_text(text)
    elif not COMMANDS.exists() or COMMANDS.read_text() != text:
        problems.append("docs/commands.md is not what the programs print: run `scripts/dev/run docs.py target/release`")
    problems += [*unlisted_pages(), *broken_links()]
    print("\n".join(problems) or "ok")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
