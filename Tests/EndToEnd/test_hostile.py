"""Clients and backends that mean harm: bounded memory, bounded time, an honest answer or none."""

import contextlib
import json
import pathlib
import socket
import struct
import threading
import time
import zlib

import httpx
import pytest

from conftest import KEYS, BEDROCK_MODEL, standard_config, wait_for

HEAD = (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-demo\r\n"
        b"content-type: application/json\r\n")
HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hello!"}]}
KEY = {"authorization": "Bearer sk-demo"}
MIB = 1 << 20


def memory(gateway):
    """The resident memory of the gateway in bytes."""
    status = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) << 10


def connections(gateway):
    """Open connections of clients, without the one that asks."""
    return gateway.metric("sluice_connections", side="client") - 1


def connect(gateway, seconds=10):
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=seconds)


def read_all(connection):
    """What comes until the other side closes; a reset is an end, too."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while more := connection.recv(65536):
            received += more
    return received


def is_well(gateway, model="llama-3"):
    answer = httpx.post(f"{gateway.url}/chat/completions", json={**HELLO, "model": model}, headers=KEY, timeout=20)
    assert answer.status_code == 200, answer.text


# Clients


@pytest.mark.parametrize("data,status", [
    (b"G" * MIB, 414),
    (b"GET /" + b"a" * MIB + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * MIB, 431),
    (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 100_000, 431),
    (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a:\r\n" * 1000 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nhost: x\r\ncookie: " + b"a\n" * 100 + b"\r\n\r\n", 400),
    (HEAD + b"transfer-encoding: chunked\r\n\r\n1;" + b"x" * MIB, 400),
    (HEAD + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
    (HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 100_000, 431),
    (b"\r\n" * 100_000, 400),
    (bytes(range(256)) * 1000, 400)])
def test_a_head_without_end_is_refused_early(gateway, data, status):
    with connect(gateway) as connection:
        # We may be told, and cut off, before everything is sent.
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        answer = read_all(connection)
    assert not answer or answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert gateway.process.poll() is None
    is_well(gateway)


def test_thousands_of_connections_come_and_go(gateway):
    before = None
    for _ in range(3):
        for _ in range(1000):
            connection = connect(gateway)
            # Closed by a reset: no TIME_WAIT is left to the next test.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        is_well(gateway)
        before = before or memory(gateway)
    assert memory(gateway) < before + 8 * MIB
    wait_for(lambda: connections(gateway) == 0)


def test_half_open_connections_do_not_hold_up_others(gateway):
    before = memory(gateway)
    begun = [b"", b"GET /v1", b"PRI * HT", HEAD, HEAD + b"content-length: 9999\r\n\r\n{"]
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(gateway)) for _ in range(500)]
        for number, connection in enumerate(held):
            connection.sendall(begun[number % len(begun)])
        is_well(gateway)
        assert memory(gateway) < before + 64 * MIB


def test_no_more_connections_are_taken_than_may_be(start, simulator):
    gateway = start(standard_config(simulator.port) + "limits: {connections: 10}\n")
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(gateway)) for _ in range(10)]
        wait_for(lambda: connections(gateway) == 10)
        late = stack.enter_context(connect(gateway, 0.5))
        late.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-demo\r\n\r\n")
        with pytest.raises(TimeoutError):
            late.recv(1000)
        # The admin side has a listener of its own.
        assert gateway.admin("/livez")
        held[0].close()
        late.settimeout(10)
        assert late.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_bodies_of_many_connections_do_not_fill_the_memory(start, simulator):
    gateway = start(standard_config(simulator.port) + "limits: {buffered_bytes: 32MiB}\n")
    before = memory(gateway)
    piece, held = b" " * (8 * MIB), []
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            connection = stack.enter_context(connect(gateway))
            with contextlib.suppress(ConnectionError):
                connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % (16 * MIB) + piece)
            held.append(connection)
        wait_for(lambda: gateway.metric_plain("sluice_buffered_bytes") > 24 * MIB)
        assert gateway.metric_plain("sluice_buffered_bytes") <= 32 * MIB
        # An array that grows may be twice as large as what is in it.
        assert memory(gateway) < before + 128 * MIB
        refused = 0
        for connection in held:
            connection.settimeout(0.3)
            with contextlib.suppress(TimeoutError, ConnectionError):
                answer = connection.recv(65536)
                assert answer.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in answer
                refused += 1
        assert refused >= 6
    wait_for(lambda: gateway.metric_plain("sluice_buffered_bytes") == 0)
    is_well(gateway)


def test_a_client_that_does_not_read_stops_its_backend(start, upstream):
    sent = [0]

    def answer(handler, body):
        handler.events()
        handler.connection.settimeout(2)
        piece = b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": "x" * 4000}}]}).encode() + b"\n\n"
        with contextlib.suppress(TimeoutError):
            while sent[0] < 200 * MIB:
                handler.wfile.write(piece * 16)
                sent[0] += 16 * len(piece)

    upstream.answer = answer
    gateway = start(behind(upstream))
    before = memory(gateway)
    with connect(gateway) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = json.dumps({**HELLO, "stream": True}).encode()
        connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
        time.sleep(3)
        assert sent[0] < 64 * MIB
        assert memory(gateway) < before + 16 * MIB


def test_a_client_that_reads_no_answers_gets_no_more_of_them(gateway):
    before = memory(gateway)
    requests = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 40_000
    with connect(gateway, seconds=3) as connection:
        with contextlib.suppress(TimeoutError):
            for _ in range(12):
                connection.sendall(requests)
        assert memory(gateway) < before + 16 * MIB
    is_well(gateway)


# Backends


def behind(upstream):
    return f"""
