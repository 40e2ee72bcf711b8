"""What is measured: each scenario puts one kind of load on one peer and returns figures."""

import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile
import time

from peers import Running, Sluice
from tools import BUILT, load, load_command

CONNECTIONS, SLOW_CONNECTIONS = 64, 8


class Bench:
    """The machine's two halves: the peer on one core, the upstream and the load on the other."""

    def __init__(self, folder, mock, tls, bodies, cores):
        self.folder, self.mock, self.tls, self.bodies = folder, mock, tls, bodies
        self.peer_cores, self.load_cores = cores
        self.seconds = float(os.environ.get("SECONDS_EACH", "2"))
        self.number = 0
        self.running = {}

    def start(self, peer, cores=None):
        self.number += 1
        return Running(
            peer,
            self.folder / f"{peer.name}-{self.number}",
            self.mock,
            self.tls,
            self.bodies["small"].read_bytes(),
            cores or self.peer_cores,
        )

    def keep(self, peer):
        """A peer that stays up for the whole run."""
        if peer.name not in self.running:
            self.running[peer.name] = self.start(peer)
        return self.running[peer.name]

    def stop(self):
        for running in self.running.values():
            running.stop()

    def wait_for_streams(self):
        """Some peers still read for clients that have left: that is not to burden the next one."""
        until = time.monotonic() + 10
        while self.mock.stats()["streaming"] and time.monotonic() < until:
            time.sleep(0.05)

    def load(self, running, body, **options):
        """Load through a peer; with what it cost the peer for each request that came through."""
        with Cost(self, running) as cost:
            result = load(
                running.ports["http"],
                self.bodies[body],
                running.peer.headers,
                self.load_cores,
                **options,
            )
        return {**figures(result), **cost.figures}

    def start_load(self, running, body, **options):
        """The same in the background; ends when its input does, or by itself."""
        command = load_command(
            running.ports["http"], self.bodies[body], running.peer.headers, **options
        )
        pin = (lambda: os.sched_setaffinity(0, self.load_cores)) if self.load_cores else None
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=pin
        )


class Cost:
    """CPU of a peer over a while, for each request and each chunk that the upstream has seen."""

    def __init__(self, bench, running):
        self.bench, self.child, self.figures = bench, running.child, {}

    def look(self):
        stats = self.bench.mock.stats()
        return (
            self.child.cpu_nanoseconds() if self.child else 0,
            self.bench.mock.requests(),
            stats["chunks"],
            time.monotonic(),
            core_seconds(self.bench.peer_cores),
        )

    def __enter__(self):
        self.before = self.look()
        return self

    def __exit__(self, *_):
        cpu, requests, chunks, seconds, core = (
            a - b for a, b in zip(self.look(), self.before, strict=True)
        )
        if self.child and requests > 0:
            self.figures["cpu_us"] = cpu / 1000 / requests
            self.figures["busy"] = cpu / 1e9 / seconds
            if self.bench.peer_cores:
                self.figures["foreign"] = core / seconds - self.figures["busy"]
            self.figures["rss_mib"] = self.child.resident_kib() / 1024
        if self.child and chunks > 0:
            self.figures["cpu_us_chunk"] = cpu / 1000 / chunks


def core_seconds(cores):
    """How long the first of these cores has been busy, with whatever; its ticks are hundredths."""
    if not cores:
        return 0
    name = f"cpu{min(cores)} "
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        if line.startswith(name):
            fields = list(map(int, line.split()[1:9]))
            return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
    return 0


def figures(result):
    """What a table shows of the load generator's report."""
    found = {
        "per_second": result["per_second"],
        "wrong": result["refused"] + result["failed"] + result["unfinished"],
    }
    if result["latency"]["count"]:
        found |= {"p50_us": result["latency"]["p50"], "p99_us": result["latency"]["p99"]}
    if result["events"]:
        found |= {
            "events_per_second": result["events_per_second"],
            "gap_p99_us": result["gap"]["p99"],
        }
        if result["first_event"]["count"]:
            found |= {
                "first_p50_us": result["first_event"]["p50"],
                "first_p99_us": result["first_event"]["p99"],
            }
    return found


