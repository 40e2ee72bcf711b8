#!/usr/bin/env python3
"""Compares Sluice with its peers, one after the other in every round: `make bench`.

    ROUNDS=5                    how often each is measured
    SCENARIOS="small stream"    only these; see scenarios.py
    PEERS="nginx envoy"         only these, beside Sluice and the upstream by itself
    SECONDS_EACH=2              how long each measurement is

Writes docs/performance.md and docs/plots; what was measured stays in .build-bench/results.jsonl.
"""

import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import peers
import report
from scenarios import ITSELF, SCENARIOS, SLOW_CONNECTIONS, Bench
from tools import MICRO, ROOT, Mock, bodies

RESULTS = ROOT / ".build-bench/results.jsonl"


def chosen_peers():
    wanted = os.environ.get("PEERS", "").lower().split()
    found = []
    for peer in peers.ALL:
        if wanted and peer.name.lower() not in [*wanted, "direct", "sluice"]:
            continue
        if peer.is_here():
            found.append(peer)
        else:
            print(f"{peer.name} is not installed, and is left out", flush=True)
    return found


def certificate(folder):
    files = {"certificate": folder / "certificate.pem", "key": folder / "key.pem"}
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-keyout",
            files["key"],
            "-out",
            files["certificate"],
        ],
        check=True,
        capture_output=True,
    )
    return files


def rounds_of(bench, found, count):
    """Yields (scenario, name, round, figures); in each round the peers begin with another one."""
    wanted = os.environ.get("SCENARIOS", "").split() or [*SCENARIOS, *ITSELF]
    unknown = set(wanted) - {*SCENARIOS, *ITSELF}
    if unknown:
        raise SystemExit(
            f"no such scenario: {', '.join(sorted(unknown))}; there are "
            + " ".join([*SCENARIOS, *ITSELF])
        )
    for scenario in wanted:
        if scenario in SCENARIOS:
            entries = [(peer.name, peer, SCENARIOS[scenario][2]) for peer in found]
        else:
            entries = [(name, None, measure) for name, measure in ITSELF[scenario][2].items()]
        for number in range(count):
            first = number % len(entries)
            for name, peer, measure in entries[first:] + entries[:first]:
                figures = measure(bench, peer)
                if figures is not None:
                    yield scenario, name, number, figures


def say(scenario, name, number, figures):
    shown = ", ".join(f"{key} {value:,.1f}" for key, value in figures.items())
    print(f"{scenario} {number + 1} {name}: {shown}", flush=True)


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def about(found, is_pinned):
    commit = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    names = [
        f"{peer.name} {peer.version()}" for peer in found if peer.name not in ("direct", "Sluice")
    ]
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "commit": commit or "unknown",
        "peers": ", ".join(names) or "none",
        "slow": SLOW_CONNECTIONS,
        "pinning": "The peer has core 0, the upstream and the load generator share core 1."
        if is_pinned
        else "There is one core for all.",
    }


def micro_cases():
    done = subprocess.run([MICRO, "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main():
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    count = int(os.environ.get("ROUNDS", "5"))
    is_pinned = (os.cpu_count() or 1) >= 2
    cores = ({0}, {1}) if is_pinned else (None, None)
    found = chosen_peers()
    RESULTS.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name:
        folder = pathlib.Path(name)
        # nginx, started by root, has workers of another user.
        folder.chmod(0o755)
        mock = Mock(folder, cores[1])
        bench = Bench(folder, mock, certificate(folder), bodies(folder), cores)
        lines = []
        try:
            with open(RESULTS, "w", encoding="utf-8") as output:
                for scenario, peer, number, figures in rounds_of(bench, found, count):
                    say(scenario, peer, number, figures)
                    lines.append(
                        json.dumps(
                            {
                                "scenario": scenario,
                                "name": peer,
                                "round": number,
                                "figures": figures,
                            }
                        )
                    )
                    print(lines[-1], file=output, flush=True)
        finally:
            bench.stop()
            mock.stop()
    thresholds = json.loads((ROOT / "Benchmarks/thresholds.json").read_text())
    report.write(lines, about(found, is_pinned), micro_cases(), thresholds)
    print(f"written: {report.DOCS / 'performance.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
