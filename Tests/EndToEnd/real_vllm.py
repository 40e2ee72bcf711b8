"""Against a real vLLM (model name `tiny`): SLUICE_REAL_VLLM_URL=http://127.0.0.1:8000/v1 make real-vllm

Optional: SLUICE_REAL_VLLM_EMBED_URL names a server that makes embeddings; SLUICE_REAL_VLLM_KILL is a
command that kills the engine of the first one, which ends that server.
"""

import concurrent.futures
import json
import os
import re
import socket
import subprocess
import threading
import time

import openai
import pytest

from conftest import get, wait_for

URL = os.environ.get("SLUICE_REAL_VLLM_URL")
EMBED_URL = os.environ.get("SLUICE_REAL_VLLM_EMBED_URL")
KILL = os.environ.get("SLUICE_REAL_VLLM_KILL")
pytestmark = pytest.mark.skipif(not URL, reason="SLUICE_REAL_VLLM_URL is not set")
HELLO = [{"role": "user", "content": "the quick brown fox"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}}, "required": ["city"], "additionalProperties": False}


@pytest.fixture
def vllm(start, client):
    embed = f'  embed: {{kind: vllm, url: "{EMBED_URL or URL}"}}\n'
    gateway = start(f"""
backends:
  vllm: {{kind: vllm, url: "{URL}"}}
{embed}routes:
  - {{model: tiny, targets: [{{backend: vllm}}]}}
  - {{model: tiny-embed, targets: [{{backend: embed, model: tiny}}]}}
tenants:
  - {{name: t, keys: [{{value: sk-demo}}], models: ["*"]}}
prices: {{tiny: {{input: 1, output: 1}}}}
""")
    return gateway, client(gateway, timeout=120)


def engine(name):
    text = get(URL.removesuffix("/v1") + "/metrics")
    return sum(float(m) for m in re.findall(rf"^vllm:{name}(?:_total)?{{[^}}]*}} (\S+)$", text, re.M))


def test_chat_and_stream(vllm):
    gateway, client = vllm
    answer = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=8, temperature=0)
    assert answer.usage.completion_tokens <= 8
    chunks = list(client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=8, temperature=0, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage.completion_tokens == answer.usage.completion_tokens
    plain = list(client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=8, temperature=0, stream=True))
    assert not any(chunk.usage for chunk in plain) and all(chunk.choices for chunk in plain)
    assert [row["output_tokens"] for row in gateway.rows()] == [answer.usage.completion_tokens] * 3


def test_strict_tool_call(vllm):
    _, client = vllm
    tool = {"type": "function", "function": {"name": "get_weather", "strict": True, "parameters": SCHEMA}}
    choice = {"type": "function", "function": {"name": "get_weather"}}
    answer = client.chat.completions.create(
        model="tiny", messages=HELLO, tools=[tool], tool_choice=choice, max_tokens=200)
    call, = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather" and "city" in json.loads(call.function.arguments)


def test_structured_output(vllm):
    _, client = vllm
    answer = client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=200,
        response_format={"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}})
    assert "city" in json.loads(answer.choices[0].message.content)


@pytest.mark.skipif(not EMBED_URL, reason="SLUICE_REAL_VLLM_EMBED_URL is not set")
def test_embeddings(vllm):
    _, client = vllm
    answer = client.embeddings.create(model="tiny-embed", input=["one", "two"])
    assert len(answer.data) == 2 and answer.usage.prompt_tokens > 0


def test_errors(vllm):
    _, client = vllm
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="tiny", messages=HELLO, temperature=-1)
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model="tiny", messages=HELLO, extra_body={"guided_json": SCHEMA})
    assert error.value.param == "guided_json"
    if not EMBED_URL:
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="tiny-embed", input="x")


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_engine(vllm, stream):
    gateway, _ = vllm
    body = json.dumps({"model": "tiny", "messages": HELLO, "stream": stream, "max_tokens": 1900, "ignore_eos": True}).encode()
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-demo\r\n"
                           b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        wait_for(lambda: engine("num_requests_running") == 1)
    began = time.monotonic()
    wait_for(lambda: engine("num_requests_running") == 0, 5)
    took = time.monotonic() - began
    print(f"num_requests_running is 0 after {took * 1000:.0f} ms")
    assert took < 2
    assert gateway.rows()[-1]["status"] == 499


def test_token_counters_are_the_engines_own(vllm, client):
    gateway, _ = vllm
    before = engine("prompt_tokens"), engine("generation_tokens")

    def some(first):
        # A client for each thread: httpx shares no HTTP/2 connection among threads safely.
        mine = client(gateway, timeout=120)
        for index in range(first, 200, 8):
            one(mine, index)

    def one(client, index):
        messages = [{"role": "user", "content": f"{index} " * (1 + index % 50)}]
        limit = 1 + index % 12
        if index % 3 == 0:
            list(client.chat.completions.create(model="tiny", messages=messages, max_tokens=limit, stream=True))
        elif index % 3 == 1:
            client.completions.create(model="tiny", prompt=f"again {index}", max_tokens=limit)
        else:
            client.chat.completions.create(model="tiny", messages=messages, max_tokens=limit)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(some, range(8)))
    wait_for(lambda: engine("num_requests_running") == 0)
    time.sleep(1)  # the engine counts in steps
    counted = gateway.metric("sluice_tokens_total", kind="input"), gateway.metric("sluice_tokens_total", kind="output")
    made = engine("prompt_tokens") - before[0], engine("generation_tokens") - before[1]
    print(f"Sluice {counted}, vLLM {made}")
    assert counted == made
    assert len(gateway.rows()) == 200


# Once only: there is one engine to kill.
@pytest.mark.parametrize("version", ["http/1.1"], indirect=True)
@pytest.mark.skipif(not KILL, reason="SLUICE_REAL_VLLM_KILL is not set")
def test_zz_an_engine_killed_in_mid_stream_is_an_error(vllm):
    gateway, client = vllm
    stream = client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=1900, stream=True, extra_body={"ignore_eos": True})
    timer = threading.Timer(1.0, lambda: subprocess.run(KILL, shell=True, check=False))
    timer.start()
    with pytest.raises(openai.APIError):
        for _ in stream:
            pass
    row = gateway.rows()[-1]
    assert row["status"] >= 500 and row["output_tokens"] > 0