backends:
  b: {{kind: openai, url: "http://127.0.0.1:{upstream.port}/v1", timeouts: {{first_byte: 3s, idle: 3s}}}}
  aws:
    kind: bedrock
    region: eu-central-1
    url: http://127.0.0.1:{upstream.port}
    timeouts: {{first_byte: 3s, idle: 3s}}
    credentials: {{access_key_id: {{value: {KEYS[0]}}}, secret_access_key: {{value: {KEYS[1]}}}}}
routes:
  - {{model: "m", targets: [{{backend: b}}]}}
  - {{model: "claude", targets: [{{backend: aws, model: "{BEDROCK_MODEL}"}}]}}
tenants:
  - {{name: demo, keys: [{{value: sk-demo}}], models: ["*"]}}
"""


class RawUpstream:
    """Reads a request and answers with given bytes, again and again if they are to have no end."""

    def __init__(self, data, repeated=b""):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.data, self.repeated, self.sent = data, repeated, 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.settimeout(5)
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(65536)
            connection.sendall(self.data)
            while self.repeated and self.sent < 300 * MIB:
                connection.sendall(self.repeated)
                self.sent += len(self.repeated)

    def stop(self):
        self.listener.close()


def frame(headers, payload, lie=0):
    prelude = struct.pack(">II", len(headers) + len(payload) + 16 + lie, len(headers))
    data = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return data + struct.pack(">I", zlib.crc32(data))


OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
FRAMES = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n"
TEXT = b'{"id":"1","choices":[]}'
GARBAGE = {
    "nothing": (b"", b""),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", b""),
    "binary": (bytes(range(256)) * 64, b""),
    "http/0.9": (b"<html>hello</html>", b""),
    "a status that is none": (b"HTTP/1.1 abc OK\r\n\r\n", b""),
    "an upgrade": (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", b""),
    "interim answers without end": (b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 1000),
    "a header without end": (OK + b"x: ", b"a" * 65536),
    "headers without end": (OK, b"x: y\r\n" * 10_000),
    "two lengths": (OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd", b""),
    "a negative length": (OK + b"content-length: -1\r\n\r\n", b""),
    "a huge length": (OK + b"content-length: 99999999999999999999\r\n\r\n", b""),
    "too long a body": (OK + b"connection: close\r\n\r\n", b" " * MIB),
    "a length that is too long": (OK + b"content-length: 100\r\n\r\n" + TEXT, b""),
    "both framings": (OK + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b""),
    "a chunk extension without end": (OK + b"transfer-encoding: chunked\r\n\r\n1;", b"x" * 65536),
    "a chunk size that overflows": (OK + b"transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n", b""),
    "trailers without end": (OK + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n" * 10_000),
    "a nul in a header": (OK + b"x: a\0b\r\ncontent-length: 2\r\n\r\n{}", b""),
    "json that is none": (OK + b"content-length: 5\r\n\r\n{\"a\":", b""),
    "json that is deep": (OK + b"content-length: 200000\r\n\r\n" + b"[" * 200_000, b""),
    "counts that overflow": (None, b""),
}
COUNTS = b'{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":9223372036854775807,"prompt_tokens_details":' \
    b'{"cached_tokens":9223372036854775807,"cache_write_tokens":9223372036854775807}}}'
GARBAGE["counts that overflow"] = (OK + b"content-length: %d\r\n\r\n" % len(COUNTS) + COUNTS, b"")


def test_the_answers_of_a_call_are_bounded_together(start, upstream):
    def answer(handler, body):
        handler.send_response(200)
        handler.send_header("content-length", str(80 * MIB))
        handler.end_headers()
        for _ in range(80):
            handler.wfile.write(b" " * MIB)

    upstream.answer = answer
    titan = '  - {model: "embed", targets: [{backend: aws, model: "amazon.titan-embed-text-v2:0"}]}\n'
    gateway = start(behind(upstream).replace("tenants:", titan + "tenants:"))
    inputs = {"model": "embed", "input": ["a", "b"]}
    reply = httpx.post(f"{gateway.url}/embeddings", json=inputs, headers=KEY, timeout=60)
    assert reply.status_code == 502
    assert "sent more than 134217728 bytes" in reply.json()["error"]["message"]


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("model", ["m", "claude"])
def test_a_backend_may_answer_anything(start, kind, model):
    upstream = RawUpstream(*GARBAGE[kind])
    gateway = start(behind(upstream))
    before = memory(gateway)
    for _ in range(3):
        answer = httpx.post(f"{gateway.url}/chat/completions", json={**HELLO, "model": model}, headers=KEY, timeout=30)
        if answer.status_code != 200:
            assert answer.status_code in (502, 504), answer.text
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert kind in ("counts that overflow", "both framings") or answer.status_code != 200
    rows = gateway.rows()
    assert len(rows) == 3 and all(0 <= row["input_tokens"] < 1 << 40 for row in rows)
    assert "sluice_requests_in_flight 0" in gateway.admin("/metrics")
    # The longest whole answer is 128 MiB, in an array that grows.
    assert memory(gateway) < before + (400 if kind == "too long a body" else 32) * MIB
    upstream.stop()


STREAMS = {
    "an event without end": ("m", EVENTS + b"\r\ndata: ", b"x" * 65536),
    "a comment without end": ("m", EVENTS + b"\r\n: ", b"x" * 65536),
    "an event of a million lines": ("m", EVENTS + b"\r\n", b"data: x\n" * 8192),
    "no events": ("m", EVENTS + b"\r\n", b""),
    "nothing but an end": ("m", EVENTS + b"\r\ndata: [DONE]\n\n", b""),
    "a frame that promises much": ("claude", FRAMES + b"\r\n" + frame(b"", b"x", lie=16 * MIB), b"x" * 65536),
    "a frame that promises more": ("claude", FRAMES + b"\r\n" + frame(b"", b"x", lie=1 << 31), b"x" * 65536),
    "a frame of ten thousand headers": (
        "claude", FRAMES + b"\r\n" + frame(b"".join(b"\x02" + struct.pack(">H", n) + b"\0" for n in range(10_000)), b""), b""),
    "frames that are none": ("claude", FRAMES + b"\r\n", bytes(range(256)) * 256),
    "a frame that says nothing": ("claude", FRAMES + b"\r\n" + frame(b"", b""), b""),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_a_backend_may_stream_anything(start, kind):
    model, data, repeated = STREAMS[kind]
    upstream = RawUpstream(data, repeated)
    gateway = start(behind(upstream))
    before = memory(gateway)
    for _ in range(3):
        answer = httpx.post(
            f"{gateway.url}/chat/completions", json={**HELLO, "model": model, "stream": True}, headers=KEY, timeout=30)
        assert answer.status_code == 502 or answer.status_code == 200 and "[DONE]" not in answer.text, answer.text[:300]
        assert '"error"' in answer.text
    assert len(gateway.rows()) == 3
    assert memory(gateway) < before + 96 * MIB
    assert upstream.sent < 300 * MIB
    upstream.stop()