# --- Load on every peer


def closed_loop(body, connections=CONNECTIONS):
    def measure(bench, peer):
        count = min(connections, SLOW_CONNECTIONS) if peer.is_slow else connections
        return bench.load(
            bench.keep(peer), body, connections=count, seconds=bench.seconds, warm_up=0.3
        )

    return measure


def paced(bench, peer):
    rate = 50 if peer.is_slow else 2000
    return bench.load(
        bench.keep(peer),
        "small",
        connections=CONNECTIONS,
        rate=rate,
        seconds=bench.seconds,
        warm_up=0.3,
    )


def fast_streams(body):
    def measure(bench, peer):
        bench.mock.set(chunks=200, gap_us=0)
        count = SLOW_CONNECTIONS if peer.is_slow else 200
        found = bench.load(
            bench.keep(peer),
            body,
            connections=count,
            seconds=bench.seconds,
            warm_up=0.3,
            stream=True,
        )
        bench.wait_for_streams()
        return found

    return measure


def slow_streams(bench, peer):
    """2,000 streams at once, an event each 100 ms; memory while they run."""
    count = 20 if peer.is_slow else 2000
    bench.mock.set(chunks=100, gap_us=100_000)
    running = bench.start(peer)
    try:
        before = running.child.resident_kib() if running.child else 0
        with Cost(bench, running) as cost:
            client = bench.start_load(
                running, "small-stream", connections=count, seconds=8, ramp=2.5, stream=True
            )
            time.sleep(6)
            during = running.child.resident_kib() if running.child else 0
            streams = bench.mock.stats()["streaming"]
            output, _ = client.communicate(timeout=60)
        found = {
            **figures(json.loads(output.strip().splitlines()[-1])),
            **cost.figures,
            "streams": streams,
        }
        # They go on for longer than is measured: none has ended.
        found.pop("per_second")
        if running.child and streams:
            found["kib_each"] = (during - before) / streams
        return found
    finally:
        bench.mock.set(chunks=200, gap_us=0)
        running.stop()
        bench.wait_for_streams()


def idle_connections(bench, peer):
    """Connections that have asked once and stay open."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = 200 if peer.is_slow else min(10_000, files - 1_000)
    running = bench.start(peer)
    try:
        before = running.child.resident_kib() if running.child else 0
        client = bench.start_load(
            running, "small", connections=count, seconds=60, hold=True, ramp=3
        )
        client.stdout.readline()
        time.sleep(1)
        during = running.child.resident_kib() if running.child else 0
        output, _ = client.communicate(timeout=60)
        found = figures(json.loads(output.strip().splitlines()[-1]))
        found = {"connections": count, "wrong": found["wrong"]}
        if running.child:
            found |= {
                "rss_mib_before": before / 1024,
                "rss_mib": during / 1024,
                "kib_each": (during - before) / count,
            }
        return found
    finally:
        running.stop()


def h2load(port, *options):
    def measure(bench, peer):
        if not (peer.has_tls if port == "tls" else peer.has_http2) or not shutil.which("h2load"):
            return None
        running = bench.keep(peer)
        scheme = "https" if port == "tls" else "http"
        command = [
            "h2load",
            "-t",
            "1",
            "-D",
            f"{bench.seconds * 1000:.0f}ms",
            "--warm-up-time",
            "300ms",
            *options,
            "-d",
            bench.bodies["small"],
            "-H",
            "content-type: application/json",
        ]
        for header in peer.headers:
            command += ["-H", header]
        command.append(f"{scheme}://127.0.0.1:{running.ports[port]}/v1/chat/completions")
        pin = (lambda: os.sched_setaffinity(0, bench.load_cores)) if bench.load_cores else None
        with Cost(bench, running) as cost:
            done = subprocess.run(
                [str(part) for part in command],
                capture_output=True,
                text=True,
                preexec_fn=pin,
                timeout=120,
                check=False,
            )
        found = dict(cost.figures)
        for line in done.stdout.splitlines():
            words = line.replace(",", "").split()
            if line.startswith("finished in"):
                found["per_second"] = float(words[3])
            if line.startswith("status codes:"):
                found["wrong"] = sum(int(words[index]) for index in (4, 6, 8))
        return found

    return measure


def handshakes(bench, peer):
    """New connections, one after the other; none resumes another's session."""
    if not peer.has_tls or not shutil.which("openssl"):
        return None
    running = bench.keep(peer)
    command = ["openssl", "s_time", "-new", "-tls1_3", "-time", str(max(1, round(bench.seconds)))]
    command += ["-connect", f"127.0.0.1:{running.ports['tls']}"]
    pin = (lambda: os.sched_setaffinity(0, bench.load_cores)) if bench.load_cores else None
    before, began = running.child.cpu_nanoseconds(), time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, preexec_fn=pin, timeout=120, check=False
    )
    cpu, seconds = running.child.cpu_nanoseconds() - before, time.monotonic() - began
    counts = [line.split()[0] for line in done.stdout.splitlines() if "real seconds" in line]
    count = int(counts[0]) if counts else 0
    if not count:
        return None
    return {
        "per_second": count / seconds,
        "cpu_us": cpu / 1000 / count,
        "rss_mib": running.child.resident_kib() / 1024,
    }


