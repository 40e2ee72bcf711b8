"""The life of the process: the drain, reloads and replacement, while clients go on asking."""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time
import urllib.error

import h2.events
import httpx
import pytest

from conftest import SLUICE, Simulator, get, standard_config, wait_for
from test_http2 import RawClient
from test_sdk import HELLO

HEADERS = {"authorization": "Bearer sk-demo"}


def chat(stream=False, model="llama-3"):
    return {"model": model, "messages": HELLO, "stream": stream}


def request_bytes(body):
    data = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer sk-demo\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


class PatientClient(RawClient):
    """HTTP/2 as RFC 9113 section 6.8 has it: streams go on after a GOAWAY, which the `h2` library does not know."""

    def __init__(self, gateway):
        self.received, self.goodbyes = b"", []
        super().__init__(gateway)

    def receive(self):
        data = self.socket.recv(65536)
        if not data:
            return []
        self.received += data
        frames = b""
        while len(self.received) >= 9 and len(self.received) >= (size := 9 + int.from_bytes(self.received[:3], "big")):
            frame, self.received = self.received[:size], self.received[size:]
            if frame[3] == 7:
                self.goodbyes.append(int.from_bytes(frame[9:13], "big"))
            else:
                frames += frame
        events = self.h2.receive_data(frames)
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.send()
        self.events += events
        return events or [None]


class Stream:
    """A streamed answer that is under way, over either version of HTTP, on bare sockets."""

    def __init__(self, gateway, version):
        self.http2 = version == "http/2"
        if self.http2:
            self.client = PatientClient(gateway)
            self.stream = self.client.chat(stream=True)
            self.client.until(h2.events.DataReceived, self.stream)
        else:
            self.socket = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
            self.socket.sendall(request_bytes(chat(stream=True)))
            self.data = b""
            while b"data: " not in self.data:
                self.data += self.socket.recv(65536)

    def rest(self):
        """All of the answer, which must end as its protocol wants it."""
        if self.http2:
            status, _, data = self.client.answer(self.stream)
            while self.client.receive():
                pass
            self.client.close()
            assert status == 200 and self.client.goodbyes[-1] == self.stream
            return data.decode()
        while more := self.socket.recv(65536):
            self.data += more
        self.socket.close()
        assert self.data.endswith(b"0\r\n\r\n")
        return self.data.decode()


@pytest.fixture(params=["http/1.1", "http/2"])
def spoken(request):
    return request.param


@pytest.fixture
def slow():
    simulator = Simulator("--chunk-ms", "100", "--chunks", "15")
    yield simulator
    simulator.stop()


def readiness(gateway):
    try:
        return get(f"http://127.0.0.1:{gateway.admin_port}/readyz")
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"


