#!/usr/bin/env python3
"""What requests do, counted branch by branch: writes Sources/sluice/requests.profdata.

A release that counts serves each kind of request. The compiler reads the counts for the release
that does not: it puts what runs often side by side and out of the way of what does not, inlines
there, and guesses branches right (LLVM's profile-guided optimization of its intermediate language).
A function that has changed since is compiled as one that was never counted.
"""

import itertools
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

from tools import ROOT, Child, Mock, free_port, get, sluice_config
from workload import KINDS, ask

PROFILE = ROOT / "Sources/sluice/requests.profdata"
SCRATCH = ROOT / ".build-counts"
CALLS, CHUNKS = 2000, 20
# What happens less often is no part of any kind of request.
LEAST_COUNT = CALLS // 2
# Else the next function's name, which begins with "$", is taken for the size of a bitmap.
NO_BITMAP = "$0"


def toolchain():
    """Where the compiler lies that `swift` calls, with tools that know its profiles."""
    target = json.loads(subprocess.check_output(["swiftc", "-print-target-info"]))
    return pathlib.Path(target["paths"]["runtimeResourcePath"]).parents[1]


def build(tools):
    name = f"libclang_rt.profile-{platform.machine()}.a"
    runtime = next(tools.glob(f"lib/clang/*/lib/linux/{name}"))
    command = ["swift", "build", "-c", "release", "--static-swift-stdlib", "--product", "sluice"]
    command += ["--scratch-path", SCRATCH]
    command += ["-Xlinker", runtime, "-Xlinker", "-u__llvm_profile_runtime"]
    subprocess.run(command, check=True, env={**os.environ, "SLUICE_COUNTS_BRANCHES": "1"})
    return SCRATCH / "release/sluice"


def count(folder, binary):
    """Serves each kind of request. -> the file with what was counted."""
    raw, mock = folder / "raw", Mock(folder)
    mock.set(chunks=CHUNKS)
    port, admin = free_port(), free_port()
    gateway = Child(
        [binary, "serve", "--config", sluice_config(folder, mock.port, port, admin)],
        folder / "log",
        environment={"LLVM_PROFILE_FILE": str(raw)},
    )
    try:
        gateway.wait_for(lambda: get(admin, "/readyz") == "ok\n")
        ask(port, folder, dict.fromkeys(KINDS, CALLS), http2_chats=CALLS)
    finally:
        gateway.stop()
        mock.stop()
    return raw


def often_called(text):
    """Of a profile as text, the functions with a count that is high enough. -> text, how many"""
    header, _, functions = text.partition("\n:ir\n")
    kept = []
    for function in functions.strip().split("\n\n"):
        lines = function.split("\n")
        start = lines.index("# Counter Values:") + 1
        end = start + len(list(itertools.takewhile(str.isdigit, lines[start:])))
        if max(map(int, lines[start:end])) >= LEAST_COUNT:
            kept.append("\n".join([*lines[:end], NO_BITMAP, *lines[end:]]))
    return f"{header}\n:ir\n" + "\n\n".join(kept) + "\n", len(kept)


def main():
    tools = toolchain()
    merge = [tools / "bin/llvm-profdata", "merge"]
    binary = build(tools)
    with tempfile.TemporaryDirectory(prefix="sluice-profile-") as name:
        folder = pathlib.Path(name)
        raw, text = count(folder, binary), folder / "text"
        subprocess.run([*merge, "--sparse", "--text", raw, "-o", text], check=True)
        kept, functions = often_called(text.read_text())
        text.write_text(kept)
        subprocess.run([*merge, text, "-o", PROFILE], check=True)
    print(f"written: {functions} functions in {PROFILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
