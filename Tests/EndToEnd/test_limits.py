"""Limits of the real binary: many clients at once, streams that are cut, restarts."""

import concurrent.futures
import json
import signal
import socket
import time
import urllib.request

import h2.config
import h2.connection
import h2.events
import httpx
import openai
import pytest

from conftest import Simulator, standard_config, wait_for
from test_sdk import CHAT_MODELS, HELLO


def limited(limits):
    return f'  - {{name: demo, keys: [{{value: sk-demo}}], models: ["*"], limits: [{limits}]}}\n'


def plain_metric(gateway, name):
    line, = (line for line in gateway.admin("/metrics").splitlines() if line.startswith(name + " "))
    return float(line.split()[1])


@pytest.fixture(scope="module")
def talker():
    simulator = Simulator("--chunks", "3000", "--chunk-ms", "1")
    yield simulator
    simulator.stop()


def test_64_clients_share_a_limit(start, talker):
    gateway = start(standard_config(talker.port, tenants=limited("{tokens: 100k, per: minute}")))
    body = {"model": "llama-3", "messages": HELLO, "max_tokens": 500}
    began = time.monotonic()

    def ask_often(number):
        answers = []
        with httpx.Client(headers={"authorization": "Bearer sk-demo"}, timeout=60) as client:
            for index in range(6):
                stream = (number + index) % 2 == 0
                answer = client.post(f"{gateway.url}/chat/completions", json={**body, "stream": stream})
                answers.append((answer.status_code, answer.text, answer.headers))
        return answers

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        answers = [answer for some in pool.map(ask_often, range(64)) for answer in some]
    seconds = time.monotonic() - began
    assert {status for status, _, _ in answers} == {200, 429}
    for status, text, headers in answers:
        if status == 429:
            assert json.loads(text)["error"]["code"] == "rate_limit_exceeded"
            assert "tokens/minute" in text and 1 <= int(headers["retry-after"]) <= 60
    rows = gateway.rows()
    assert len(rows) == sum(status == 200 for status, _, _ in answers)
    used = sum(row["input_tokens"] + row["output_tokens"] for row in rows)
    # Every answer is as long as was reserved, so nothing goes beyond; and what fitted got in.
    assert used <= 100_000 + seconds * 100_000 / 60
    assert used >= 98_000
    assert gateway.metric("sluice_limit_reserved", tenant="demo", limit="tokens/minute") == 0
    assert 0 < gateway.metric("sluice_limit_used", tenant="demo", limit="tokens/minute") <= 100_000
    assert plain_metric(gateway, "sluice_reservation_imbalance") == 0


@CHAT_MODELS
def test_a_stream_is_cut_as_if_the_model_had_reached_its_length(start, talker, client, model):
    gateway = start(standard_config(talker.port, tenants=limited("{tokens: 500, per: minute, on_exceed: cut}")))
    chat = client(gateway).chat.completions
    chunks = list(chat.create(model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}))
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    assert reasons == ["length"]
    assert len({c.id for c in chunks}) == 1 and len({c.model for c in chunks}) == 1
    usage, = (c.usage for c in chunks if c.usage)
    assert 300 <= usage.total_tokens <= 600
    wait_for(lambda: talker.running() == 0)
    row, = gateway.rows()
    assert (row["status"], row["finish_reason"], row["error_code"]) == (200, "length", "limit_cut")
    assert row["input_tokens"] + row["output_tokens"] == usage.total_tokens
    assert gateway.metric("sluice_limit_cuts_total", tenant="demo", limit="tokens/minute") == 1
    with pytest.raises(openai.RateLimitError):
        chat.create(model=model, messages=HELLO)


def test_the_trailer_names_the_limit(start, talker):
    gateway = start(standard_config(talker.port, tenants=limited("{tokens: 500, per: minute, on_exceed: cut}")))
    body = json.dumps({"model": "llama-3", "messages": HELLO, "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-demo\r\n"
                       b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        received = b""
        while piece := client.recv(65536):
            received += piece
    assert b"\r\ntrailer: x-sluice-cut\r\n" in received
    assert received.endswith(b"data: [DONE]\n\n\r\n0\r\nx-sluice-cut: tokens/minute\r\n\r\n")


def test_the_trailer_over_http2(start, talker):
    gateway = start(standard_config(talker.port, tenants=limited("{tokens: 500, per: minute, on_exceed: cut}")))
    body = json.dumps({"model": "claude-3-5-sonnet", "messages": HELLO, "stream": True}).encode()
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    connection.send_headers(1, [(":method", "POST"), (":scheme", "http"), (":authority", "x"),
                                (":path", "/v1/chat/completions"), ("authorization", "Bearer sk-demo"),
                                ("content-length", str(len(body)))])
    connection.send_data(1, body, end_stream=True)
    seen = []
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as client:
        while not any(isinstance(event, h2.events.StreamEnded) for event in seen):
            client.sendall(connection.data_to_send())
            events = connection.receive_data(client.recv(65536))
            for event in events:
                if isinstance(event, h2.events.DataReceived):
                    connection.acknowledge_received_data(event.flow_controlled_length, 1)
            seen += events
    trailers, = (event.headers for event in seen if isinstance(event, h2.events.TrailersReceived))
    assert [tuple(trailer) for trailer in trailers] == [("x-sluice-cut", "tokens/minute")]
    text = b"".join(event.data for event in seen if isinstance(event, h2.events.DataReceived))
    assert text.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_calendar_windows_survive_a_restart(start, simulator, client, ending):
    limits = "{requests: 10, per: day}, {tokens: 10k, per: month}, {output_tokens: 5k, per: day, by: user}, {usd: 1, per: month}"
    config = standard_config(simulator.port, tenants=limited(limits))
    first = start(config)
    for user in ["alice", "bob", "alice"]:
        client(first).chat.completions.create(model="llama-3", messages=HELLO, user=user)
    names = ["requests/day", "tokens/month", "output_tokens/day/user", "usd/month"]
    before = [first.metric("sluice_limit_used", limit=name) for name in names]
    assert before[0] == 3 and all(before)
    first.rows()  # lets the ledger's batch be written
    first.process.send_signal(ending)
    first.process.wait(40)
    second = start(config)
    assert [second.metric("sluice_limit_used", limit=name) for name in names] == before
    answer = client(second).chat.completions.with_raw_response.create(model="llama-3", messages=HELLO)
    assert answer.headers["x-ratelimit-remaining-requests"] == "6"


def test_a_limit_that_a_reload_brings_knows_the_day(start, simulator, client):
    gateway = start(standard_config(simulator.port))
    chat = client(gateway).chat.completions
    for _ in range(3):
        chat.create(model="llama-3", messages=HELLO)
    gateway.rows()
    gateway.write(standard_config(simulator.port, tenants=limited("{requests: 4, per: day}")))
    request = urllib.request.Request(f"http://127.0.0.1:{gateway.admin_port}/admin/reload", method="POST")
    urllib.request.urlopen(request, timeout=5).close()
    chat.create(model="llama-3", messages=HELLO)
    with pytest.raises(openai.RateLimitError) as error:
        chat.create(model="llama-3", messages=HELLO)
    assert error.value.code == "insufficient_quota"
    assert gateway.metric("sluice_limit_used", limit="requests/day") == 4
