"""Text that would be something else, wherever it is shown: one request is one line, and no label."""

import contextlib
import json
import re
import socket
import sqlite3

import httpx
import pytest

from conftest import standard_config, wait_for
from test_hostile import behind

CONTROLS = "".join(map(chr, range(0x20))) + "\x7f" + "".join(map(chr, range(0x80, 0xa0)))
TEXTS = [
    "line\nbreak\r\n", "quote\"back\\slash'", "\x1b[2J\x1b]0;title\x07", "\x9b31mred", "\u2028\u2029", "\u202eesrever\u2066",
    "'); DROP TABLE requests; --", 'a"} 1\nevil_metric{x="', "{\"request_id\": \"fake\"}", "%s%n%x", "${jndi:ldap://x}",
    "../../../etc/passwd", "<script>alert(1)</script>", "\ufeff\ufffe\U0010ffff", "\0", CONTROLS, "x" * 5000]
KEY = {"authorization": "Bearer sk-demo"}
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")


def raw(gateway, data):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as connection:
        connection.sendall(data)
        received = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            while more := connection.recv(65536):
                received += more
        return received


def field_names(answer):
    """The names of an answer's header, as a reader sees them who takes LF for a line end, too."""
    head = answer.split(b"\r\n\r\n", 1)[0].replace(b"\r\n", b"\n")
    return {line.split(b":")[0].lower() for line in head.split(b"\n")[1:]}


def read_back(gateway, requests):
    """Checks everything that people and programs read of at least so many requests."""
    wait_for(lambda: (gateway.folder / "access.log").read_bytes().count(b"\n") >= requests)
    log = (gateway.folder / "access.log").read_bytes()
    errors = (gateway.folder / "stderr.log").read_bytes()
    for text in (log, errors):
        assert not UNSAFE.search(text.decode()), UNSAFE.search(text.decode())
    metrics = gateway.admin("/metrics")
    assert not UNSAFE.search(metrics)
    for line in metrics.splitlines():
        assert re.fullmatch(r"#.*|[a-z_0-9]+(\{([a-z_0-9]+=\"[^\"\\]*\",?)*\})? [-+0-9.eEInfNa]+", line), line
    for word in ("evil", "DROP", "jndi", "passwd", "script", "title", "esrever"):
        assert word not in metrics, word
    return log.decode().splitlines()


@pytest.mark.parametrize("format", ["json", "text"])
def test_text_of_a_client_stays_text(start, simulator, format):
    gateway = start(standard_config(simulator.port) + f"log: {{format: {format}}}\n")
    asked = 0
    for text in TEXTS:
        for body in ({"model": text, "messages": []},
                     {"model": "llama-" + text, "user": text, "messages": [{"role": "user", "content": text}]},
                     {"model": "llama-3", "service_tier": text, "messages": [{"role": text, "content": text}]},
                     {"model": 3, text: text}):
            answer = httpx.post(f"{gateway.url}/chat/completions", json=body, headers=KEY, timeout=20)
            asked += 1
            assert answer.status_code in (200, 400, 404), answer.text
            answer.json()
            assert not UNSAFE.search("".join(f"{k}{v}" for k, v in answer.headers.items()))
    lines = read_back(gateway, asked)
    assert len(lines) == asked
    if format == "json":
        records = [json.loads(line) for line in lines]
        assert {record["model"] for record in records} >= {text for text in TEXTS if len(text) < 1000 and "\0" not in text}
        assert len({record["id"] for record in records}) == asked
    rows = gateway.rows()
    assert {row["user"] for row in rows} >= {text for text in TEXTS if len(text) < 1000 and "\0" not in text}
    with contextlib.closing(sqlite3.connect(gateway.folder / "state/ledger.sqlite")) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    assert json.loads(gateway.admin("/admin/usage?by=model"))


@pytest.mark.parametrize("place", ["path", "query", "key", "x-request-id", "traceparent", "content-type", "host", "name", "method"])
def test_bytes_of_a_head_stay_there(start, simulator, place):
    gateway = start(standard_config(simulator.port))
    body = b'{"model":"llama-3","messages":[{"role":"user","content":"hi"}]}'
    answers = []
    for text in [bytes([byte]) for byte in range(256)] + [text.encode() for text in TEXTS[:-2]]:
        value = {name: b"x" for name in ("x-request-id", "host", "traceparent")}
        value |= {"path": b"/v1/chat/completions", "key": b"sk-demo", "content-type": b"application/json", "name": b"x",
                  "method": b"POST"}
        value[place if place != "query" else "path"] = {
            "path": b"/v1/models/" + text, "query": b"/v1/chat/completions?" + text, "name": b"x" + text,
            "method": b"P" + text}.get(place, b"a" + text + b"b")
        answers.append(raw(gateway, b"%s %s HTTP/1.1\r\nhost: %s\r\nauthorization: Bearer %s\r\nx-request-id: %s\r\n"
                           b"traceparent: %s\r\ncontent-type: %s\r\n%s: y\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (
                               value["method"], value["path"], value["host"], value["key"], value["x-request-id"],
                               value["traceparent"], value["content-type"], value["name"], len(body), body)))
    known = {b"date", b"content-type", b"content-length", b"connection", b"x-request-id", b"allow", b"vary", b"www-authenticate", b"retry-after"}
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 ")
        assert {name for name in field_names(answer) if not name.startswith((b"x-sluice-", b"x-ratelimit-"))} <= known, answer
        json.loads(answer.split(b"\r\n\r\n", 1)[1])
    # What is no HTTP has no line.
    for line in read_back(gateway, 1):
        json.loads(line)


def test_text_of_a_backend_stays_text(start, upstream):
    gateway = start(behind(upstream))
    for text in TEXTS:
        error = {"error": {"message": text, "type": text, "param": text, "code": text}}
        for status in (400, 500):
            upstream.answer = lambda handler, body: handler.json(error, status)
            for model in ("m", "claude"):
                answer = httpx.post(f"{gateway.url}/chat/completions", json={"model": model, "messages": [
                    {"role": "user", "content": "hi"}]}, headers=KEY, timeout=20)
                assert answer.status_code in (status, 502), answer.text
                answer.json()
                assert not UNSAFE.search("".join(f"{k}{v}" for k, v in answer.headers.items()))
        done = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": text}],
                "service_tier": text, "model": text, "id": text}
        upstream.answer = lambda handler, body: handler.json(done)
        answer = httpx.post(f"{gateway.url}/chat/completions", json={"model": "m", "messages": []}, headers=KEY, timeout=20)
        assert answer.status_code == 200 and answer.json() == done
    for line in read_back(gateway, 5 * len(TEXTS)):
        json.loads(line)
    types = set(re.findall(r'error_type="([^"]*)"', gateway.admin("/metrics")))
    assert "_OTHER" in types and len(types) <= 4
