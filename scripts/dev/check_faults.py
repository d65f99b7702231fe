"""Stops an extraction at random moments, resumes it, and compares the cache with that of an undisturbed run.

    scripts/dev/run check_faults.py [--kills 250] [--torn 50] [--signals 50] -- COMMAND

COMMAND is an `extract` with `{cache}` for the folder of caches, for instance

    target/release/extract --model tiny-vit --dataset manifest --root images.csv --cache {cache}
        --batch-size 4 --shard-rows 64 --save-every 0.2

Three kinds of faults, several to a cache before it is finished:

- kills: SIGKILL.
- torn: SIGKILL, and then what a power cut may leave of files that were never synced: all files that
  `meta.json` does not name are cut, zeroed in part or deleted. Every other time, a file of rows that were
  saved between two shards is damaged too; they are computed again.
- signals: SIGINT or SIGTERM. The exit code is 130 or 143, `meta.json` holds all slices that the message
  names, and nothing of them is computed again.

Without COMMAND, pictures are made and extracted by `--extract`, with `tiny-vit`.

Caches elsewhere: `--caches URL/{run}` is what stands for `{cache}`, and `--copy 'COMMAND {from} {to}'` copies all of such
a cache into a local folder and back. For the S3 server of the tests, `s3_server.py 9000`, with the variables of
docs/object-storage.md:

    check_faults.py --caches 's3://faults/{run}' --staging /tmp/staging
        --copy '.venv-servers/bin/python scripts/dev/s3_copy.py {from} {to}'

The folder `--staging` is deleted after every other fault, as if another machine continued the run. Torn writes are
those of the objects that `meta.json` in the bucket does not name, and of the files in the staging folder that its
`meta.json` does not name.
"""

import argparse
import json
import os
import random
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
MOST_FAULTS = 4
SECONDS = 900


def main():
    arguments = parse()
    chance = random.Random(arguments.seed)
    work = Path(arguments.work or tempfile.mkdtemp(prefix="slicebank-faults-"))
    work.mkdir(parents=True, exist_ok=True)
    lab = Lab(work, arguments)
    started = time.monotonic()
    lab.run("whole").finish()
    lab.seconds = time.monotonic() - started
    lab.expected = lab.snapshot("whole")
    print(f"undisturbed: {len(lab.expected)} files in {lab.seconds:.1f} s", flush=True)
    kinds = [("kills", kill), ("torn", tear), ("signals", stop)]
    failures = 0
    for name, fault in kinds:
        wanted = getattr(arguments, name)
        counted, caches, number = Counts(), 0, 0
        while number < wanted:
            cache = f"{name}-{caches}"
            for _ in range(min(chance.randint(1, MOST_FAULTS), wanted - number)):
                # One that came after the end does not count.
                if not fault(lab, cache, chance, counted):
                    break
                number += 1
            lab.run(cache).finish()
            failures += not lab.is_same(cache)
            caches += 1
            print(f"{name}: {number} of {wanted}, {failures} caches differ so far", flush=True)
        print(f"{name}: {number} in {caches} caches; {counted}", flush=True)
    if failures:
        sys.exit(f"error: {failures} caches differ from the undisturbed one; see {work}")
    print(f"all caches equal the undisturbed one, in {time.monotonic() - started:.0f} s")
    if not arguments.work:
        shutil.rmtree(work)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=250)
    parser.add_argument("--torn", type=int, default=50)
    parser.add_argument("--signals", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--extract", default="target/release/extract", help="the program, if no command is given"
    )
    parser.add_argument("--images", type=int, default=1500, help="pictures to make, if no command is given")
    parser.add_argument("--work", help="folder for caches, which is kept [default: a temporary one]")
    parser.add_argument("--caches", help="what stands for `{cache}`, with `{run}` [default: a local folder]")
    parser.add_argument("--copy", help="command that copies the caches `{from}` to `{to}`")
    parser.add_argument("--staging", help="staging folder of caches elsewhere")
    parser.add_argument("command", nargs="*", help="the extraction")
    return parser.parse_args()


class Lab:
    """Runs of one command into caches of different names."""

    def __init__(self, work, arguments):
        self.work, self.caches, self.copy = work, arguments.caches, arguments.copy
        self.staging = arguments.staging
        if self.staging:
            os.environ["SLICEBANK_STAGING"] = str(Path(self.staging).absolute())
        self.command = arguments.command or own_command(work, arguments)

    def place(self, cache):
        return self.caches.replace("{run}", cache) if self.caches else str(self.work / cache)

    def run(self, cache):
        place = self.place(cache)
        return Run([word.replace("{cache}", place) for word in self.command])

    def folder(self, cache):
        """The local folder of the one cache below `cache`; `None` if there is none yet."""
        folder = self.copied(cache)
        if self.copy:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            self.copy_all(self.place(cache), str(folder))
        return cache_in(folder)

    def copied(self, cache):
        """The local folder of caches."""
        return self.work / (f"{cache}-fetched" if self.copy else cache)

    def send(self, cache):
        """Makes the caches elsewhere those of the local folder."""
        if self.copy:
            self.copy_all(str(self.copied(cache)), self.place(cache))

    def copy_all(self, source, target):
        words = {"{from}": source, "{to}": target}
        command = [words.get(word, word) for word in shlex.split(self.copy)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def move(self, chance, counts):
        """Every other time, lets another machine go on."""
        if self.staging and chance.random() < 0.5:
            shutil.rmtree(self.staging, ignore_errors=True)
            counts.add("without what was staged")

    def snapshot(self, cache):
        folder = self.folder(cache)
        # `history.json` has times.
        others = (".lock", "history.json")
        files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in others)
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    def is_same(self, cache):
        found = self.snapshot(cache)
        names = sorted(found.keys() | self.expected.keys())
        differing = [name for name in names if found.get(name) != self.expected.get(name)]
        if differing:
            print(f"{cache}: other than undisturbed: {', '.join(differing)}", flush=True)
        elif not self.caches:
            shutil.rmtree(self.work / cache)
        return not differing


