"""A long run with mixed faults, by hand: `make soak REQUESTS=1000000`.

Prints descriptors and resident memory while it goes on, and checks in the end that nothing has leaked and that the
ledger, /metrics and what the backends say they have produced agree. One backend serves clients that stay to the end
(h2load, both versions of HTTP): there the sums must be equal. The other one serves clients that leave at any moment.
"""

import asyncio
import collections
import contextlib
import json
import multiprocessing
import os
import pathlib
import random
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time

from conftest import KEYS, Gateway, Simulator, get, wait_for

FAULTS = ("--fail", "0.2", "--chunks", "8")
H2LOAD_BATCH = 5_000
RUDE_PROCESSES = 2
RUDE_TASKS = 12


def configuration(steady, rude):
    keys = f"access_key_id: {{value: {KEYS[0]}}}, secret_access_key: {{value: {KEYS[1]}}}"
    backends, routes = "", ""
    for name, port in (("steady", steady), ("rude", rude)):
        backends += f"""
  {name}: {{kind: vllm, url: "http://127.0.0.1:{port}/v1", api_key: {{value: backend-key}}, connections: {{idle: 5s}}}}
  {name}-aws: {{kind: bedrock, region: eu-central-1, url: "http://127.0.0.1:{port}", credentials: {{{keys}}}, connections: {{idle: 5s}}}}
"""
        routes += f"""
  - {{model: {name}, targets: [{{backend: {name}}}]}}
  - {{model: {name}-claude, targets: [{{backend: {name}-aws, model: "eu.anthropic.claude-3-5-sonnet-20240620-v1:0"}}]}}
"""
    return f"""
backends:{backends}routes:{routes}tenants:
  - {{name: demo, keys: [{{value: sk-demo}}], models: ["*"]}}
  - {{name: limited, keys: [{{value: sk-limited}}], models: ["*"], limits: [{{requests: 600, per: minute}}, {{tokens: 9k, per: minute, by: user}}]}}
prices:
  steady: {{input: 1.00, output: 2.00}}
  rude: {{input: 1.00, output: 2.00}}
ledger: {{fsync: 1s}}
log: {{access: false}}
"""


def body(model, choice, stream):
    words = " ".join(choice.choice(("rain", "sun", "wind", "snow", "fog")) for _ in range(choice.randrange(3, 40)))
    return {"model": model, "stream": stream, "user": f"u{choice.randrange(50)}",
            "messages": [{"role": "user", "content": f"{choice.randrange(1 << 40)} {words}"}]}


# The clients that stay to the end

