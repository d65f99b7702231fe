#!/usr/bin/env python3
"""Makes runtime/cuda-stand-in: ONNX Runtime's real GPU libraries beside stand-ins for CUDA's.

With them `extract --provider cuda` loads, places nodes, binds, copies and runs on a machine without a
GPU, so that batches, padding, errors and fall-backs can be tested. Kernels do nothing: see cuda.c.
Needs gcc, nm and, the first time, 256 MB of downloads. Linux on x86_64 only.
"""

import re
import subprocess
import sys
import tempfile
from importlib.machinery import SourceFileLoader
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE.parents[1]
sys.path.insert(0, str(SCRIPTS))

import wheels  # noqa: E402

# A program without the ending `.py`.
install_onnxruntime = SourceFileLoader(
    "install_onnxruntime", str(SCRIPTS / "install_onnxruntime")
).load_module()

TARGET = wheels.ROOT / "runtime" / "cuda-stand-in"
RUNTIME = next(name for name in install_onnxruntime.GPU if name.startswith("onnxruntime-gpu"))
PROVIDER = "libonnxruntime_providers_cuda.so"
# Libraries that the provider is linked to with versions of their symbols.
VERSIONED = ["libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13"]


def main():
    pins = {RUNTIME: install_onnxruntime.GPU[RUNTIME]}
    if not install_onnxruntime.is_installed(TARGET, pins):
        install_onnxruntime.install(TARGET, pins)
    provider = TARGET / PROVIDER
    wanted = {library: [] for library in [*VERSIONED, "libcuda.so.1"]}
    for line in run("nm", "--dynamic", "--undefined-only", str(provider)).splitlines():
        name, _, library = line.split()[-1].partition("@")
        if library in VERSIONED:
            wanted[library].append(name)
        elif re.match("cu[A-Z]", name):
            wanted["libcuda.so.1"].append(name)
    # ONNX Runtime asks the loader for these by name.
    names = re.findall(rb"\0(cudnn[A-Z]\w+)(?=\0)", provider.read_bytes())
    wanted["libcudnn.so.9"] = sorted({name.decode() for name in names})
    wanted["libcurand.so.10"] = ["curandCreateGenerator"]
    wanted["libcuda.so.1"].append("cuInit")
    for library, names in wanted.items():
        build(library, names)
    print(f"installed: {TARGET}")


def build(library, names):
    """Builds a library that exports `names`: those of cuda.c, the others as functions that return 0."""
    written = (HERE / "cuda.c").read_text()
    known = set(re.findall(r"^[a-z].*?\b(\w+)\(", written, re.MULTILINE))
    others = "".join(f"int {name}(void) {{ return 0; }}\n" for name in names if name not in known)
    with tempfile.TemporaryDirectory() as folder:
        source, script = Path(folder) / "all.c", Path(folder) / "all.map"
        source.write_text(written + others)
        version = library if library in VERSIONED else ""
        exported = "".join(f"{name}; " for name in names)
        script.write_text(f"{version} {{ global: {exported} local: *; }};\n")
        options = ["-O1", "-w", "-shared", "-fPIC", f"-Wl,-soname,{library}"]
        options += [f"-Wl,--version-script={script}", "-o", str(TARGET / library)]
        run("gcc", *options, str(source))


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    wheels.run(main)