def is_refused(gateway):
    try:
        socket.create_connection(("127.0.0.1", gateway.port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_requests_under_way_finish(start, slow, spoken):
    gateway = start(standard_config(slow.port))
    stream = Stream(gateway, spoken)
    idle = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
    idle.sendall(request_bytes({"model": "none"}))
    assert idle.recv(65536).startswith(b"HTTP/1.1 404")
    gateway.process.send_signal(signal.SIGTERM)
    wait_for(lambda: readiness(gateway) == "503 draining\n")
    wait_for(lambda: is_refused(gateway))
    assert idle.recv(65536) == b""
    assert gateway.process.poll() is None
    assert "[DONE]" in stream.rest()
    assert gateway.process.wait(20) == 0
    assert [row["status"] for row in gateway.rows()] == [200]


def test_a_delay_gives_load_balancers_time(start, simulator):
    gateway = start(standard_config(simulator.port) + "drain: {delay: 10s}\n")
    gateway.process.send_signal(signal.SIGTERM)
    wait_for(lambda: readiness(gateway) == "503 draining\n")
    answer = httpx.post(f"{gateway.url}/chat/completions", headers=HEADERS, json=chat())
    assert answer.status_code == 200 and answer.headers["connection"] == "close"
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(20) == 0


@pytest.mark.parametrize("is_second_signal", [False, True], ids=["deadline", "second signal"])
def test_what_cannot_finish_ends_in_an_error(start, slow, spoken, is_second_signal):
    timeout = "30s" if is_second_signal else "300ms"
    gateway = start(standard_config(slow.port) + f"drain: {{timeout: {timeout}}}\n")
    stream = Stream(gateway, spoken)
    gateway.process.send_signal(signal.SIGTERM)
    wait_for(lambda: readiness(gateway) == "503 draining\n")
    if is_second_signal:
        gateway.process.send_signal(signal.SIGINT)
    text = stream.rest()
    assert '"code":"draining"' in text and "[DONE]" not in text
    assert gateway.process.wait(20) == 3
    assert "drain.timeout" in (gateway.folder / "stderr.log").read_text()
    (row,) = gateway.rows()
    assert (row["status"], row["error_code"], row["usage_source"]) == (503, "draining", "estimated")
    assert row["output_tokens"] > 0
    assert not list((gateway.folder / "state/journal").iterdir())


class Load:
    """Clients that go on asking; whatever is not a whole good answer is kept as a failure."""

    def __init__(self, gateway, kinds):
        self.gateway, self.failures, self.answers, self.stopped = gateway, [], 0, False
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(kind,)) for kind in kinds]
        for thread in self.threads:
            thread.start()

    def run(self, kind):
        ask = getattr(self, kind)()
        while not self.stopped:
            try:
                problem = next(ask)
            except (OSError, httpx.HTTPError, AssertionError, StopIteration) as error:
                problem = f"{kind}: {type(error).__name__}: {error}"
                ask = getattr(self, kind)()
            with self.lock:
                self.answers += 1
                if problem:
                    self.failures.append(problem)

    def fresh(self):
        """A new connection for each request."""
        for count in range(1 << 30):
            is_stream = count % 2 == 0
            with socket.create_connection(("127.0.0.1", self.gateway.port), timeout=20) as connection:
                body = request_bytes(chat(is_stream)).replace(b"Host:", b"Connection: close\r\nHost:", 1)
                connection.sendall(body)
                data = b""
                while more := connection.recv(65536):
                    data += more
            is_whole = b"[DONE]" in data if is_stream else b'"usage"' in data
            yield None if data.startswith(b"HTTP/1.1 200") and is_whole else f"fresh: {data!r}"

    def kept(self):
        """A pool of connections, as the SDKs have one."""
        with httpx.Client(timeout=20) as client:
            while True:
                answer = client.post(f"{self.gateway.url}/chat/completions", headers=HEADERS, json=chat())
                yield None if answer.status_code == 200 else f"kept: {answer.text}"

    def streams(self):
        """HTTP/2 connections that are used until they are told to end."""
        while True:
            client = PatientClient(self.gateway)
            while not client.goodbyes:
                client.events = []
                status, _, data = client.answer(client.chat(stream=True))
                yield None if status == 200 and b"[DONE]" in data else f"streams: {data!r}"
            client.close()

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join()
        assert self.failures == []


def another(gateway):
    """Starts a second process with the same configuration, and waits until it listens."""
    errors = open(gateway.folder / "second.log", "wb")
    process = subprocess.Popen(
        [SLUICE, "serve", "--config", str(gateway.config)], stdout=subprocess.DEVNULL, stderr=errors)
    # The admin side is the last to be told.
    wait_for(lambda: "for admin" in (gateway.folder / "second.log").read_text())
    return process


@pytest.mark.parametrize("delay,kinds", [
    ("0s", ["fresh"] * 6), ("700ms", ["fresh", "fresh", "kept", "kept", "streams", "streams"])])
def test_another_process_takes_over_without_a_failed_request(start, simulator, delay, kinds):
    gateway = start(standard_config(simulator.port) + f"drain: {{delay: {delay}}}\n")
    load = Load(gateway, kinds)
    for _ in range(3):
        before = load.answers
        wait_for(lambda: load.answers >= before + 50)
        first, gateway.process = gateway.process, another(gateway)
        first.send_signal(signal.SIGTERM)
        assert first.wait(20) == 0
        # From now on the new one answers, also for admin.
        assert readiness(gateway) == "ok\n"
    load.stop()
    assert gateway.process.poll() is None
    gateway.stop()
    rows = gateway.rows()
    assert len(rows) == len({row["id"] for row in rows}) == load.answers
    assert {row["status"] for row in rows} == {200}


def reloads(gateway, result):
    return gateway.metric("sluice_config_reloads_total", result=result)


def changed(simulator, number):
    """A configuration whose names, limits and routes are others each time; `llama-3` stays."""
    return f"""
backends:
  b{number % 3}: {{kind: vllm, url: "http://127.0.0.1:{simulator.port}/v1", api_key: {{value: backend-key}}}}
  extra-{number}: {{kind: vllm, url: "http://127.0.0.1:{simulator.port}/v1", api_key: {{value: backend-key}}}}
routes:
  - {{model: llama-3, targets: [{{backend: {random.Random(number).choice([f"b{number % 3}", f"extra-{number}"])}}}]}}
  - {{model: "other-{number}-*", targets: [{{backend: b{number % 3}}}]}}
tenants:
  - {{name: team-{number % 2}, keys: [{{value: sk-demo}}], models: ["*"], limits: [{{tokens: {number + 1}G, per: day}}]}}
limits: {{header_bytes: {16 + number}KiB, concurrent_requests: {1000 + number}}}
"""


