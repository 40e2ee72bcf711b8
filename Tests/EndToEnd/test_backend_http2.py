"""HTTP/2 towards backends: the simulator by prior knowledge, and another server by ALPN."""

import asyncio
import json
import socket
import subprocess
import threading
import time

import httpx
import hypercorn.asyncio
import hypercorn.config
import openai
import pytest

from conftest import Simulator, free_port, standard_config, wait_for

HELLO = [{"role": "user", "content": "Hello!"}]


def over_http2(config):
    """The standard configuration with HTTP/2 to all its backends."""
    return config.replace("    region: eu-central-1", "    http: 2\n    region: eu-central-1").replace(
        "kind: vllm,", "kind: vllm, http: 2,")


def test_every_kind_of_call_passes(start, simulator, client):
    gateway = start(over_http2(standard_config(simulator.port)))
    sdk = client(gateway)
    for model in ("llama-3", "claude-3-5-sonnet"):
        whole = sdk.chat.completions.create(model=model, messages=HELLO)
        assert whole.choices[0].message.content
        streamed = sdk.chat.completions.create(
            model=model, messages=HELLO, stream=True, stream_options={"include_usage": True})
        chunks = list(streamed)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    vectors = sdk.embeddings.create(model="titan", input=["one", "two", "three"]).data
    assert [vector.index for vector in vectors] == [0, 1, 2]
    assert [row["usage_source"] for row in gateway.rows()] == ["upstream"] * 5


def test_fifty_streams_at_once_share_connections(start, client):
    # Streams that outlast the start of fifty clients on a busy machine.
    simulator = Simulator("--chunk-ms", "150", "--chunks", "70")
    try:
        gateway, texts = start(over_http2(standard_config(simulator.port))), []

        def ask():
            # A client for each thread: httpx shares no HTTP/2 connection among threads safely.
            stream = client(gateway).chat.completions.create(model="llama-3", messages=HELLO, stream=True)
            texts.append("".join(chunk.choices[0].delta.content or "" for chunk in stream))

        threads = [threading.Thread(target=ask) for _ in range(50)]
        for thread in threads:
            thread.start()
        wait_for(lambda: simulator.running() == 50)
        # One connection for each event loop, and a few made before it was known that they can be shared.
        assert gateway.metric("sluice_connections", side="upstream") <= 4
        for thread in threads:
            thread.join()
        assert len(set(texts)) == 1 and len(texts) == 50
        assert len(gateway.rows()) == 50
    finally:
        simulator.stop()


def test_a_client_that_leaves_cancels_its_stream(start):
    simulator = Simulator("--chunk-ms", "100", "--chunks", "200")
    try:
        gateway = start(over_http2(standard_config(simulator.port)))
        body = {"model": "llama-3", "messages": HELLO, "stream": True}
        with httpx.stream("POST", gateway.url + "/chat/completions", json=body,
                          headers={"authorization": "Bearer sk-demo"}) as answer:
            pieces = answer.iter_raw()
            next(pieces)
            assert simulator.running() == 1
        wait_for(lambda: simulator.running() == 0)
        wait_for(lambda: [row["status"] for row in gateway.rows()] == [499])
    finally:
        simulator.stop()


class Hypercorn:
    """Another HTTP/2 server: `answer(scope, body, send)` is the application."""

    def __init__(self, folder, answer, alpn):
        self.port, self.versions, self.connections = free_port(), [], set()
        self.certificate, key = folder / "hypercorn.crt", folder / "hypercorn.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", key, "-out", self.certificate, "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
        config = hypercorn.config.Config()
        config.bind = [f"127.0.0.1:{self.port}"]
        config.certfile, config.keyfile = str(self.certificate), str(key)
        config.alpn_protocols = alpn
        config.errorlog = config.accesslog = None

        async def application(scope, receive, send):
            if scope["type"] != "http":
                return
            body = b""
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            self.versions.append(scope["http_version"])
            self.connections.add(scope["client"])
            await answer(scope, json.loads(body), send)

        self.loop = asyncio.new_event_loop()
        self.ended = asyncio.Event()
        self.thread = threading.Thread(target=self.run, args=(application, config), daemon=True)
        self.thread.start()
        wait_for(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() or True)

    def run(self, application, config):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(
            hypercorn.asyncio.serve(application, config, shutdown_trigger=self.ended.wait))

    def stop(self):
        self.loop.call_soon_threadsafe(self.ended.set)
        self.thread.join(5)


async def completion(scope, body, send):
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "x" * 200_000}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


@pytest.mark.parametrize("alpn, http, agreed", [
    (["h2", "http/1.1"], "auto", "2"), (["http/1.1"], "auto", "1.1"), (["h2", "http/1.1"], "1", "1.1"),
    (["h2"], "2", "2"), (["http/1.1"], "2", None)])
def test_the_version_is_agreed_by_alpn(start, client, tmp_path, alpn, http, agreed):
    server = Hypercorn(tmp_path, completion, alpn)
    try:
        server.versions.clear()
        gateway = start(f"""
backends:
  other: {{kind: openai, url: "https://localhost:{server.port}/v1", http: {http}, tls: {{ca: {server.certificate}}}}}
routes:
  - {{model: "*", targets: [{{backend: other}}]}}
tenants:
  - {{name: demo, keys: [{{value: sk-demo}}], models: ["*"]}}
""")
        if agreed is None:
            with pytest.raises(openai.InternalServerError) as failure:
                client(gateway).chat.completions.create(model="m", messages=HELLO)
            assert "ALPN" in failure.value.message
            return
        for _ in range(6):
            answer = client(gateway).chat.completions.create(model="m", messages=HELLO)
            assert len(answer.choices[0].message.content) == 200_000
        assert server.versions == [agreed] * 6
    finally:
        server.stop()


def test_a_server_that_goes_away_is_not_noticed(start, client, tmp_path):
    """Each connection serves a few requests and then says GOAWAY."""
    server = Hypercorn(tmp_path, completion, ["h2"])
    try:
        gateway = start(f"""
backends:
  other: {{kind: openai, url: "https://localhost:{server.port}/v1", tls: {{ca: {server.certificate}}}}}
routes:
  - {{model: "*", targets: [{{backend: other}}]}}
tenants:
  - {{name: demo, keys: [{{value: sk-demo}}], models: ["*"]}}
""")
        sdk = client(gateway)
        for _ in range(5):
            sdk.chat.completions.create(model="m", messages=HELLO)
        time.sleep(6)  # hypercorn ends idle connections after five seconds
        for _ in range(5):
            sdk.chat.completions.create(model="m", messages=HELLO)
        assert [row["status"] for row in gateway.rows()] == [200] * 10
    finally:
        server.stop()
