#!/usr/bin/env python3
"""Which functions requests run through: they lie side by side in the release binary.

    link_order.py update    writes those that run now into Sources/sluice/link-order.txt
    link_order.py check     fails when the binary no longer has most of those

A chat calls about 500 small functions. In the order of the sources they are spread over 200 pages
of the binary, side by side over half as many. Each kind of request has a group of what the kinds
before it do not need. The linker passes over names that it does not know: a function that was
renamed is only somewhere else, until the next update.
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile

from callgrind import play, stripped
from tools import ROOT, SLUICE, Mock
from workload import KINDS

LINK_ORDER = ROOT / "Sources/sluice/link-order.txt"
CALLS = 100
# What is called less often is no part of any kind of request.
LEAST_CALLS = CALLS // 2
LEAST_SHARE = 0.75


def symbols():
    """The functions of the binary, in the order of their places."""
    listing = subprocess.run(
        ["nm", "--numeric-sort", "--defined-only", SLUICE], check=True, capture_output=True, text=True
    )
    rows = (line.split() for line in listing.stdout.splitlines())
    return [row[2] for row in rows if len(row) == 3 and row[1] in "tTwW"]


def called():
    """-> by kind of request: how often each function is called for them, and not without them."""
    with tempfile.TemporaryDirectory(prefix="sluice-link-order-") as name:
        folder = pathlib.Path(name)
        binary, mock = stripped(SLUICE, folder), Mock(folder)
        runs = {"idle": ({}, 0)} | {kind: ({kind: CALLS}, 0) for kind in KINDS}
        runs["HTTP/2"] = ({}, CALLS)

        def serve(run):
            kind, (calls, http2_chats) = run
            profiles = play(folder / kind.replace("/", ""), binary, mock, calls, http2_chats)
            return kind, sum((p.calls for p in profiles.values()), collections.Counter())

        try:
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
                found = dict(pool.map(serve, runs.items()))
        finally:
            mock.stop()
    idle = found.pop("idle")
    return {kind: calls - idle for kind, calls in found.items()}


def update():
    lines, listed, known = [], set(), set(symbols())
    for kind, calls in called().items():
        needed = {name for name, count in calls.items() if count >= LEAST_CALLS}
        more = sorted((needed & known) - listed)
        lines += [f"# {kind}: {len(more)} more", *more]
        listed.update(more)
    LINK_ORDER.write_text("\n".join(lines) + "\n")
    print(f"written: {len(listed)} functions in {LINK_ORDER}")
    return 0


def check():
    listed = [name for name in LINK_ORDER.read_text().splitlines() if not name.startswith("#")]
    known = set(listed) & set(symbols())
    print(f"{len(known)} of {len(listed)} functions in {LINK_ORDER.name} are in the binary")
    if len(known) >= LEAST_SHARE * len(listed):
        return 0
    print("The code has moved on: make layout")
    return 1


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["check", "update"])
    return update() if parser.parse_args().command == "update" else check()


if __name__ == "__main__":
    sys.exit(main())