@pytest.fixture
def unread():
    """A full pipe, which nobody reads."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, b"\n" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(writer, True)
    yield writer
    os.close(reader)
    os.close(writer)


def test_a_log_that_nobody_reads_keeps_no_signal_waiting(start, simulator, unread):
    gateway = start(standard_config(simulator.port), output=unread, errors=unread)
    assert httpx.post(f"{gateway.url}/chat/completions", json=chat(), headers=HEADERS).status_code == 200
    gateway.process.send_signal(signal.SIGHUP)
    wait_for(lambda: reloads(gateway, "applied") == 1)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(15) == 0


def test_a_log_that_nobody_reads_keeps_no_bad_end_waiting(start, slow, spoken, unread):
    gateway = start(standard_config(slow.port) + "drain: {timeout: 300ms}\n", output=unread, errors=unread)
    stream = Stream(gateway, spoken)
    gateway.process.send_signal(signal.SIGTERM)
    assert '"code":"draining"' in stream.rest()
    assert gateway.process.wait(15) == 3


def test_twenty_reloads_under_load_fail_no_request(start, simulator):
    gateway = start(changed(simulator, 0))
    load = Load(gateway, ["fresh", "fresh", "kept", "kept", "streams", "streams"])
    for number in range(1, 21):
        gateway.write(changed(simulator, number))
        # Two are found by the look at the file alone.
        if number % 10:
            gateway.process.send_signal(signal.SIGHUP)
        wait_for(lambda: reloads(gateway, "applied") == number)
        before = load.answers
        wait_for(lambda: load.answers >= before + 10)
    load.stop()
    assert reloads(gateway, "rejected") == 0
    rows = gateway.rows()
    assert len(rows) == load.answers
    assert len({row["backend"] for row in rows}) > 3
    # Connections to former backends are gone: what is left is at most one for each client on each event loop.
    assert gateway.metric("sluice_connections", side="upstream") <= len(load.threads) * os.cpu_count()


def test_a_reload_opens_nothing_that_others_can_reach(start, simulator):
    closed = standard_config(simulator.port)
    gateway = start('listeners: [{address: "0.0.0.0:@PORT@"}]\n' + closed)
    before, after = closed.split("tenants:\n")
    # On loopback nobody need be named, but until a restart this one listens elsewhere.
    gateway.write('listeners: [{address: "127.0.0.1:@PORT@"}]\n' + before + after.split("\n", 1)[1])
    wait_for(lambda: reloads(gateway, "rejected") == 1)
    assert httpx.get(f"{gateway.url}/models").status_code == 401
    gateway.wait_until_told("until a restart")


def test_a_changed_file_is_read_and_a_wrong_one_changes_nothing(start, simulator):
    gateway = start(standard_config(simulator.port))
    new = gateway.folder / "new.yaml"
    good = gateway.config.read_text()
    # As editors do: another file takes the name.
    new.write_text(good.replace("llama-*", "lama-*"))
    os.replace(new, gateway.config)
    wait_for(lambda: reloads(gateway, "applied") == 1)
    assert "lama-*" in gateway.admin("/admin/config")
    gateway.config.write_text("backends: 7\n")
    wait_for(lambda: reloads(gateway, "rejected") == 1)
    answer = httpx.post(f"{gateway.url}/chat/completions", headers=HEADERS, json=chat(model="lama-3"))
    assert answer.status_code == 200
    gateway.config.write_text(good.replace("state: ./state", "state: ./elsewhere\nlog: {level: debug}"))
    wait_for(lambda: reloads(gateway, "applied") == 2)
    # It was told once, however often the file was looked at.
    assert reloads(gateway, "rejected") == 1
    gateway.wait_until_told("needs a restart: state, log.level")


def test_an_idle_gateway_sleeps(gateway):
    def wakes():
        tasks = pathlib.Path(f"/proc/{gateway.process.pid}/task").iterdir()
        lines = [line for task in tasks for line in (task / "status").read_text().splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))

    httpx.post(f"{gateway.url}/chat/completions", json=chat(), headers=HEADERS).raise_for_status()
    wait_for(lambda: gateway.rows())
    before = wakes()
    time.sleep(2)
    # Three threads look around once a second; polling every 20 ms would be 50 a second for each.
    assert wakes() - before < 40
