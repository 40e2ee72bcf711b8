"""How answers end when something goes wrong, and how the process does."""

import json
import signal
import socket
import threading
import time

import httpx
import openai
import pytest

from conftest import Simulator, standard_config, wait_for
from test_sdk import HELLO


def chunk(content, finish=None):
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": {"content": content} if content else {}, "finish_reason": finish}]}


def stream_text(gateway, **version):
    body = {"model": "llama-3", "messages": HELLO, "stream": True}
    with httpx.Client(timeout=30, **version) as client:
        answer = client.post(f"{gateway.url}/chat/completions", json=body, headers={"authorization": "Bearer sk-demo"})
    return answer.status_code, answer.text


def test_a_cut_stream_ends_with_an_error_and_without_done(start, upstream, version):
    def cut(handler, body):
        handler.events()
        handler.event(chunk("half"))

    upstream.answer = cut
    gateway = start(standard_config(upstream.port))
    status, text = stream_text(gateway, **version)
    assert status == 200 and "half" in text and "[DONE]" not in text
    assert json.loads(text.strip().rsplit("data: ", 1)[1])["error"]["code"] == "upstream_incomplete"
    row, = gateway.rows()
    assert row["status"] == 502 and row["usage_source"] == "estimated" and row["output_tokens"] > 0