def start(bench, peer):
    """From the start of the process to the first answer, and what it holds a second later."""
    running = bench.start(peer)
    try:
        if not running.child:
            return None
        time.sleep(1)
        return {
            "start_ms": running.start_milliseconds,
            "rss_mib": running.child.resident_kib() / 1024,
        }
    finally:
        running.stop()


def translated(body, is_stream=False):
    def measure(bench, peer):
        if not peer.translates:
            return None
        run = fast_streams(body) if is_stream else closed_loop(body)
        return run(bench, peer)

    return measure


# --- Sluice against itself


@contextlib.contextmanager
def alone(bench, peer, cores=None):
    running = bench.start(peer, cores)
    try:
        yield running
    finally:
        running.stop()


def variant(cores=None, **options):
    """Small chats through a Sluice that is configured otherwise."""

    def measure(bench, _):
        with alone(bench, Sluice(**options), cores) as running:
            found = bench.load(
                running, "small", connections=CONNECTIONS, seconds=bench.seconds, warm_up=0.3
            )
            found["start_ms"] = running.start_milliseconds
            return found

    return measure


def reload(signals):
    """Paced chats, while the configuration is read again so many times."""

    def measure(bench, _):
        with alone(bench, Sluice(tenants=100, routes=100)) as running:
            client = bench.start_load(
                running, "small", connections=CONNECTIONS, rate=2000, seconds=4, warm_up=0.5
            )
            for _ in range(signals):
                time.sleep(1)
                os.kill(running.child.pid, signal.SIGHUP)
            output, _ = client.communicate(timeout=60)
            result = json.loads(output.strip().splitlines()[-1])
            return {
                **figures(result),
                "p999_us": result["latency"]["p999"],
                "largest_us": result["latency"]["largest"],
            }

    return measure


def binary_mib(_, __):
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(["strip", "-o", f"{name}/sluice", BUILT / "sluice"], check=True)
        return {"mib": os.path.getsize(f"{name}/sluice") / (1 << 20)}


