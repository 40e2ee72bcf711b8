#!/usr/bin/env python3
"""Instructions and allocations of single steps and of whole requests, held against thresholds.json.

    budgets.py check     fails when something has become dearer than its threshold and the slack
    budgets.py update    writes what is measured now

Instructions are counted by callgrind, in user space only: how busy the machine is does not matter.
The compiler, the C libraries and what the processor offers (OpenSSL chooses by it) do matter a
little; hence the slack. A whole request is the difference between two runs of the real binary that
ask differently often, so that what a process does once is in neither. `worker` is the event loop's
thread; `all` has the ledger's and the log's too, whose batches depend on time.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

from callgrind import FIXED, callgrind, play, stripped
from tools import LOAD, MICRO, SLUICE, Mock
from workload import KINDS

THRESHOLDS = pathlib.Path(__file__).resolve().parent / "thresholds.json"
SLACK = {"instructions": 0.10, "instructions_all_threads": 0.25}
# Allocations are exact in single steps. In a request, buffers and tables grow now and then, and how
# many reads an answer comes in depends on how busy the machine is.
ALLOCATION_SLACK, ALLOCATION_SHARE, ALLOCATION_SHARE_OF_REQUESTS = 0.5, 0.02, 0.10
CALLS_OF_MICRO_CASES = 200
WARM_UP_CALLS = 60
CALLS = 400
STREAM_CHUNKS = 20


def micro_allocations():
    done = subprocess.run(
        [MICRO, "--json", "--count", "1000"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **FIXED},
    )
    return {case["name"]: case["allocations"] for case in json.loads(done.stdout)}


def micro_instructions(folder):
    subprocess.run(
        [
            *callgrind(folder / "micro", "--instr-atstart=no"),
            stripped(MICRO, folder),
            "--count",
            str(CALLS_OF_MICRO_CASES),
        ],
        check=True,
        capture_output=True,
        env={**os.environ, **FIXED},
    )
    found = {}
    for path in folder.glob("micro.*"):
        text = path.read_text()
        name = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.MULTILINE)
        total = re.search(r"^totals: (\d+)$", text, re.MULTILINE)
        if name and total:
            found[name[1]] = round(int(total[1]) / CALLS_OF_MICRO_CASES)
    return found


def whole_requests(folder):
    binary = stripped(SLUICE, folder)
    mock = Mock(folder)
    mock.set(chunks=STREAM_CHUNKS)
    base = dict.fromkeys(KINDS, WARM_UP_CALLS)
    runs = {"base": base} | {kind: base | {kind: WARM_UP_CALLS + CALLS} for kind in KINDS}
    try:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = {
                name: pool.submit(play, folder / name, binary, mock, calls)
                for name, calls in runs.items()
            }
            profiles = {name: job.result() for name, job in jobs.items()}
    finally:
        mock.stop()
    instructions, allocations = {}, {}
    for kind in KINDS:
        growth = {
            thread: (
                profile.instructions - profiles["base"][thread].instructions,
                profile.allocations - profiles["base"][thread].allocations,
            )
            for thread, profile in profiles[kind].items()
        }
        worker = max(growth.values())
        instructions[f"{kind} (worker)"] = round(worker[0] / CALLS)
        instructions[f"{kind} (all)"] = round(sum(g[0] for g in growth.values()) / CALLS)
        allocations[f"{kind} (worker)"] = round(worker[1] / CALLS, 2)
    return instructions, allocations


def measure():
    for needed in (SLUICE, MICRO, LOAD):
        if not needed.exists():
            raise SystemExit(f"{needed} is missing: make benchmarks")
    with tempfile.TemporaryDirectory(prefix="sluice-budgets-") as name:
        folder = pathlib.Path(name)
        instructions = micro_instructions(folder)
        allocations = micro_allocations()
        if not instructions:
            raise SystemExit("no instructions were counted: build again with valgrind installed")
        more_instructions, more_allocations = whole_requests(folder)
    return {
        "instructions": instructions | more_instructions,
        "allocations": allocations | more_allocations,
    }


def most(kind, name, threshold):
    """What may be measured at most."""
    if kind == "allocations":
        share = ALLOCATION_SHARE_OF_REQUESTS if name.endswith(")") else ALLOCATION_SHARE
        return threshold + max(ALLOCATION_SLACK, threshold * share)
    slack = SLACK["instructions_all_threads" if name.endswith("(all)") else "instructions"]
    return threshold * (1 + slack)


def compare(measured, thresholds):
    """-> what is dearer than it may be, and what is unknown on either side."""
    problems = []
    for kind in ("instructions", "allocations"):
        for name in sorted(measured[kind].keys() ^ thresholds[kind].keys()):
            problems.append(f"{kind} of {name}: measured or in thresholds.json, but not both")
        for name, figure in measured[kind].items():
            if name in thresholds[kind] and figure > most(kind, name, thresholds[kind][name]):
                problems.append(
                    f"{kind} of {name}: {figure:,}, and the threshold is {thresholds[kind][name]:,}"
                )
    return problems


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["check", "update"])
    command = parser.parse_args().command
    measured = measure()
    if command == "update":
        measured = {"machine": platform.machine(), **measured}
        THRESHOLDS.write_text(json.dumps(measured, indent=2) + "\n")
        print(f"written: {THRESHOLDS}")
        return 0
    thresholds = json.loads(THRESHOLDS.read_text())
    if thresholds["machine"] != platform.machine():
        print(f"thresholds are for {thresholds['machine']}: instructions are not compared here")
        measured["instructions"] = thresholds["instructions"]
    problems = compare(measured, thresholds)
    for problem in problems:
        print(f"dearer than its budget: {problem}")
    for name, figure in measured["instructions"].items():
        if figure < 0.9 * thresholds["instructions"].get(name, 0):
            print(f"{name} has become cheaper: {figure:,}; `make thresholds` keeps it so")
    if problems:
        print("If that is wanted: make thresholds, and say why in the commit.")
        return 1
    print(
        f"{len(measured['instructions'])} counts of instructions and "
        f"{len(measured['allocations'])} of allocations are within their budgets"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