class Run:
    """A running extraction."""

    def __init__(self, command):
        self.command = command
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=PROJECT)

    def end(self, number=None):
        """Sends a signal, and returns exit code and output."""
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(SECONDS)
        self.log.seek(0)
        text = self.log.read()
        if "panicked" in text:
            sys.exit(f"error: a panic\n{text}")
        return code, text

    def finish(self):
        code, text = self.end()
        if code != 0:
            sys.exit(f"error: exit code {code} of {shlex.join(self.command)}\n{text}")
        return text


class Counts(dict):
    """How often things happened."""

    def add(self, what, count=1):
        self[what] = self.get(what, 0) + count

    def __str__(self):
        return ", ".join(f"{what} {count}" for what, count in sorted(self.items()))


def cache_in(folder):
    """The folder of the one cache below a folder; `None` if there is none."""
    found = [path.parent for path in Path(folder).rglob("meta.json")]
    return found[0] if found else None


def description(folder):
    text = None if folder is None else (folder / "meta.json").read_text()
    return None if text is None else json.loads(text)


def saved(meta):
    """Slices that a stop does not lose."""
    return 0 if meta is None else meta["rows"] + sum(part["rows"] for part in meta.get("pending", []))


def run_for_a_while(lab, cache, chance):
    run = lab.run(cache)
    time.sleep(chance.uniform(0, lab.seconds))
    return run


def kill(lab, cache, chance, counts):
    code, text = run_for_a_while(lab, cache, chance).end(signal.SIGKILL)
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"error: exit code {code}\n{text}")
    meta = description(lab.folder(cache))
    counts.add("with rows between shards", bool(meta and meta.get("pending")))
    lab.move(chance, counts)
    return code != 0


def tear(lab, cache, chance, counts):
    is_stopped = kill(lab, cache, chance, counts)
    tear_in(lab.folder(cache), chance, counts)
    lab.send(cache)
    if lab.staging:
        tear_in(cache_in(lab.staging), chance, counts)
    return is_stopped


def tear_in(folder, chance, counts):
    meta = description(folder)
    if meta is None or meta["complete"]:
        return
    own = [".lock", ".upload", ".slicebank-objects"]
    named = {folder / "meta.json", *(folder / name for name in own), *named_files(folder, meta["shards"])}
    pending = named_files(folder / "pending", meta.get("pending", []))
    # An earlier fault may have deleted some.
    pending = {path for path in pending if path.is_file()}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path not in named | pending:
            damage(path, chance)
            counts.add("unnamed files damaged")
    if pending and chance.random() < 0.5:
        damage(chance.choice(sorted(pending)), chance)
        counts.add("saved files damaged")


def named_files(folder, shards):
    for index, shard in enumerate(shards):
        tables = [*shard["tables"], *(["sources"] if "sources_sha256" in shard else [])]
        for table in tables:
            yield folder / table / f"{index:05}.parquet"
            yield folder / "checksums" / table / f"{index:05}.crc32"


def damage(path, chance):
    content = bytearray(path.read_bytes())
    kind = chance.choice(["cut", "zeroed", "deleted"])
    if kind == "deleted" or not content:
        path.unlink()
    elif kind == "cut":
        path.write_bytes(content[: chance.randrange(len(content))])
    else:
        at = chance.randrange(len(content))
        content[at : at + 4096] = bytes(len(content[at : at + 4096]))
        path.write_bytes(content)


def stop(lab, cache, chance, counts):
    before = saved(description(lab.folder(cache)) if (lab.work / cache).exists() or lab.caches else None)
    number = chance.choice([signal.SIGINT, signal.SIGTERM])
    code, text = run_for_a_while(lab, cache, chance).end(number)
    meta = description(lab.folder(cache))
    if code not in (0, 128 + number, -number):
        sys.exit(f"error: exit code {code} after signal {number}\n{text}")
    told = re.search(r"stopped at slice (\d+)", text)
    if told is None:
        # Before anything was computed, the program ends at once.
        if code != 0 and saved(meta) != before:
            sys.exit(f"error: no message, but {saved(meta)} slices after {before}\n{text}")
        return code != 0
    counts.add("slices saved", saved(meta) - before)
    if saved(meta) != int(told[1]):
        sys.exit(f"error: {saved(meta)} slices are saved\n{text}")
    lab.move(chance, counts)
    return True


def own_command(work, arguments):
    """Makes pictures, and extracts them with the model of the tests."""
    folder = work / "images"
    folder.mkdir()
    chance = random.Random(0)
    lines = ["image,label,split"]
    for k in range(arguments.images):
        (folder / f"{k:05}.png").write_bytes(png(chance.randbytes(32 * 32), 32))
        lines.append(f"images/{k:05}.png,{'ab'[k % 2]},{['train', 'test'][k % 3 == 0]}")
    table = work / "images.csv"
    table.write_text("\n".join(lines) + "\n")
    options = "--tokens all --layers 2 --batch-size 4 --shard-rows 200 --save-every 0.1"
    words = [arguments.extract, "--model", "tiny-vit", "--dataset", "manifest", "--root", str(table)]
    return [*words, "--cache", "{cache}", *options.split()]


def png(pixels, side):
    """A grey PNG."""
    rows = b"".join(b"\0" + pixels[row * side : (row + 1) * side] for row in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


if __name__ == "__main__":
    main()
