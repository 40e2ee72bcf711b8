"""HTTP/2 as clients speak it: httpx, the `h2` library by hand, the SDK, nghttp and h2load."""

import json
import signal
import socket
import subprocess
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.settings
import httpx
import openai
import pytest

from conftest import Simulator, standard_config, wait_for
from test_sdk import HELLO, TOOLS, WEATHER

KEY = [("authorization", "Bearer sk-demo")]


class RawClient:
    """One connection, by the `h2` library: events come as they are."""

    def __init__(self, gateway):
        self.socket = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.send()
        self.events = []

    def send(self):
        self.socket.sendall(self.h2.data_to_send())

    def ask(self, path="/v1/chat/completions", body=None, method="POST", fields=()):
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "gateway"), *KEY, *fields]
        data = None if body is None else json.dumps(body).encode()
        self.h2.send_headers(stream, head, end_stream=data is None)
        if data is not None:
            self.h2.send_data(stream, data, end_stream=True)
        self.send()
        return stream

    def chat(self, model="llama-3", stream=False):
        return self.ask(body={"model": model, "messages": HELLO, "stream": stream})

    def receive(self):
        """The next events; none when the connection has ended."""
        data = self.socket.recv(65536)
        if not data:
            return []
        events = self.h2.receive_data(data)
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.send()
        self.events += events
        return events

    def until(self, kind, stream=None):
        """Reads until there is an event of that kind."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and stream in (None, getattr(event, "stream_id", None)):
                    return event
            assert self.receive(), f"the connection ended without {kind.__name__}"

    def answer(self, stream):
        self.until(h2.events.StreamEnded, stream)
        head = dict(self.until(h2.events.ResponseReceived, stream).headers)
        data = b"".join(e.data for e in self.events if isinstance(e, h2.events.DataReceived) and e.stream_id == stream)
        return int(head[":status"]), head, data

    def close(self):
        self.socket.close()


@pytest.fixture
def raw(gateway):
    client = RawClient(gateway)
    yield client
    client.close()


def test_httpx_speaks_http2_without_tls(gateway):
    with httpx.Client(http1=False, http2=True) as client:
        for model in ("llama-3", "claude-3-5-sonnet"):
            answer = client.post(f"{gateway.url}/chat/completions", json={"model": model, "messages": HELLO}, headers=dict(KEY))
            assert answer.http_version == "HTTP/2" and answer.status_code == 200
            assert answer.json()["choices"][0]["message"]["content"]
            # RFC 9113 section 8.2.2: what belongs to a connection is not for HTTP/2.
            assert not {"connection", "keep-alive", "transfer-encoding", "upgrade"} & set(answer.headers)
        assert client.get(f"{gateway.url}/models", headers=dict(KEY)).json()["object"] == "list"
        refused = client.post(f"{gateway.url}/chat/completions", content=b"{", headers=dict(KEY))
        assert refused.status_code == 400 and refused.json()["error"]["code"] == "invalid_json"
    assert [row["status"] for row in gateway.rows()] == [200, 200]


def test_the_sdk_over_http2(gateway):
    client = openai.OpenAI(base_url=gateway.url, api_key="sk-demo", max_retries=0,
                           http_client=httpx.Client(http1=False, http2=True))
    for model in ("llama-3", "claude-3-5-sonnet"):
        chat = client.chat.completions
        assert chat.create(model=model, messages=HELLO).choices[0].message.content
        chunks = list(chat.create(model=model, messages=HELLO, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        call, = chat.create(model=model, messages=WEATHER, tools=TOOLS).choices[0].message.tool_calls
        assert call.function.arguments == '{"location":"New York City"}'
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-wrong").chat.completions.create(model="llama-3", messages=HELLO)
    assert len(gateway.rows()) == 6


def test_many_streams_of_one_connection(raw, gateway):
    streams = [raw.chat(["llama-3", "claude-3-5-sonnet"][i % 2], stream=i % 3 == 0) for i in range(100)]
    for i, stream in enumerate(streams):
        status, head, data = raw.answer(stream)
        assert status == 200
        assert (b"[DONE]" in data) == (i % 3 == 0)
    assert [row["status"] for row in gateway.rows()] == [200] * 100


def test_head_ping_and_unknown_paths(raw):
    status, head, data = raw.answer(raw.ask("/v1/models", method="HEAD"))
    assert status == 200 and int(head["content-length"]) > 0 and data == b""
    raw.h2.ping(b"12345678")
    raw.send()
    assert raw.until(h2.events.PingAckReceived).ping_data == b"12345678"
    status, _, data = raw.answer(raw.ask("/v1/nothing", method="GET"))
    assert status == 404 and json.loads(data)["error"]["code"] == "unknown_endpoint"


def test_connect_is_refused_and_the_connection_goes_on(raw):
    stream = raw.h2.get_next_available_stream_id()
    raw.h2.send_headers(stream, [(":method", "CONNECT"), (":authority", "gateway:443")], end_stream=False)
    raw.send()
    raw.until(h2.events.ResponseReceived, stream)
    assert dict(raw.until(h2.events.ResponseReceived, stream).headers)[":status"] == "405"
    assert raw.answer(raw.chat())[0] == 200


def test_a_body_in_pieces_with_trailers(raw):
    body = json.dumps({"model": "llama-3", "messages": HELLO}).encode()
    stream = raw.h2.get_next_available_stream_id()
    raw.h2.send_headers(stream, [(":method", "POST"), (":scheme", "http"), (":path", "/v1/chat/completions"),
                                 (":authority", "gateway"), *KEY])
    for i in range(0, len(body), 5):
        raw.h2.send_data(stream, body[i:i + 5], pad_length=i % 7)
        raw.send()
    raw.h2.send_headers(stream, [("x-checksum", "none")], end_stream=True)
    raw.send()
    assert raw.answer(stream)[0] == 200


def test_a_refusal_does_not_wait_for_the_body(raw, gateway):
    stream = raw.h2.get_next_available_stream_id()
    raw.h2.send_headers(stream, [(":method", "POST"), (":scheme", "http"), (":path", "/v1/chat/completions"),
                                 (":authority", "gateway"), ("authorization", "Bearer wrong"), ("content-length", "1000000")])
    raw.send()
    raw.until(h2.events.StreamReset, stream)
    head = dict(raw.until(h2.events.ResponseReceived, stream).headers)
    assert head[":status"] == "401" and raw.until(h2.events.StreamReset, stream).error_code == 0
    assert raw.answer(raw.chat())[0] == 200


def test_a_stream_that_is_reset_cancels_its_backend(start):
    simulator = Simulator("--chunk-ms", "50", "--chunks", "200", "--ttft-ms", "100")
    try:
        gateway = start(standard_config(simulator.port))
        client = RawClient(gateway)
        for model in ("llama-3", "claude-3-5-sonnet"):
            stream = client.chat(model, stream=True)
            client.until(h2.events.DataReceived, stream)
            assert simulator.running() == 1
            client.h2.reset_stream(stream, error_code=8)
            client.send()
            wait_for(lambda: simulator.running() == 0, 4)
        assert [row["status"] for row in gateway.rows()] == [499, 499]
        assert client.answer(client.ask("/v1/models", method="GET"))[0] == 200
        client.close()
    finally:
        simulator.stop()


def test_a_client_that_leaves_cancels_all_its_backends(start):
    simulator = Simulator("--chunk-ms", "50", "--chunks", "200")
    try:
        gateway = start(standard_config(simulator.port))
        client = RawClient(gateway)
        for _ in range(5):
            client.chat(stream=True)
        wait_for(lambda: simulator.running() == 5)
        client.close()
        wait_for(lambda: simulator.running() == 0, 4)
        assert [row["status"] for row in gateway.rows()] == [499] * 5
    finally:
        simulator.stop()


def test_a_stream_that_nobody_reads_stops_no_other(start):
    simulator = Simulator("--chunks", "20000")
    try:
        gateway = start(standard_config(simulator.port))
        client = RawClient(gateway)
        # Room for one stream only, which is then left unread.
        client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        client.h2.increment_flow_control_window(1 << 24)
        client.send()
        client.until(h2.events.SettingsAcknowledged)
        slow = client.chat(stream=True)
        client.until(h2.events.DataReceived, slow)
        fast = client.ask("/v1/models", method="GET")
        assert client.answer(fast)[0] == 200
        assert simulator.running() == 1
        client.close()
        wait_for(lambda: simulator.running() == 0, 4)
    finally:
        simulator.stop()


def frames(connection):
    """Frames as they come: (kind, flags, stream, payload). The `h2` library reads no stream to its end after GOAWAY."""
    received = b""
    while more := connection.recv(65536):
        received += more
        while len(received) >= 9 and len(received) >= 9 + int.from_bytes(received[:3], "big"):
            length = int.from_bytes(received[:3], "big")
            yield received[3], received[4], int.from_bytes(received[5:9], "big"), received[9:9 + length]
            received = received[9 + length:]


def test_a_drain_says_goaway_and_finishes_streams(start):
    simulator = Simulator("--chunk-ms", "60", "--chunks", "40")
    try:
        gateway = start(standard_config(simulator.port))
        busy, idle = RawClient(gateway), RawClient(gateway)
        stream = busy.chat(stream=True)
        idle.until(h2.events.RemoteSettingsChanged)
        wait_for(lambda: simulator.running() == 1)
        gateway.process.send_signal(signal.SIGTERM)
        assert idle.until(h2.events.ConnectionTerminated).error_code == 0
        idle.close()
        last, text = [], b""
        for kind, flags, number, payload in frames(busy.socket):
            if kind == 7:
                assert payload[4:8] == bytes(4)
                last.append(int.from_bytes(payload[:4], "big"))
            if kind == 0 and number == stream:
                text += payload
        # RFC 9113 section 6.8: first that there is an end, then which stream was the last one.
        assert last == [2 ** 31 - 1, stream]
        assert b"[DONE]" in text
        busy.close()
        assert gateway.process.wait(10) == 0
        assert [row["status"] for row in gateway.rows()] == [200]
    finally:
        simulator.stop()


def test_upgrade_to_h2c_is_ignored(gateway):
    body = json.dumps({"model": "llama-3", "messages": HELLO}).encode()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-demo\r\ncontent-type: application/json\r\n"
            b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(body), body))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_both_versions_at_once(gateway):
    """HTTP/1.1 and HTTP/2 clients of one port do not notice each other."""
    results = []

    def run(version):
        with httpx.Client(http1=version == 1, http2=version == 2, timeout=30) as client:
            for _ in range(20):
                answer = client.post(f"{gateway.url}/chat/completions", json={"model": "llama-3", "messages": HELLO}, headers=dict(KEY))
                results.append((answer.http_version, answer.status_code))

    threads = [threading.Thread(target=run, args=(1 + i % 2,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [("HTTP/1.1", 200)] * 60 + [("HTTP/2", 200)] * 60


def test_nghttp(gateway, tmp_path):
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"model": "llama-3", "messages": HELLO}))
    run = subprocess.run(
        ["nghttp", "-v", "-d", str(body), "-H", "authorization: Bearer sk-demo", "-H", "content-type: application/json",
         f"{gateway.url}/chat/completions"], capture_output=True, text=True, timeout=20)
    assert run.returncode == 0, run.stdout + run.stderr
    assert ":status: 200" in run.stdout and "chat.completion" in run.stdout
    assert "error_code=PROTOCOL_ERROR" not in run.stdout


def test_h2load(gateway, tmp_path):
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"model": "llama-3", "messages": HELLO}))
    run = subprocess.run(
        ["h2load", "-n", "400", "-c", "4", "-m", "16", "-d", str(body), "-H", "authorization: Bearer sk-demo",
         "-H", "content-type: application/json", f"{gateway.url}/chat/completions"], capture_output=True, text=True, timeout=60)
    assert "400 succeeded, 0 failed, 0 errored, 0 timeout" in run.stdout, run.stdout + run.stderr
    time.sleep(0.5)
    assert len(gateway.rows()) == 400
