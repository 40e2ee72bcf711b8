"""HTTP/1.1 over a raw socket, TLS on both sides, and the commands."""

import datetime
import ipaddress
import json
import socket
import ssl
import subprocess
import time

import httpx
import openai
import pytest

from conftest import SLUICE, free_port, standard_config, wait_for
from test_sdk import HELLO


def talk(gateway, data, until=b"", seconds=5):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=seconds) as connection:
        connection.sendall(data)
        received = b""
        while True:
            try:
                more = connection.recv(65536)
            except TimeoutError:
                return received
            received += more
            if not more or until and received.count(until[0]) >= until[1]:
                return received


def chat(model="llama-3", extra=b"", framing=None):
    body = json.dumps({"model": model, "messages": HELLO}).encode()
    length = b"content-length: %d\r\n" % len(body)
    if framing == "chunked":
        length = b"transfer-encoding: chunked\r\n"
        body = b"".join(b"%x;x=y\r\n%s\r\n" % (len(body[i:i + 7]), body[i:i + 7]) for i in range(0, len(body), 7)) + b"0\r\nx: y\r\n\r\n"
    return (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-demo\r\n"
            b"content-type: application/json\r\n" + length + extra + b"\r\n" + body)


def test_pipelined_and_chunked_requests(gateway):
    answer = talk(gateway, chat() + chat(framing="chunked") + chat("claude-3-5-sonnet"), until=(b'"usage"', 3))
    assert answer.count(b"HTTP/1.1 200 OK") == 3