def test_an_error_chunk_before_done_is_believed_instead(start, upstream, version):
    def die(handler, body):
        handler.events()
        handler.event(chunk("half"))
        handler.event({"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "param": None, "code": 500}})
        handler.event("[DONE]")

    upstream.answer = die
    gateway = start(standard_config(upstream.port))
    _, text = stream_text(gateway, **version)
    assert "EngineCore" in text and "[DONE]" not in text
    assert gateway.metric("sluice_attempts_total", outcome="error_chunk") == 1


@pytest.mark.parametrize("status", [200, 302, 401, 429, 503, 529])
def test_an_early_failure_goes_to_another_target(start, upstream, simulator, client, status):
    upstream.answer = lambda handler, body: handler.json({"error": {"message": "no", "type": "x", "param": None, "code": None}}, status)
    gateway = start(standard_config(
        upstream.port, more_backends=f'  good: {{kind: vllm, url: "http://127.0.0.1:{simulator.port}/v1", api_key: {{value: backend-key}}}}\n',
        more_routes="  - {model: both, targets: [{backend: llama, weight: 1000000}, {backend: good}]}\n"))
    raw = client(gateway).chat.completions.with_raw_response.create(model="both", messages=HELLO)
    assert raw.headers["x-sluice-attempts"] == "2" and raw.headers["x-sluice-backend"] == "good"


def test_an_error_with_a_good_status_costs_nothing(start, upstream, client):
    upstream.answer = lambda handler, body: handler.json({"error": {"message": "no", "type": "x", "param": None, "code": None}})
    gateway = start(standard_config(upstream.port))
    with pytest.raises(openai.InternalServerError):
        client(gateway).chat.completions.create(model="llama-3", messages=HELLO)
    row, = gateway.rows()
    assert (row["status"], row["input_tokens"], row["output_tokens"], row["cost_nanousd"]) == (502, 0, 0, 0)


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":"%s"}' % ("y" * 70)}}
UNCOUNTED = {
    "llama-3": {"choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 80, "tool_calls": []}, "finish_reason": "stop"}]},
    "llama-4": {"choices": [{"index": i, "message": {"role": "assistant", "content": None, "tool_calls": [CALL]}} for i in (0, 1)], "usage": None},
    "claude-3-5-sonnet": {"output": {"message": {"role": "assistant", "content": [{"text": "word " * 80}]}}, "stopReason": "end_turn"},
}


@pytest.mark.parametrize("model", UNCOUNTED)
def test_an_answer_that_nobody_counted_costs_what_it_says(start, upstream, client, model):
    """Not what the client would have let it say."""
    upstream.answer = lambda handler, body: handler.json(UNCOUNTED[model])
    gateway = start(standard_config(upstream.port))
    client(gateway).chat.completions.create(model=model, messages=HELLO, max_tokens=4000)
    row, = gateway.rows()
    assert row["usage_source"] == "estimated" and row["input_tokens"] > 0 and 50 <= row["output_tokens"] <= 200
    assert row["cost_nanousd"] < 4e6


@pytest.mark.parametrize("clock,code", [("first_byte", "first_byte"), ("idle", "idle"), ("total", "total")])
def test_the_clocks(start, upstream, version, clock, code):
    def stall(handler, body):
        if clock == "idle":
            handler.events()
            handler.event(chunk("a"))
        time.sleep(3)

    upstream.answer = stall
    config = standard_config(upstream.port).replace(
        'api_key: {value: backend-key}}', f'api_key: {{value: backend-key}}, timeouts: {{{clock}: 300ms}}}}')
    gateway = start(config)
    began = time.monotonic()
    status, text = stream_text(gateway, **version)
    assert time.monotonic() - began < 2
    assert "upstream_timeout" in text and f"timeouts.{code}" in text
    assert status == (200 if clock == "idle" else 504)


def test_nobody_there(start, client):
    gateway = start(standard_config(1))
    with pytest.raises(openai.InternalServerError) as error:
        client(gateway).chat.completions.create(model="llama-3", messages=HELLO)
    assert error.value.status_code == 502 and error.value.code == "upstream_error"
    assert "could not be reached: Connection refused. (request id:" in error.value.message


def test_a_client_that_leaves_cancels_the_backend(start):
    simulator = Simulator("--chunk-ms", "50", "--chunks", "200", "--ttft-ms", "100")
    try:
        gateway = start(standard_config(simulator.port))
        for model, stream in [("llama-3", True), ("claude-3-5-sonnet", True), ("llama-3", False)]:
            body = json.dumps({"model": model, "messages": HELLO, "stream": stream}).encode()
            if not stream:
                simulator.stop()
                simulator = Simulator("--ttft-ms", "5000")
                gateway.write(standard_config(simulator.port))
                gateway.process.send_signal(signal.SIGHUP)
                wait_for(lambda: gateway.metric("sluice_config_reloads_total", result="applied") == 1)
            with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
                connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-demo\r\n"
                                   b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
                wait_for(lambda: simulator.running() == 1)
                if stream:
                    connection.recv(100)
            wait_for(lambda: simulator.running() == 0, 4)
        assert [row["status"] for row in gateway.rows()] == [499, 499, 499]
    finally:
        simulator.stop()


def test_a_drain_lets_a_stream_finish(start):
    simulator = Simulator("--chunk-ms", "40", "--chunks", "30")
    try:
        gateway = start(standard_config(simulator.port))
        result = []
        reader = threading.Thread(target=lambda: result.append(stream_text(gateway)))
        reader.start()
        wait_for(lambda: simulator.running() == 1)
        gateway.process.send_signal(signal.SIGTERM)
        reader.join()
        assert result[0][0] == 200 and "[DONE]" in result[0][1]
        assert gateway.process.wait(5) == 0
        assert [row["status"] for row in gateway.rows()] == [200]
    finally:
        simulator.stop()


def test_reload(start, simulator, client):
    gateway = start(standard_config(simulator.port))
    gateway.write("nonsense: true\n")
    gateway.process.send_signal(signal.SIGHUP)
    wait_for(lambda: gateway.metric("sluice_config_reloads_total", result="rejected") == 1)
    client(gateway).chat.completions.create(model="llama-3", messages=HELLO)
    gateway.write(standard_config(simulator.port).replace("sk-demo", "sk-other"))
    gateway.process.send_signal(signal.SIGHUP)
    wait_for(lambda: gateway.metric("sluice_config_reloads_total", result="applied") == 1)
    with pytest.raises(openai.AuthenticationError):
        client(gateway).chat.completions.create(model="llama-3", messages=HELLO)
    client(gateway, key="sk-other").chat.completions.create(model="llama-3", messages=HELLO)


def test_a_secret_file_is_read_again_when_it_changes(start, simulator, client, tmp_path):
    secret = tmp_path / "backend.key"
    secret.write_text("wrong\n")
    gateway = start(standard_config(simulator.port).replace("api_key: {value: backend-key}", "api_key: {file: backend.key}"))
    with pytest.raises(openai.InternalServerError) as error:
        client(gateway).chat.completions.create(model="llama-3", messages=HELLO)
    assert error.value.code == "upstream_authentication_failed"
    secret.write_text("backend-key\n")
    wait_for(lambda: gateway.metric("sluice_config_reloads_total", result="applied") == 1)
    client(gateway).chat.completions.create(model="llama-3", messages=HELLO)


def test_no_secret_shows_anywhere(gateway, client):
    client(gateway).chat.completions.create(model="llama-3", messages=HELLO, user='a"b\n\x00')
    client(gateway).chat.completions.create(model="claude-3-5-sonnet", messages=HELLO)
    config = gateway.admin("/admin/config")
    shown = config + gateway.admin("/metrics") + json.dumps(gateway.rows()) + json.dumps(gateway.log_lines())
    for secret in ("sk-demo", "backend-key", "simulator-secret-key"):
        assert secret not in shown
    assert "***" in config
    assert len(gateway.log_lines()) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_backend_that_repeats_our_credential_is_not_passed_on(start, upstream, stream):
    backend = (f'  keyed: {{kind: openai, url: "http://127.0.0.1:{upstream.port}/v1", api_key: {{value: key-of-us}}, '
               'headers: {x-token: Basic another-key}}\n')
    gateway = start(standard_config(
        upstream.port, more_backends=backend, more_routes="  - {model: keyed, targets: [{backend: keyed}]}\n"))

    def answer(handler, _):
        said = f'{handler.headers["authorization"]} and {handler.headers["x-token"]}'
        error = {"error": {"message": f"wrong: {said}", "type": said, "param": said, "code": said}}
        if not stream:
            return handler.json(error, 400)
        handler.events()
        handler.event(chunk("Hello"))
        handler.event(error)

    upstream.answer = answer
    shown = httpx.post(f"{gateway.url}/chat/completions", headers={"authorization": "Bearer sk-demo"},
                       json={"model": "keyed", "stream": stream, "messages": HELLO}).text
    assert "wrong: Bearer *** and Basic ***" in shown
    shown += json.dumps(gateway.rows()) + json.dumps(gateway.log_lines()) + gateway.admin("/metrics")
    assert "key-of-us" not in shown and "another-key" not in shown


def test_openmetrics(gateway):
    text = gateway.admin("/metrics", {"accept": "application/openmetrics-text; version=1.0.0"})
    assert text.endswith("# EOF\n") and "# TYPE sluice_requests counter" in text
