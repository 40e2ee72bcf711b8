"""The real binary under callgrind, and what callgrind says of it."""

import collections
import re
import subprocess

from tools import Child, free_port, get, sluice_config
from workload import ask

ALLOCATORS = re.compile(r"(malloc|calloc|realloc|posix_memalign|aligned_alloc|memalign)(@.*)?$")
# Hashes would be seeded at random, and tables be walked differently each time.
FIXED = {"SWIFT_DETERMINISTIC_HASHING": "1"}


def stripped(binary, folder):
    """Without debug information, which older valgrinds do not understand."""
    copy = folder / binary.name
    subprocess.run(["strip", "-g", "-o", copy, binary], check=True)
    return copy


def callgrind(output, *options):
    return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", *options]


class Profile:
    """What one thread did, out of a file of callgrind."""

    def __init__(self, path):
        self.instructions = 0
        # How often each function was called, by its symbol.
        self.calls = collections.Counter()
        names, callee = {}, ""
        for line in open(path, encoding="utf-8", errors="replace"):
            if match := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?", line):
                if match[3]:
                    # A function that calls itself is a second one for callgrind.
                    names[match[2]] = re.sub(r"'\d+$", "", match[3].strip())
                callee = names.get(match[2], "") if match[1] else ""
            elif line.startswith("calls="):
                self.calls[callee] += int(line[6:].split()[0])
            elif line.startswith("totals:"):
                self.instructions = int(line.split()[1])

    @property
    def allocations(self):
        return sum(count for name, count in self.calls.items() if ALLOCATORS.match(name))


def play(folder, binary, mock, calls, http2_chats=0):
    """Serves so many requests of each kind under callgrind. -> a profile for each thread."""
    folder.mkdir()
    port, admin = free_port(), free_port()
    config = sluice_config(folder, mock.port, port, admin)
    options = ["--separate-threads=yes", "--demangle=no"]
    gateway = Child(
        [*callgrind(folder / "out", *options), binary, "serve", "--config", config],
        folder / "log",
        environment=FIXED,
    )
    gateway.wait_for(lambda: get(admin, "/readyz") == "ok\n", seconds=120)
    try:
        ask(port, folder, calls, http2_chats)
    finally:
        gateway.stop(seconds=60)
    return {path.name: Profile(path) for path in sorted(folder.glob("out-*"))}
