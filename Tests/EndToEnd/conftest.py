"""Starts the real binary, with `sluice simulate` or a scripted upstream behind it."""

import contextlib
import http.server
import json
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLUICE = os.environ.get("SLUICE", str(ROOT / ".build/release/sluice"))
BEDROCK_MODEL = "eu.anthropic.claude-3-5-sonnet-20240620-v1:0"
KEYS = ("AKIASIMULATOR0000000", "simulator-secret-key")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(check, seconds=10):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if check():
                return
        time.sleep(0.02)
    raise AssertionError("not ready in time")


def get(url, headers=None):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=5) as answer:
        return answer.read().decode()


class Gateway:
    """One `sluice serve` in a folder of its own."""

    def __init__(self, folder, config, environment=None, output=None, errors=None):
        self.port, self.admin_port, self.folder = free_port(), free_port(), folder
        self.config = folder / "gateway.yaml"
        self.text = config
        self.write(config)
        self.log = open(folder / "access.log", "wb")
        self.errors = open(folder / "stderr.log", "wb")
        # Without AWS variables of the machine that runs the tests.
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        self.process = subprocess.Popen(
            [SLUICE, "serve", "--config", str(self.config)],
            stdout=output or self.log, stderr=errors or self.errors, env={**clean, **(environment or {})})
        wait_for(self.is_ready)

    def write(self, config):
        head = f"listeners: [{{address: 127.0.0.1:{self.port}}}]\nadmin: {{address: 127.0.0.1:{self.admin_port}}}\n"
        if "listeners:" in config:
            head = f"admin: {{address: 127.0.0.1:{self.admin_port}}}\n"
        self.config.write_text(head + "state: ./state\n" + config.replace("@PORT@", str(self.port)))

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError((self.folder / "stderr.log").read_text())
        return get(f"http://127.0.0.1:{self.admin_port}/readyz") == "ok\n"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def admin(self, path, headers=None):
        return get(f"http://127.0.0.1:{self.admin_port}{path}", headers)

    def rows(self):
        time.sleep(0.2)  # a batch of the ledger
        with contextlib.closing(sqlite3.connect(self.folder / "state/ledger.sqlite")) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute("select * from requests order by started_at, id")]

    def log_lines(self):
        time.sleep(0.1)
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]

    def wait_until_told(self, text):
        """Messages to operators are written by a thread of their own, in a moment."""
        wait_for(lambda: text in (self.folder / "stderr.log").read_text())

    def metric(self, name, **labels):
        total = 0.0
        for line in self.admin("/metrics").splitlines():
            if line.startswith(name + "{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def metric_plain(self, name):
        """The value of a metric without labels."""
        return next(float(line.split()[1]) for line in self.admin("/metrics").splitlines() if line.startswith(name + " "))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(40) == 0, (self.folder / "stderr.log").read_text()
        self.log.close()
        self.errors.close()


class Simulator:
    def __init__(self, *options):
        self.port = free_port()
        self.process = subprocess.Popen(
            [SLUICE, "simulate", "--address", f"127.0.0.1:{self.port}", "--access-key-id", KEYS[0],
             "--secret-access-key", KEYS[1], "--api-key", "backend-key", *options],
            stderr=subprocess.DEVNULL)
        wait_for(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() or True)

    def running(self):
        return int(float(get(f"http://127.0.0.1:{self.port}/metrics").rsplit(" ", 1)[1]))

    def stop(self):
        self.process.terminate()
        self.process.wait(5)


def standard_config(upstream, more_routes="", more_backends="", tenants=None):
    tenants = tenants or '  - {name: demo, keys: [{value: sk-demo}], models: ["*"]}\n'
    return f"""
backends:
  claude:
    kind: bedrock
    region: eu-central-1
    url: http://127.0.0.1:{upstream}
    credentials: {{access_key_id: {{value: {KEYS[0]}}}, secret_access_key: {{value: {KEYS[1]}}}}}
  llama: {{kind: vllm, url: "http://127.0.0.1:{upstream}/v1", api_key: {{value: backend-key}}}}
{more_backends}routes:
  - {{model: claude-3-5-sonnet, targets: [{{backend: claude, model: "{BEDROCK_MODEL}"}}]}}
  - {{model: titan, targets: [{{backend: claude, model: "amazon.titan-embed-text-v2:0"}}]}}
  - {{model: "llama-*", targets: [{{backend: llama}}]}}
{more_routes}tenants:
{tenants}prices:
  "llama-*": {{input: 1.00, output: 2.00}}
"""


class Upstream:
    """A scripted upstream: `answer(handler, body)` writes what it likes."""

    def __init__(self):
        upstream = self
        self.requests = []
        self.answer = None
        self.gone = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                upstream.requests.append((self.path, dict(self.headers.items()), body))
                try:
                    upstream.answer(self, body)
                except (BrokenPipeError, ConnectionResetError):
                    upstream.gone.set()
                    self.close_connection = True

            def json(self, value, status=200, headers=()):
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                for name, content in headers:
                    self.send_header(name, content)
                self.end_headers()
                self.wfile.write(data)

            def events(self):
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                self.close_connection = True

            def event(self, value):
                text = value if isinstance(value, str) else json.dumps(value)
                self.wfile.write(f"data: {text}\n\n".encode())
                self.wfile.flush()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()


@pytest.fixture(scope="session")
def simulator():
    simulator = Simulator()
    yield simulator
    simulator.stop()


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(config, **options):
        started.append(Gateway(tmp_path, config, **options))
        return started[-1]

    yield begin
    for gateway in started:
        gateway.stop()


@pytest.fixture
def gateway(start, simulator):
    return start(standard_config(simulator.port))


@pytest.fixture
def upstream():
    upstream = Upstream()
    yield upstream
    upstream.stop()


@pytest.fixture(params=["http/1.1", "http/2"])
def version(request):
    """What an `httpx.Client` is made with; a test that uses it runs over both versions of HTTP."""
    return {"http1": False, "http2": True} if request.param == "http/2" else {}


@pytest.fixture
def client(version):
    """Makes SDK clients, of both versions of HTTP."""
    import httpx
    import openai

    made = []

    def make(gateway, key="sk-demo", **options):
        made.append(httpx.Client(timeout=60, follow_redirects=True, **version))
        return openai.OpenAI(base_url=gateway.url, api_key=key, max_retries=0, http_client=made[-1], **options)

    yield make
    for http in made:
        http.close()