def test_expect_continue(gateway):
    request = chat(extra=b"expect: 100-continue\r\n")
    head, body = request.split(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_refusal_does_not_wait_for_the_body(gateway):
    head = (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer wrong\r\nexpect: 100-continue\r\n"
            b"content-type: application/json\r\ncontent-length: 1000000\r\n\r\n")
    answer = talk(gateway, head)
    assert answer.startswith(b"HTTP/1.1 401") and b"connection: close" in answer


@pytest.mark.parametrize("data,status", [
    (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc", 400),
    (b"GET / HTTP/1.1\r\nhost: x\r\nfolded: a\r\n b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: x\r\nnul: a\0b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/3.0\r\nhost: x\r\n\r\n", 505),
    (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nhost: x\r\nlong: " + b"a" * 70000 + b"\r\n\r\n", 431),
    (b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n", 405),
    (b"GET /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\r\n", 405),
    (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-demo\r\n\r\n", 411),
    (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-demo\r\ncontent-length: 99999999999\r\n\r\n", 413),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400)])
def test_bad_requests(gateway, data, status):
    answer = talk(gateway, data, seconds=4)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    head, body = answer.split(b"\r\n\r\n", 1)
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    [line] = gateway.log_lines()
    assert line["status"] == status and line["error_code"] == error["code"]
    assert b"\r\nx-request-id: %s\r\n" % line["request_id"].encode() in head
    assert error["message"].endswith(f" (request id: {line['request_id']})")


@pytest.mark.parametrize("field,status", [
    (b"content-length: 99999999999", 413), (b"content-type: text/plain\r\ncontent-length: 2\r\n\r\n{}", 415),
    (b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", 415), (b"accept: */*", 411),
    (b"transfer-encoding: chunked\r\n\r\nnonsense\r\n", 400),
])
def test_who_was_refused_is_known(gateway, field, status):
    answer = talk(gateway, b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-demo\r\n" + field + b"\r\n\r\n", seconds=4)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    [line] = gateway.log_lines()
    assert (line["tenant"], line["endpoint"]) == ("demo", "chat.completions") and line["key_id"]
    assert gateway.metric("sluice_requests_total", tenant="demo", status=status) == 1


def test_who_asks_for_models_is_known(gateway):
    for path in ("/models", "/models/ghost"):
        httpx.get(gateway.url + path, headers={"authorization": "Bearer sk-demo"})
    assert [(line["tenant"], line["status"]) for line in gateway.log_lines()] == [("demo", 200), ("demo", 404)]


def test_refusals_say_what_would_be_right(gateway):
    """RFC 9110 sections 15.5.2 and 15.5.6."""
    assert httpx.get(f"{gateway.url}/models").headers["www-authenticate"] == "Bearer"
    assert httpx.get(f"{gateway.url}/embeddings").headers["allow"] == "POST"
    admin = f"http://127.0.0.1:{gateway.admin_port}"
    for path, allowed in (("/metrics", "GET, HEAD"), ("/readyz", "GET, HEAD"), ("/admin/reload", "POST")):
        answer = httpx.request("DELETE", admin + path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_http_10_and_head(gateway):
    answer = talk(gateway, b"GET /v1/models HTTP/1.0\r\nauthorization: Bearer sk-demo\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200") and b"claude" in answer
    answer = talk(gateway, b"HEAD /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-demo\r\nconnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n\r\n")


def test_the_request_id_is_the_clients_if_it_is_sane(gateway):
    headers = {"authorization": "Bearer sk-demo"}
    sane = httpx.get(f"{gateway.url}/models", headers={**headers, "x-request-id": "my-id.1"})
    assert sane.headers["x-request-id"] == "my-id.1"
    odd = httpx.get(f"{gateway.url}/models", headers={**headers, "x-request-id": "a b<c>"})
    assert odd.headers["x-request-id"].startswith("req_")


def certificates(folder):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True).sign(key, hashes.SHA256()))
    (folder / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def test_tls_on_both_sides(start, simulator, tmp_path):
    """One listener speaks TLS; a second gateway's worth of routes goes through it as an upstream."""
    certificates(tmp_path)
    tls_port = free_port()
    listeners = ("listeners: [{address: 127.0.0.1:@PORT@}, {address: 127.0.0.1:%d, tls: {certificate: tls.crt, key: tls.key}}]\n" % tls_port)
    more = "".join(
        f'  {name}: {{kind: openai, url: "https://{host}:{tls_port}/v1", api_key: {{value: sk-demo}}{tls}}}\n'
        for name, host, tls in [("good", "localhost", ", tls: {ca: tls.crt}"), ("named", "127.0.0.1", ", tls: {ca: tls.crt, server_name: localhost}"),
                                ("unknown", "localhost", ""), ("misnamed", "localhost", ", tls: {ca: tls.crt, server_name: other.example}")])
    routes = "".join("  - {model: via-%s, targets: [{backend: %s, model: llama-3}]}\n" % (n, n) for n in ("good", "named", "unknown", "misnamed"))
    gateway = start(listeners + standard_config(simulator.port, more_backends=more, more_routes=routes))
    context = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
    secure = openai.OpenAI(base_url=f"https://127.0.0.1:{tls_port}/v1", api_key="sk-demo", max_retries=0,
                           http_client=httpx.Client(verify=context))
    for model in ("llama-3", "via-good", "via-named"):
        assert secure.chat.completions.create(model=model, messages=HELLO).choices[0].message.content
        assert list(secure.chat.completions.create(model=model, messages=HELLO, stream=True))
    for model in ("via-unknown", "via-misnamed"):
        with pytest.raises(openai.InternalServerError) as error:
            secure.chat.completions.create(model=model, messages=HELLO)
        assert error.value.status_code == 502 and "TLS" in error.value.message
    large = "x" * 300_000
    body = [{"role": "user", "content": large}]
    assert secure.chat.completions.create(model="via-good", messages=body).usage.prompt_tokens > 70_000


def test_many_clients_at_once(gateway):
    async def run():
        client = openai.AsyncOpenAI(base_url=gateway.url, api_key="sk-demo", max_retries=0)
        import asyncio
        answers = await asyncio.gather(*(
            client.chat.completions.create(model=["llama-3", "claude-3-5-sonnet"][i % 2], messages=HELLO) for i in range(200)))
        return sum(a.usage.total_tokens for a in answers)

    import asyncio
    total = asyncio.run(run())
    rows = gateway.rows()
    assert len(rows) == 200 and sum(r["input_tokens"] + r["output_tokens"] for r in rows) == total
    assert gateway.admin("/metrics").split("sluice_requests_in_flight ")[-1].split()[0] == "0"


def run(*arguments, **options):
    return subprocess.run([SLUICE, *arguments], **{"capture_output": True, "text": True, "timeout": 20, **options})


def test_who_looks_at_the_usage_needs_none_of_the_gateways_secrets(start, simulator):
    tenants = '  - {name: demo, keys: [{env: SLUICE_TEST_KEY}], models: ["*"]}\n'
    gateway = start(standard_config(simulator.port, tenants=tenants), environment={"SLUICE_TEST_KEY": "sk-demo"})
    report = run("usage", "--format", "json", "--config", str(gateway.config))
    assert report.returncode == 0 and json.loads(report.stdout)["groups"] == [], report.stderr
    assert run("check", "--config", str(gateway.config)).returncode == 1


def test_commands(gateway, client, tmp_path):
    client(gateway).chat.completions.create(model="llama-3", messages=HELLO)
    time.sleep(0.2)
    config = str(gateway.config)
    usage = json.loads(run("usage", "--format", "json", "--config", config).stdout)
    assert usage["groups"][0]["tenant"] == "demo" and usage["groups"][0]["requests"] == 1
    assert "cost_usd" in run("usage", "--config", config).stdout
    # Bytes: in text, CR LF would come as LF.
    csv = run("usage", "--format", "csv", "--by", "backend", "--config", config, text=False).stdout
    assert csv.startswith(b"backend,requests") and csv.endswith(b"\r\n") and csv.count(b"\n") == 2
    assert run("usage", "--by", "colour", "--config", config).returncode == 1
    assert run("check", "--config", config).returncode == 0
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("bakends: {}\nworkers: x\n")
    checked = run("check", "--config", str(wrong))
    assert checked.returncode == 1
    assert f"{wrong}:1:1: error:" in checked.stderr and f"{wrong}:2:10: error:" in checked.stderr
    assert "" not in checked.stderr.splitlines()
    assert run("serve", "--config", str(wrong)).returncode == 1
    wrong.write_text("state: ./nowhere\n")
    empty = run("usage", "--config", wrong.name, cwd=tmp_path)
    assert empty.returncode == 3 and "the ledger ./nowhere/ledger.sqlite" in empty.stderr and "serve" in empty.stderr
    assert run("serve", "--no-such-option").returncode == 2
    assert run("--help").returncode == 0 and run("serve", "--help").returncode == 0
    key, line = run("key").stdout.splitlines()
    import hashlib
    assert key.startswith("sk-sluice-") and hashlib.sha256(key.encode()).hexdigest() in line