def run_h2load(port, requests, seed, folder):
    """Requests in batches of one body each: the body decides whether and how its backend fails."""
    choice = random.Random(seed)
    data = pathlib.Path(folder) / f"body-{seed}.json"
    while requests > 0:
        count = min(requests, choice.choice((200, 500, H2LOAD_BATCH // 5)))
        requests -= count
        model = choice.choice(("steady", "steady-claude"))
        data.write_text(json.dumps(body(model, choice, choice.random() < 0.5)))
        version = choice.choice((["--h1", "-m", "1"], ["-m", "8"]))
        subprocess.run(
            ["h2load", "-n", str(count), "-c", "8", *version, "-d", str(data), "-H", "authorization: Bearer sk-demo",
             "-H", "content-type: application/json", f"http://127.0.0.1:{port}/v1/chat/completions"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


# The clients that leave when they like

def message(data, key="sk-demo", path="/v1/chat/completions"):
    head = f"POST {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def cut(writer, is_reset):
    if is_reset:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort() if is_reset else writer.close()


async def read_answer(reader):
    """One answer to its end. Whether the connection may go on."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"transfer-encoding: chunked" in head:
        while (size := int((await reader.readline()).strip() or b"0", 16)) > 0:
            await reader.readexactly(size + 2)
        await reader.readline()
    elif (at := head.find(b"content-length: ")) >= 0:
        await reader.readexactly(int(head[at + 16:head.index(b"\r", at)]))
    return b"connection: close" not in head


async def rude_connection(port, choice, requests):
    """Some requests on one connection, which may break at any of them. How many were asked."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked = 0
    try:
        for _ in range(min(requests, choice.randrange(1, 12))):
            asked += 1
            model = choice.choice(("rude", "rude", "rude-claude", "unknown"))
            data = json.dumps(body(model, choice, choice.random() < 0.6)).encode()
            if choice.random() < 0.03:
                data = data[:-choice.randrange(1, len(data))]
            key = choice.choice(("sk-demo",) * 6 + ("sk-limited", "sk-wrong"))
            whole = message(data, key, choice.choice(("/v1/chat/completions",) * 20 + ("/v1/nothing", "/v1/embeddings")))
            roll = choice.random()
            if roll < 0.05:
                # Within the request.
                writer.write(whole[:choice.randrange(len(whole))])
                return asked
            writer.write(whole)
            if roll < 0.10:
                # Before the answer.
                if choice.random() < 0.5:
                    await asyncio.sleep(0.001)
                return asked
            if roll < 0.20:
                # Within the answer.
                await reader.read(choice.randrange(1, 2000))
                return asked
            if roll < 0.23:
                # Two at once.
                writer.write(whole)
                asked += 1
                if not await read_answer(reader):
                    return asked
            if not await read_answer(reader):
                return asked
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        cut(writer, choice.random() < 0.3)
    return asked


async def run_rude_tasks(port, requests, seed):
    async def task(number, left):
        choice = random.Random(seed * 1000 + number)
        while left > 0:
            with contextlib.suppress(OSError):
                left -= await rude_connection(port, choice, left)

    await asyncio.gather(*(task(n, requests // RUDE_TASKS) for n in range(RUDE_TASKS)))


def run_rude(port, requests, seed):
    asyncio.run(run_rude_tasks(port, requests, seed))


# What is looked at

def look(gateway):
    status = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
    resident = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd")), resident


def samples(gateway, name):
    for line in gateway.admin("/metrics").splitlines():
        if line.startswith(name + "{"):
            labels, value = line[len(name) + 1:].rsplit("} ", 1)
            yield dict(pair.split("=", 1) for pair in labels.replace('"', "").split(",")), float(value)


def plain(gateway, name):
    return next(float(line.split()[1]) for line in gateway.admin("/metrics").splitlines() if line.startswith(name + " "))


def produced(simulator):
    text = get(f"http://127.0.0.1:{simulator.port}/metrics")
    names = ("request_success_total", "prompt_tokens_total", "generation_tokens_total")
    return tuple(
        next(int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"vllm:{name}{{"))
        for name in names)


def play(gateway, requests, seed, folder):
    port = gateway.port
    steady = requests * 6 // 10
    work = [multiprocessing.Process(target=run_h2load, args=(port, steady // 2, seed + n, folder)) for n in range(2)]
    work += [
        multiprocessing.Process(target=run_rude, args=(port, (requests - steady) // RUDE_PROCESSES, seed + 10 + n))
        for n in range(RUDE_PROCESSES)]
    for process in work:
        process.start()
    begin, told = time.monotonic(), 0.0
    while any(process.is_alive() for process in work):
        time.sleep(0.5)
        if time.monotonic() - told >= 10:
            told = time.monotonic()
            show(gateway, f"{told - begin:6.0f} s")
    assert all(process.exitcode == 0 for process in work)


def show(gateway, when):
    total = sum(value for _, value in samples(gateway, "sluice_requests_total"))
    descriptors, resident = look(gateway)
    print(f"{when:>10}  {total:10,.0f} requests  {descriptors:5} descriptors  {resident:8,} KiB", flush=True)


def settle(gateway):
    wait_for(lambda: plain(gateway, "sluice_requests_in_flight") == 0, 60)
    # The one client is who asks for the metrics.
    for side, left in (("client", 1), ("upstream", 0)):
        wait_for(lambda: gateway.metric("sluice_connections", side=side) == left, 200)
    time.sleep(1)  # a batch of the ledger


def check(gateway, steady, rude):
    with contextlib.closing(sqlite3.connect(gateway.folder / "state/ledger.sqlite")) as database:
        rows, ids = database.execute("select count(*), count(distinct id) from requests").fetchone()
        counted = collections.Counter({tuple(map(str, row[:4])): row[4] for row in database.execute(
            "select tenant, route, backend, status, count(*) from requests group by 1, 2, 3, 4")})
        tokens = database.execute("select sum(input_tokens), sum(output_tokens), sum(cost_nanousd) from requests").fetchone()
        told = {name: database.execute(
            "select count(*), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0) from requests "
            "where usage_source = 'upstream' and backend in (?, ?)", (name, name + "-aws")).fetchone()
            for name in ("steady", "rude")}
        print("statuses:", dict(database.execute("select status, count(*) from requests group by 1").fetchall()))
        print("sources:", dict(database.execute("select usage_source, count(*) from requests group by 1").fetchall()))
    metrics = collections.Counter()
    for labels, value in samples(gateway, "sluice_requests_total"):
        if labels["backend"]:
            metrics[(labels["tenant"], labels["route"], labels["backend"], labels["status"])] += int(value)
    spent = {kind: int(sum(v for labels, v in samples(gateway, "sluice_tokens_total") if labels["kind"] == kind))
             for kind in ("input", "output")}
    cost = sum(value for _, value in samples(gateway, "sluice_cost_usd_total"))
    made = {"steady": produced(steady), "rude": produced(rude)}
    print(f"rows {rows:,}; ids {ids:,}; counted by /metrics {sum(metrics.values()):,}")
    print(f"tokens in rows {tokens[0]:,} + {tokens[1]:,}; in /metrics {spent['input']:,} + {spent['output']:,}")
    print(f"cost in rows {tokens[2] / 1e9:.9f}; in /metrics {cost:.9f}")
    for name in made:
        print(f"{name}: answers, prompt and generated tokens in rows {told[name]}; by the backend {made[name]}")
    assert rows == ids
    assert counted == metrics, (counted - metrics, metrics - counted)
    assert tokens[:2] == (spent["input"], spent["output"])
    assert abs(tokens[2] / 1e9 - cost) < 1e-6
    assert told["steady"] == made["steady"]
    assert all(mine <= theirs for mine, theirs in zip(told["rude"], made["rude"]))
    assert plain(gateway, "sluice_ledger_lost_total") == 0


def main():
    requests = int(os.environ.get("REQUESTS", "100000"))
    seed = int(os.environ.get("SEED", "1"))
    folder = tempfile.mkdtemp(prefix="sluice-soak-")
    steady, rude = Simulator(*FAULTS), Simulator(*FAULTS)
    gateway = Gateway(pathlib.Path(folder), configuration(steady.port, rude.port))
    try:
        show(gateway, "start")
        # What is made once and kept (buffers, tables, names) is made before it is measured.
        play(gateway, max(requests // 50, 2_000), seed + 100, folder)
        settle(gateway)
        show(gateway, "warm")
        before = look(gateway)
        play(gateway, requests, seed, folder)
        settle(gateway)
        show(gateway, "settled")
        after = look(gateway)
        check(gateway, steady, rude)
        print(f"descriptors {before[0]} -> {after[0]}; resident {before[1]:,} -> {after[1]:,} KiB")
        # Connections that asked for the metrics may still be on their way out.
        wait_for(lambda: look(gateway)[0] <= before[0], 10)
    finally:
        gateway.stop()
        steady.stop()
        rude.stop()
    print("all is well")


if __name__ == "__main__":
    sys.exit(main())