# name: (title, what it is, measure, the columns of its table)
RATE = ["per_second", "cpu_us", "cpu_ratio", "p50_us", "p99_us", "rss_mib"]
STREAM = [
    "events_per_second",
    "cpu_us_chunk",
    "chunk_ratio",
    "first_p50_us",
    "first_p99_us",
    "gap_p99_us",
    "rss_mib",
]
SCENARIOS = {
    "small": (
        "Small chats",
        "200 bytes, 64 connections, each asks again at once.",
        closed_loop("small"),
        RATE,
    ),
    "tools": ("Chats with tools", "2 KB, 64 connections.", closed_loop("tools"), RATE),
    "large": ("Long chats", "64 KB, 16 connections.", closed_loop("large", 16), RATE),
    "huge": ("Chats with an image", "1 MB, 4 connections.", closed_loop("huge", 4), RATE),
    "paced": (
        "Latency",
        "2,000 small chats a second, timed from the moment each was due.",
        paced,
        ["p50_us", "p99_us", "added_p50", "added_p99", "cpu_us", "rss_mib"],
    ),
    "stream": (
        "Streams at full speed",
        "200 streams of 200 events, which the upstream sends one by one.",
        fast_streams("small-stream"),
        STREAM,
    ),
    "slow-streams": (
        "2,000 slow streams",
        "An event each 100 ms on every stream.",
        slow_streams,
        ["streams", "kib_each", "cpu_us_chunk", "chunk_ratio", "first_p99_us", "gap_p99_us"],
    ),
    "idle": (
        "10,000 idle connections",
        "Each has asked once.",
        idle_connections,
        ["connections", "rss_mib_before", "rss_mib", "kib_each"],
    ),
    "tls": (
        "TLS 1.3",
        "Small chats over HTTP/1.1, 64 kept connections.",
        h2load("tls", "--h1", "-c", "64"),
        ["per_second", "cpu_us", "cpu_ratio", "rss_mib"],
    ),
    "handshakes": (
        "TLS 1.3 handshakes",
        "New connections, one after the other, no session resumed; nothing is asked.",
        handshakes,
        ["per_second", "cpu_us", "cpu_ratio", "rss_mib"],
    ),
    "http2": (
        "HTTP/2",
        "Small chats, 16 connections with 8 streams each, without TLS.",
        h2load("http2", "-c", "16", "-m", "8"),
        ["per_second", "cpu_us", "cpu_ratio", "rss_mib"],
    ),
    "converse": (
        "Bedrock Converse",
        "Small chats, translated both ways and signed.",
        translated("claude-small"),
        RATE,
    ),
    "converse-tools": ("Bedrock Converse with tools", "2 KB.", translated("claude-tools"), RATE),
    "converse-stream": (
        "Bedrock ConverseStream",
        "200 streams of 200 events at full speed.",
        translated("claude-small-stream", is_stream=True),
        STREAM,
    ),
    "start": (
        "Start",
        "From the start of the process to its first answer; memory a second later.",
        start,
        ["start_ms", "rss_mib"],
    ),
}
BOTH = set(range(min(2, os.cpu_count())))
# Variants of Sluice that are compared with each other.
ITSELF = {
    "workers": (
        "Workers",
        "Small chats with one and two workers. Upstream and load generator share the two "
        "cores with them, so that two workers cannot be twice as fast here.",
        {"1 worker": variant(BOTH, workers=1), "2 workers": variant(BOTH, workers=2)},
        ["per_second", "cpu_us", "cpu_ratio_first", "p50_us", "p99_us", "rss_mib"],
    ),
    "size": (
        "Many tenants and routes",
        "Small chats of a tenant with three limits; each of the others has one.",
        {
            "1 tenant, 2 routes": variant(),
            "10,000 tenants, 1,000 routes": variant(tenants=10_000, routes=1_000),
        },
        ["per_second", "cpu_us", "cpu_ratio_first", "p50_us", "p99_us", "rss_mib", "start_ms"],
    ),
    "reload": (
        "Reload under load",
        "2,000 small chats a second for four seconds, 100 tenants and routes.",
        {"undisturbed": reload(0), "3 reloads": reload(3)},
        [
            "p50_us",
            "p99_us",
            "added_p99_first",
            "p999_us",
            "largest_us",
            "added_largest_first",
            "wrong",
        ],
    ),
    "binary": ("Binary", "Stripped, with Swift's runtime inside.", {"Sluice": binary_mib}, ["mib"]),
}
