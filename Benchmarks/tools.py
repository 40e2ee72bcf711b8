"""What budgets and comparisons share: our tools, processes, and what /proc says of them."""

import contextlib
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILT = ROOT / ".build/release"
SLUICE = pathlib.Path(os.environ.get("SLUICE", BUILT / "sluice"))
LOAD = BUILT / "BenchLoad"
MICRO = BUILT / "MicroBenchmarks"
KEY = "Authorization: Bearer sk-bench"
CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return answer.read().decode()


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Child:
    """A process that we have started, and those that it starts; on certain cores if wanted."""

    def __init__(self, command, log, cores=None, environment=None, folder=None):
        self.log = pathlib.Path(log)
        # Nothing of the machine's own AWS credentials.
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}

        def prepare():
            # Not all of them raise the soft limit themselves.
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            if cores:
                os.sched_setaffinity(0, cores)

        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**clean, **(environment or {})},
                cwd=folder,
                preexec_fn=prepare,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def wait_for(self, is_ready, seconds=30, pause=0.02):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                if is_ready():
                    return
            time.sleep(pause)
        self.stop()
        raise SystemExit(f"it is not ready: {self.log}\n{self.log.read_text()[-2000:]}")

    def stop(self, seconds=30):
        """Ends it, with all that it has started; a second signal is the last one."""
        for number, wait in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self.pid, number)
                self.process.wait(wait)
                return

    def tree(self):
        found, rest = [], [self.pid]
        while rest:
            pid = rest.pop()
            found.append(pid)
            for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    rest += map(int, path.read_text().split())
        return found

    def cpu_nanoseconds(self):
        """How long all its threads have run."""
        total = 0
        for pid in self.tree():
            for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    total += int(path.read_text().split()[0])
        return total

    def resident_kib(self):
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                total += sum(
                    int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")
                )
        return total


class Mock(Child):
    """The upstream that everything is measured against."""

    def __init__(self, folder, cores=None):
        self.port = free_port()
        super().__init__([LOAD, "mock", "--port", self.port], folder / "mock.log", cores)
        self.wait_for(lambda: is_listening(self.port))

    def stats(self):
        return json.loads(get(self.port, "/stats"))

    def set(self, **options):
        get(self.port, "/set?" + "&".join(f"{k.replace('_', '-')}={v}" for k, v in options.items()))

    def requests(self):
        stats = self.stats()
        return sum(
            stats[kind] for kind in ("chat", "stream", "converse", "converse_stream", "embeddings")
        )


def load_command(port, body, headers=(), **options):
    """`stream=True` makes `--stream`; `warm_up=1` makes `--warm-up 1`."""
    command = [LOAD, "load", "--port", port, "--body", body]
    for header in headers:
        command += ["--header", header]
    for name, value in options.items():
        command.append("--" + name.replace("_", "-"))
        if value is not True:
            command.append(value)
    return [str(part) for part in command]


def load(port, body, headers=(), cores=None, **options):
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    done = subprocess.run(
        load_command(port, body, headers, **options),
        preexec_fn=pin,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"the load generator failed: {done.stderr}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    result["complaint"] = done.stderr[:300]
    return result


def sluice_config(folder, upstream, port, admin, workers=1, tls=None, tenants=1, routes=1):
    """gateway.yaml with everything on: keys, limits, prices, journal, access log, metrics."""
    listeners = f"  - address: 127.0.0.1:{port}\n"
    if tls:
        listeners += f"  - address: 127.0.0.1:{tls['port']}\n"
        listeners += f"    tls: {{certificate: {tls['certificate']}, key: {tls['key']}}}\n"
    limits = (
        "[{requests: 100M, per: minute}, {tokens: 100000M, per: minute}, "
        "{usd: 1000000, per: month}]"
    )
    # As many as its peers may have.
    pool = "connections: {max: 20000, max_idle: 1024}"
    names = ["bench"] + [f"tenant-{number}" for number in range(1, tenants)]
    lines = [
        f"listeners:\n{listeners}admin: {{address: 127.0.0.1:{admin}}}",
        f"workers: {workers}",
        f"state: {folder}/state",
        "backends:",
        f'  upstream: {{kind: openai, url: "http://127.0.0.1:{upstream}/v1", {pool}}}',
        f'  bedrock: {{kind: bedrock, region: us-east-1, url: "http://127.0.0.1:{upstream}",',
        f"    {pool},",
        "    credentials: {access_key_id: {value: AKIABENCHMARK0000000},",
        "      secret_access_key: {value: a-secret-for-benchmarks}}}",
        "routes:",
        "  - {model: chat, targets: [{backend: upstream}]}",
        f'  - {{model: claude, targets: [{{backend: bedrock, model: "{CLAUDE}"}}]}}',
    ]
    lines += [
        f"  - {{model: chat-{number}, targets: [{{backend: upstream}}]}}"
        for number in range(1, routes)
    ]
    lines += ["tenants:"]
    for name in names:
        # With three limits each, 10,000 tenants would be more than a configuration may hold.
        own = limits if name == "bench" else "[{tokens: 100k, per: minute}]"
        lines.append(
            f'  - {{name: {name}, keys: [{{value: sk-{name}}}], models: ["*"], limits: {own}}}'
        )
    lines += [
        "prices:",
        "  chat: {input: 0.50, output: 1.50}",
        "limits: {concurrent_requests: 20000, connections: 20000}",
    ]
    path = folder / "gateway.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def bodies(folder):
    """Request bodies by name, as files: small (200 B), tools (2 KB), large (64 KB), huge (1 MB)."""
    words = "A request is admitted once, it settles once, and its books are kept for good. "

    def text(length):
        return (words * (length // len(words) + 1))[:length]

    def tool(name):
        schema = {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "Town and country"},
                "units": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["location", "units"],
            "additionalProperties": False,
        }
        return {
            "type": "function",
            "function": {"name": name, "description": text(120), "parameters": schema},
        }

    turns = [
        {"role": ("user", "assistant")[turn % 2], "content": text(1500) + ' "as told"\n'}
        for turn in range(43)
    ]
    image = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64," + "iVBORw0K" * 131_000},
    }
    messages = {
        "small": {"messages": [{"role": "user", "content": text(90)}]},
        "tools": {
            "messages": [
                {"role": "system", "content": text(400)},
                {"role": "user", "content": text(200)},
            ],
            "tools": [tool("get_weather"), tool("get_forecast")],
            "tool_choice": "auto",
        },
        "large": {"messages": turns},
        "huge": {
            "messages": [{"role": "user", "content": [{"type": "text", "text": text(100)}, image]}]
        },
    }
    paths = {}
    for name, members in messages.items():
        for model, prefix in (("chat", ""), ("claude", "claude-")):
            body = {"model": model, **members, "max_tokens": 256, "temperature": 0.7}
            for suffix, more in (
                ("", {}),
                ("-stream", {"stream": True, "stream_options": {"include_usage": True}}),
            ):
                path = folder / f"{prefix}{name}{suffix}.json"
                path.write_text(json.dumps({**body, **more}, separators=(",", ":")))
                paths[f"{prefix}{name}{suffix}"] = path
    return paths
