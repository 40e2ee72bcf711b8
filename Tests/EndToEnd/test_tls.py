"""TLS with the real binary: who clients are, new certificates under load, sessions, and backends that ask who we are."""

import contextlib
import datetime
import hashlib
import ipaddress
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

import httpx
import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from conftest import SLUICE, Upstream, standard_config, wait_for
from test_sdk import HELLO

CHAT = {"model": "llama-3", "messages": HELLO}
OIDS = {"CN": x509.oid.NameOID.COMMON_NAME, "O": x509.oid.NameOID.ORGANIZATION_NAME}
ANSWER = {"id": "c", "object": "chat.completion", "created": 1, "model": "m",
          "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
          "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}


class Authority:
    """Issues certificates for tests into a folder."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, self.subject({"CN": name})
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.write(name, self.make(self.name, self.private, is_authority=True), self.private)
        self.path = str(folder / f"{name}.crt")

    @staticmethod
    def subject(parts):
        return x509.Name([x509.NameAttribute(OIDS[kind], text) for kind, text in parts.items()])

    def make(self, subject, key, is_authority=False):
        now = datetime.datetime.now(datetime.timezone.utc)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30)).add_extension(x509.SubjectAlternativeName(names), False)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), True).sign(self.private, hashes.SHA256()))

    def issue(self, file, **parts):
        """Writes FILE.crt and FILE.key; returns their paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.make(self.subject(parts or {"CN": "localhost"}), key)
        self.write(file, certificate, key)
        return str(self.folder / f"{file}.crt"), str(self.folder / f"{file}.key")

    def write(self, file, certificate, key):
        (self.folder / f"{file}.key").write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        (self.folder / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, pair=None, version=None):
        context = ssl.create_default_context(cafile=self.path)
        if pair:
            context.load_cert_chain(*pair)
        if version:
            context.minimum_version = context.maximum_version = version
        return context


@pytest.fixture
def servers(tmp_path):
    authority = Authority(tmp_path, "servers")
    authority.issue("server")
    return authority


@pytest.fixture
def clients(tmp_path):
    return Authority(tmp_path, "clients")


TENANTS = """  - {name: demo, keys: [{value: sk-demo}], models: ["*"]}
  - {name: team-a, keys: [{client_certificate: "CN=team-a,O=Example"}], models: ["*"]}
  - {name: team-b, keys: [{client_certificate: CN=team-b}], models: ["*"]}
"""


def secure_config(simulator, client_ca=None, tenants=None, head="", **options):
    more = f", client_ca: {client_ca}" if client_ca else ""
    listener = "{address: 127.0.0.1:@PORT@, tls: {certificate: server.crt, key: server.key%s}}" % more
    return f"{head}listeners: [{listener}]\n" + standard_config(simulator.port, tenants=tenants, **options)


def url(gateway, path="/v1/chat/completions"):
    return f"https://127.0.0.1:{gateway.port}{path}"


def reloads(gateway, result):
    return gateway.metric("sluice_config_reloads_total", result=result)


# Clients


@pytest.mark.parametrize("http2", [False, True])
def test_the_sdk_over_tls(start, simulator, servers, http2):
    gateway = start(secure_config(simulator))
    versions = set()
    http = httpx.Client(verify=servers.context(), http2=http2,
                        event_hooks={"response": [lambda answer: versions.add(answer.http_version)]})
    client = openai.OpenAI(base_url=url(gateway, "/v1"), api_key="sk-demo", max_retries=0, http_client=http)
    for model in ("llama-3", "claude-3-5-sonnet"):
        assert client.chat.completions.create(model=model, messages=HELLO).choices[0].message.content
        assert list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
    assert versions == {"HTTP/2" if http2 else "HTTP/1.1"}


@pytest.mark.parametrize("http2", [False, True])
def test_a_certificate_stands_for_a_tenant(start, simulator, servers, clients, http2):
    gateway = start(secure_config(simulator, "clients.crt", TENANTS))

    def ask(pair, **headers):
        with httpx.Client(verify=servers.context(pair), http2=http2) as client:
            return [client.post(url(gateway), json=CHAT, headers=headers) for _ in range(2)]

    team_a = clients.issue("a", O="Example", CN="team-a")
    team_b = clients.issue("b", O="Whoever", CN="team-b")
    for pair, headers, tenant, subject in [
            (team_a, {}, "team-a", "CN=team-a,O=Example"), (team_b, {}, "team-b", "CN=team-b,O=Whoever"),
            (team_a, {"authorization": "Bearer sk-demo"}, "demo", None)]:
        before = len(gateway.rows())
        assert [answer.status_code for answer in ask(pair, **headers)] == [200, 200]
        rows = gateway.rows()[before:]
        key_id = hashlib.sha256(subject.encode() if subject else b"sk-demo").hexdigest()[:12]
        assert [(row["tenant"], row["key_id"]) for row in rows] == [(tenant, key_id)] * 2
    for answer in ask(team_a, **{"api-key": "unknown"}):
        assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"
    for parts in ({"CN": "team-a"}, {"CN": "team-a,O=Example"}, {"O": "Example", "CN": "team-ab"}):
        for answer in ask(clients.issue("other", **parts)):
            assert answer.status_code == 401 and "certificate" in answer.json()["error"]["message"]


def test_who_cannot_prove_a_name_does_not_come_in(start, simulator, servers, clients, tmp_path):
    gateway = start(secure_config(simulator, "clients.crt", TENANTS))
    strangers = Authority(tmp_path, "strangers")
    forged = strangers.issue("forged", O="Example", CN="team-a")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for pair in (None, forged):
            with pytest.raises(httpx.TransportError):
                httpx.post(url(gateway), json=CHAT, verify=servers.context(pair, version),
                           headers={"authorization": "Bearer sk-demo"})
    assert gateway.rows() == []


# New certificates


class Load:
    """Asks all the time: on new connections, and on one that is kept."""

    def __init__(self, gateway, context):
        self.failures, self.count, self.stopped = [], 0, False
        self.threads = [threading.Thread(target=self.run, args=(gateway, context, kept)) for kept in (False, False, True)]
        for thread in self.threads:
            thread.start()

    def run(self, gateway, context, kept):
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(httpx.Client(verify=context)) if kept else None
            while not self.stopped:
                try:
                    options = {"json": CHAT, "headers": {"authorization": "Bearer sk-demo"}}
                    answer = client.post(url(gateway), **options) if client else httpx.post(url(gateway), verify=context, **options)
                    answer.raise_for_status()
                    self.count += 1
                except Exception as error:
                    self.failures.append(repr(error))

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join()


def serial(gateway, context):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as raw:
        with context.wrap_socket(raw, server_hostname="localhost") as secure:
            return int(secure.getpeercert()["serialNumber"], 16)


def serial_of(path):
    with open(path, "rb") as file:
        return x509.load_pem_x509_certificate(file.read()).serial_number


def test_a_new_certificate_under_load(start, simulator, servers):
    gateway = start(secure_config(simulator, head="workers: 2\n"))
    context = servers.context()
    assert serial(gateway, context) == serial_of(gateway.folder / "server.crt")
    load = Load(gateway, context)

    def post_reload():
        request = urllib.request.Request(f"http://127.0.0.1:{gateway.admin_port}/admin/reload", method="POST")
        assert urllib.request.urlopen(request, timeout=5).status == 200

    try:
        for take_over in (lambda: None, lambda: gateway.process.send_signal(signal.SIGHUP), post_reload):
            before = load.count
            servers.issue("server")
            take_over()
            expected = serial_of(gateway.folder / "server.crt")
            # Each worker has taken it over when many connections in a row have it.
            wait_for(lambda: all(serial(gateway, context) == expected for _ in range(8)))
            wait_for(lambda: load.count > before + 10, seconds=30)
    finally:
        load.stop()
    assert load.failures == [] and load.count > 30
    assert reloads(gateway, "rejected") == 0


def test_a_wrong_pair_changes_nothing(start, simulator, servers, tmp_path):
    gateway = start(secure_config(simulator))
    context, before = servers.context(), serial_of(tmp_path / "server.crt")
    old_key = (tmp_path / "server.key").read_bytes()
    servers.issue("server")
    new_key = (tmp_path / "server.key").read_bytes()
    (tmp_path / "server.key").write_bytes(old_key)
    wait_for(lambda: reloads(gateway, "rejected") == 1)
    assert serial(gateway, context) == before
    gateway.wait_until_told("server.key: the key does not belong to the certificate")
    time.sleep(2.5)  # two more looks at the files
    assert reloads(gateway, "rejected") == 1
    gateway.process.send_signal(signal.SIGHUP)
    wait_for(lambda: reloads(gateway, "rejected") == 2)
    assert serial(gateway, context) == before
    (tmp_path / "server.key").write_bytes(new_key)
    wait_for(lambda: reloads(gateway, "applied") == 1)
    wait_for(lambda: serial(gateway, context) == serial_of(tmp_path / "server.crt"))


def test_a_new_client_ca_is_for_new_connections(start, simulator, servers, clients, tmp_path):
    gateway = start(secure_config(simulator, "clients.crt", TENANTS))
    pair = clients.issue("a", O="Example", CN="team-a")
    with httpx.Client(verify=servers.context(pair)) as kept:
        assert kept.post(url(gateway), json=CHAT).status_code == 200
        Authority(tmp_path, "clients")  # another one of the same name
        wait_for(lambda: reloads(gateway, "applied") == 1)
        assert kept.post(url(gateway), json=CHAT).status_code == 200

        def is_refused():
            try:
                httpx.post(url(gateway), json=CHAT, verify=servers.context(pair))
            except httpx.TransportError:
                return True

        wait_for(is_refused)


# Sessions


def connect(gateway, context, session=None):
    """One request; whether the session was resumed, the session, and the status line."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as raw:
        with context.wrap_socket(raw, server_hostname="localhost", session=session) as secure:
            secure.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
            line = secure.recv(65536).split(b"\r\n")[0]
            return secure.session_reused, secure.session, line


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed_by_every_worker_and_across_a_reload(start, simulator, servers, clients, tmp_path, version):
    gateway = start(secure_config(simulator, "clients.crt", TENANTS, head="workers: 2\n"))
    context = servers.context(clients.issue("a", O="Example", CN="team-a"), version)
    resumed, session, line = connect(gateway, context)
    assert not resumed and line == b"HTTP/1.1 200 OK"
    for _ in range(12):
        resumed, session, line = connect(gateway, context, session)
        assert resumed and line == b"HTTP/1.1 200 OK"
    servers.issue("server")
    wait_for(lambda: reloads(gateway, "applied") == 1)
    wait_for(lambda: serial(gateway, context) == serial_of(tmp_path / "server.crt"))
    resumed, session, line = connect(gateway, context, session)
    assert resumed and line == b"HTTP/1.1 200 OK"
    # Authorities that no longer vouch for the client end its sessions too.
    Authority(tmp_path, "clients")
    wait_for(lambda: reloads(gateway, "applied") == 2)

    def is_refused():
        try:
            assert connect(gateway, context, session)[2] == b"HTTP/1.1 200 OK"
        except (ssl.SSLError, ConnectionResetError):
            return True

    wait_for(is_refused)


def s_client(gateway, *options, text=b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", commands=False):
    more = [] if commands else ["-ign_eof"]
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", *more, *options], input=text, capture_output=True, timeout=20)
    return (done.stdout + done.stderr).decode(errors="replace")


def test_what_openssl_sees(start, simulator, servers, tmp_path):
    gateway = start(secure_config(simulator))
    session, early = str(tmp_path / "session.pem"), tmp_path / "early"
    first = s_client(gateway, "-tls1_3", "-sess_out", session)
    assert "New, TLSv1.3" in first and "Compression: NONE" in first and "Max Early Data: 0" in first
    assert "Reused, TLSv1.3" in s_client(gateway, "-tls1_3", "-sess_in", session)
    early.write_text("early")
    s_client(gateway, "-tls1_3", "-sess_out", session)
    assert "Early data was not sent" in s_client(gateway, "-tls1_3", "-sess_in", session, "-early_data", str(early))
    again = s_client(gateway, "-tls1_2", "-reconnect")
    assert again.count("Reused, TLSv1.2") == 5 and "Secure Renegotiation IS supported" in again
    for version in ("-tls1", "-tls1_1"):
        refused = s_client(gateway, version, "-cipher", "ALL:@SECLEVEL=0")
        assert "alert protocol version" in refused and "Cipher is (NONE)" in refused
    assert "no renegotiation" in s_client(gateway, "-tls1_2", text=b"R\n", commands=True)
    assert "handshake failure" in s_client(gateway, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")


# Backends


class SecureUpstream(Upstream):
    """An https server in Python that asks for certificates and remembers whom it has seen."""

    def __init__(self, servers, clients):
        super().__init__()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*servers.issue("upstream"))
        self.context.load_verify_locations(clients.path)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.server.socket = self.context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.server.handle_error = lambda *_: None
        self.seen, self.closes = [], False
        self.answer = self.reply

    def reply(self, handler, body):
        names = {kind: text for part in handler.connection.getpeercert()["subject"] for kind, text in part}
        self.seen.append((handler.client_address, names["commonName"], handler.connection.session_reused))
        handler.json(ANSWER, headers=[("connection", "close")] if self.closes else ())
        handler.close_connection = self.closes


@pytest.fixture
def secure_upstream(servers, clients):
    upstream = SecureUpstream(servers, clients)
    yield upstream
    upstream.stop()


def mutual(start, simulator, upstream, tls, extra=""):
    more = f'  mutual: {{kind: openai, url: "https://localhost:{upstream.port}/v1", tls: {{{tls}}}}}\n'
    routes = "  - {model: mutual, targets: [{backend: mutual}]}\n"
    return start("workers: 1\n" + standard_config(simulator.port, more_backends=more, more_routes=routes) + extra)


def ask(gateway, model="mutual"):
    answer = httpx.post(f"{gateway.url}/chat/completions", json={**CHAT, "model": model}, headers={"authorization": "Bearer sk-demo"})
    return answer.status_code, answer.json()


def test_a_backend_that_asks_who_we_are(start, simulator, clients, secure_upstream):
    clients.issue("us", CN="gateway-one")
    gateway = mutual(start, simulator, secure_upstream, "ca: servers.crt, certificate: us.crt, key: us.key")
    for _ in range(2):
        assert ask(gateway)[0] == 200
    (first, name, _), (second, _, _) = secure_upstream.seen
    assert name == "gateway-one" and first == second
    # A reload that has nothing to do with it leaves the connection alone.
    gateway.write(gateway.text + "log: {level: debug}\n")
    gateway.process.send_signal(signal.SIGHUP)
    wait_for(lambda: reloads(gateway, "applied") == 1)
    assert ask(gateway)[0] == 200 and secure_upstream.seen[-1][0] == first
    # A new certificate is shown on a new connection.
    clients.issue("us", CN="gateway-two")
    wait_for(lambda: reloads(gateway, "applied") == 2)

    def is_new():
        return ask(gateway)[0] == 200 and secure_upstream.seen[-1][1] == "gateway-two"

    wait_for(is_new)
    assert secure_upstream.seen[-1][0] != first


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_connections_to_a_backend_resume(start, simulator, clients, secure_upstream, version):
    clients.issue("us", CN="us")
    secure_upstream.context.minimum_version = secure_upstream.context.maximum_version = version
    secure_upstream.closes = True
    gateway = mutual(start, simulator, secure_upstream, "ca: servers.crt, certificate: us.crt, key: us.key")
    for _ in range(6):
        assert ask(gateway)[0] == 200
    assert len({address for address, _, _ in secure_upstream.seen}) == 6
    assert [resumed for _, _, resumed in secure_upstream.seen] == [False] + [True] * 5


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("tls,reason", [
    ("ca: servers.crt", ("certificate required", "handshake failure")),
    ("ca: servers.crt, certificate: forged.crt, key: forged.key", ("unknown ca",)),
    ("certificate: us.crt, key: us.key", ("certificate verify failed: self-signed certificate in certificate chain",
                                          "certificate verify failed: unable to get local issuer certificate")),
    ("ca: servers.crt, server_name: other.example, certificate: us.crt, key: us.key", ("certificate verify failed: hostname mismatch",))])
def test_a_backend_that_cannot_be_agreed_with(start, simulator, clients, secure_upstream, tmp_path, version, tls, reason):
    clients.issue("us", CN="us")
    Authority(tmp_path, "strangers").issue("forged", CN="us")
    secure_upstream.context.minimum_version = secure_upstream.context.maximum_version = version
    gateway = mutual(start, simulator, secure_upstream, tls)
    status, body = ask(gateway)
    message = body["error"]["message"]
    assert status == 502 and "mutual" in message and "TLS" in message
    assert any(text in message for text in reason), message
    assert secure_upstream.seen == []
    assert ask(gateway, "llama-3")[0] == 200


# The configuration


def test_check_says_what_is_wrong_with_files(servers, clients, tmp_path):
    servers.issue("other")
    (tmp_path / "empty.crt").write_text("")
    (tmp_path / "cut.crt").write_text((tmp_path / "clients.crt").read_text()[:-60])
    config = tmp_path / "wrong.yaml"

    def check(tls, backend=""):
        config.write_text(
            "listeners:\n  - address: 127.0.0.1:1\n    tls:\n      " + "\n      ".join(tls) + "\n"
            + f"backends: {{b: {{kind: vllm, url: 'https://x', tls: {{{backend}}}}}}}\n"
            + "tenants: [{name: t, keys: [{client_certificate: CN=t}]}]\n")
        done = subprocess.run([SLUICE, "check", "--config", str(config)], capture_output=True, text=True, timeout=20)
        return done.returncode, done.stderr.replace(str(config), "f")

    pair = ["certificate: server.crt", "key: server.key"]
    assert check([*pair, "client_ca: clients.crt"], "ca: servers.crt, certificate: other.crt, key: other.key") == (0, "")
    for tls, place, problem in [
            ([*pair, "client_ca: nowhere.crt"], "f:6:18", "cannot be read"), ([*pair, "client_ca: empty.crt"], "f:6:18", "is empty"),
            ([*pair, "client_ca: server.key"], "f:6:18", "no PEM certificate"), ([*pair, "client_ca: cut.crt"], "f:6:18", "damaged"),
            ([*pair, "client_ca:"], "f:6:7", "must name a file"), (pair, "f:7:28", "client_ca"),
            (["certificate: server.crt", "key: other.key", "client_ca: clients.crt"], "f:5:12", "does not belong to the certificate")]:
        status, errors = check(tls)
        assert status == 1 and f"{place}: error:" in errors and problem in errors, errors
    for backend, problem in [("certificate: server.crt", "go together"), ("certificate: server.crt, key: other.key", "does not belong"),
                             ("ca: server.key", "no PEM certificate")]:
        status, errors = check([*pair, "client_ca: clients.crt"], backend)
        assert status == 1 and "f:7:" in errors and problem in errors, errors
