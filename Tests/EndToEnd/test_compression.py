"""Compressed bodies on both sides."""

import gzip
import json
import zlib

import httpx
import pytest

HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hello!"}]}
HEADERS = {"authorization": "Bearer sk-demo"}


def completion(length=20):
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "word " * (length // 5)}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}


def raw_deflate(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress, "raw": raw_deflate, "x-gzip": gzip.compress}


@pytest.fixture
def behind(start, upstream):
    return start(f"""
backends:
  b: {{kind: openai, url: "http://127.0.0.1:{upstream.port}/v1"}}
routes:
  - {{model: "m", targets: [{{backend: b}}]}}
tenants:
  - {{name: demo, keys: [{{value: sk-demo}}], models: ["*"]}}
""")


def ask(gateway, **options):
    headers = {**HEADERS, "accept-encoding": "identity", **options.pop("headers", {})}
    return httpx.post(gateway.url + "/chat/completions", json={**HELLO, **options}, headers=headers, timeout=10)


def send(handler, data, coding, status=200, content_type="application/json"):
    handler.send_response(status)
    handler.send_header("content-type", content_type)
    handler.send_header("content-encoding", "deflate" if coding == "raw" else coding)
    handler.send_header("content-length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


@pytest.mark.parametrize("coding", PACKERS)
def test_a_compressed_answer_is_read_and_passed_on(behind, upstream, coding):
    answer = completion(300_000)
    upstream.answer = lambda handler, body: send(handler, PACKERS[coding](json.dumps(answer).encode()), coding)
    response = ask(behind)
    assert response.status_code == 200 and "content-encoding" not in response.headers
    assert response.json() == answer
    row = behind.rows()[0]
    assert (row["input_tokens"], row["output_tokens"], row["usage_source"]) == (3, 4, "upstream")
    assert "accept-encoding" not in {name.lower() for name in upstream.requests[0][1]}


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_compressed_stream_is_read_as_it_comes(behind, upstream, coding):
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
        {"index": 0, "delta": {"content": "word "}, "finish_reason": None}]}
    last = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}

    def answer(handler, body):
        packer = zlib.compressobj(6, zlib.DEFLATED, 31 if coding == "gzip" else 15)
        handler.send_response(200)
        for name, value in (("content-type", "text/event-stream"), ("content-encoding", coding),
                            ("connection", "close")):
            handler.send_header(name, value)
        handler.end_headers()
        for value in [chunk] * 50 + [last, "[DONE]"]:
            text = value if isinstance(value, str) else json.dumps(value)
            data = packer.compress(f"data: {text}\n\n".encode()) + packer.flush(zlib.Z_SYNC_FLUSH)
            handler.wfile.write(data)
            handler.wfile.flush()
        handler.wfile.write(packer.flush())
        handler.close_connection = True

    upstream.answer = answer
    response = ask(behind, stream=True)
    assert response.text.count("word ") == 50
    assert response.text.endswith("data: [DONE]\n\n")


def test_a_compressed_error_keeps_its_message(behind, upstream):
    error = json.dumps({"error": {"message": "too many dogs", "type": "invalid_request_error", "param": None,
                                  "code": None}}).encode()
    upstream.answer = lambda handler, body: send(handler, gzip.compress(error), "gzip", 400)
    response = ask(behind)
    assert response.status_code == 400 and "too many dogs" in response.json()["error"]["message"]


@pytest.mark.parametrize("coding, data", [
    ("br", b"\x1b\x03\x00"), ("gzip", b"this is not gzip"), ("gzip, gzip", b"x"),
    ("gzip", gzip.compress(json.dumps(completion()).encode())[:-5]),
    ("gzip", gzip.compress(b" " * (64 << 20)))])
def test_what_cannot_be_read_is_told(behind, upstream, coding, data):
    upstream.answer = lambda handler, body: send(handler, data, coding)
    response = ask(behind)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_malformed"
    assert [row["status"] for row in behind.rows()] == [502]


@pytest.mark.parametrize("accepted, length, packed", [
    ("gzip, deflate", 100_000, True), ("gzip;q=0", 100_000, False), ("identity", 100_000, False),
    ("gzip, deflate", 1_000, False)])
def test_large_answers_are_compressed_when_asked_for(behind, upstream, accepted, length, packed):
    answer = completion(length)
    upstream.answer = lambda handler, body: handler.json(answer)
    with httpx.stream("POST", behind.url + "/chat/completions", json=HELLO,
                      headers={**HEADERS, "accept-encoding": accepted}) as response:
        data = b"".join(response.iter_raw())
        assert (response.headers.get("content-encoding") == "gzip") == packed
        assert (response.headers.get("vary") == "accept-encoding") == (length > 8192)
        assert int(response.headers["content-length"]) == len(data)
    assert json.loads(gzip.decompress(data) if packed else data) == answer
    assert behind.rows()[0]["response_bytes"] == len(data)


def test_the_sdk_reads_them(behind, upstream, client):
    upstream.answer = lambda handler, body: handler.json(completion(200_000))
    answer = client(behind).chat.completions.create(**HELLO)
    assert len(answer.choices[0].message.content) == 200_000
