"""The journal and the ledger: nothing that a client has seen is lost, whatever happens to the process."""

import collections
import contextlib
import datetime
import itertools
import json
import pathlib
import random
import resource
import signal
import sqlite3
import subprocess
import threading
import time

import httpx
import pytest

from conftest import SLUICE, Simulator, standard_config, wait_for
from test_sdk import HELLO

HEADERS = {"authorization": "Bearer sk-demo"}
LIMITED = {"model": "llama-3", "messages": HELLO, "max_tokens": 50}


def restart(gateway):
    """Starts the killed process again, in the same state directory and with the same addresses."""
    gateway.process = subprocess.Popen(
        [SLUICE, "serve", "--config", str(gateway.config)], stdout=gateway.log, stderr=gateway.errors)
    wait_for(gateway.is_ready)


def kill(gateway):
    gateway.process.send_signal(signal.SIGKILL)
    gateway.process.wait(10)


def segments(gateway):
    return sorted((gateway.folder / "state/journal").iterdir())


class Load:
    """Clients that ask until they are stopped, and remember every answer that they saw to its end."""

    def __init__(self, gateway, threads=8):
        self.gateway, self.complete, self.broken, self.stopped = gateway, {}, set(), False
        self.counter, self.lock = 0, threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(index,)) for index in range(threads)]
        for thread in self.threads:
            thread.start()

    def name(self):
        with self.lock:
            self.counter += 1
            return f"load-{self.counter}"

    def run(self, index):
        choice = random.Random(index)
        with httpx.Client(timeout=10) as client:
            while not self.stopped:
                name = self.name()
                body = {**LIMITED, "model": choice.choice(["llama-3", "claude-3-5-sonnet"])}
                if choice.random() < 0.5:
                    body |= {"stream": True, "stream_options": {"include_usage": True}}
                try:
                    answer = client.post(f"{self.gateway.url}/chat/completions", json=body, headers={**HEADERS, "x-request-id": name})
                    self.complete[name] = self.usage(answer, "stream" in body)
                except httpx.HTTPError:
                    self.broken.add(name)
                    time.sleep(0.05)

    @staticmethod
    def usage(answer, is_stream):
        assert answer.status_code == 200, answer.text
        if not is_stream:
            return answer.json()["usage"]
        events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        assert events[-1] == "[DONE]"
        return next(usage for event in events[:-1] if (usage := json.loads(event).get("usage")))

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join(20)


def test_kill_nine_ten_times_under_load(start):
    simulator = Simulator("--chunk-ms", "2")
    gateway = start(standard_config(simulator.port))
    load = Load(gateway)
    chance = random.Random(9)
    for _ in range(10):
        before = len(load.complete)
        wait_for(lambda: len(load.complete) >= before + 20, 30)
        time.sleep(chance.random() * 0.1)
        kill(gateway)
        restart(gateway)
    before = len(load.complete)
    wait_for(lambda: len(load.complete) >= before + 20, 30)
    load.stop()
    rows = gateway.rows()
    by_name = {}
    for row in rows:
        by_name.setdefault(row["request_id"], []).append(row)
    assert all(len(found) == 1 for found in by_name.values())
    for name, usage in load.complete.items():
        row, = by_name[name]
        assert row["status"] == 200 and row["usage_source"] == "upstream", row
        assert (row["input_tokens"], row["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"]), row
        assert row["cost_nanousd"] > 0
    interrupted = [row for row in rows if row["error_code"] == "gateway_interrupted"]
    assert interrupted, "ten kills under load interrupt something"
    for row in interrupted:
        assert row["status"] == 500 and row["usage_source"] == "estimated" and row["request_id"] not in load.complete
        assert row["input_tokens"] > 0 and row["cost_nanousd"] > 0 and row["backend"] and row["tenant"] == "demo"
    # Whoever the simulator has answered, and whoever got nothing: all of them are rows, or never arrived.
    assert set(by_name) <= set(load.complete) | load.broken
    gateway.wait_until_told("was replayed")
    gateway.stop()
    assert segments(gateway) == []
    simulator.stop()


BUDGETS = ("{requests: 1M, per: day}, {tokens: 900M, per: day}, {output_tokens: 900M, per: day, by: user}, "
           "{usd: 10000, per: day}, {requests: 1M, per: month}, {tokens: 900M, per: month}, "
           "{usd: 10000, per: month}, {tokens: 90M, per: hour, on_exceed: cut}")


class Breakers(Load):
    """Clients of which some leave in mid-stream, and whose backends break off; they only count the ends."""

    def run(self, index):
        choice = random.Random(index)
        with httpx.Client(timeout=10) as client:
            while not self.stopped:
                body = {"model": choice.choice(["llama-3", "claude-3-5-sonnet"]), "messages": HELLO,
                        "stream": choice.random() < 0.8, "user": choice.choice(["alice", "bob"])}
                name, patience = self.name(), choice.choice([2000, 2000, 20])
                try:
                    with client.stream("POST", f"{self.gateway.url}/chat/completions", json=body,
                                       headers={**HEADERS, "x-request-id": name}) as answer:
                        lines = list(itertools.islice(answer.iter_lines(), patience))
                    self.complete[name] = (answer.status_code, "data: [DONE]" in lines)
                except httpx.HTTPError:
                    self.broken.add(name)
                    time.sleep(0.02)


def budgets(gateway):
    """Where the calendar limits stand, and where they should by the ledger's rows."""
    rows, now = gateway.rows(), datetime.datetime.now(datetime.UTC)

    def ended(row):
        began = datetime.datetime.fromisoformat(row["started_at"])
        return began + datetime.timedelta(milliseconds=row["duration_ms"])

    stand, right = {}, {}
    for window, length in [("day", 10), ("month", 7)]:
        mine = [row for row in rows if ended(row).isoformat()[:length] == now.isoformat()[:length]]
        output = sum(row["output_tokens"] for row in mine)
        sums = {"requests": len(mine), "tokens": sum(row["input_tokens"] for row in mine) + output,
                "output_tokens": output, "usd": sum(row["cost_nanousd"] or 0 for row in mine) / 1e9}
        for name, value in sums.items():
            limit = f"{name}/{window}" + ("/user" if name == "output_tokens" else "")
            if (name, window) != ("output_tokens", "month"):
                right[limit] = pytest.approx(value, abs=1e-9)
                stand[limit] = gateway.metric("sluice_limit_used", tenant="demo", limit=limit)
                assert gateway.metric("sluice_limit_reserved", tenant="demo", limit=limit) == 0
    return stand, right


def test_budgets_stand_where_they_stood_after_kill_nine(start):
    simulator = Simulator("--chunks", "150", "--chunk-ms", "2", "--fail", "0.3")
    tenants = f'  - {{name: demo, keys: [{{value: sk-demo}}], models: ["*"], limits: [{BUDGETS}]}}\n'
    gateway = start(standard_config(simulator.port, tenants=tenants))
    chance = random.Random(4)
    for _ in range(5):
        load = Breakers(gateway)
        wait_for(lambda: len(load.complete) >= 40, 30)
        time.sleep(chance.random() * 0.2)
        kill(gateway)
        load.stop()
        restart(gateway)
        stand, right = budgets(gateway)
        assert stand == right
        answer = ask(gateway)
        assert int(answer.headers["x-ratelimit-remaining-requests"]) == 1_000_000 - stand["requests/day"] - 1
    # Nothing is under way, and everything was settled in the ordinary way: the same again.
    load = Breakers(gateway)
    wait_for(lambda: len(load.complete) >= 40, 30)
    load.stop()
    wait_for(lambda: gateway.metric_plain("sluice_requests_in_flight") == 0)
    before, right = budgets(gateway)
    assert before == right
    kill(gateway)
    restart(gateway)
    assert budgets(gateway)[0] == pytest.approx(before, abs=1e-9)
    codes = collections.Counter(row["error_code"] or "fine" for row in gateway.rows())
    for code in ["fine", "gateway_interrupted", "client_closed", "upstream_error"]:
        assert codes[code] > 0, codes
    assert any(row["error_code"] == "client_closed" and row["output_tokens"] > 0 for row in gateway.rows())
    simulator.stop()


def test_a_request_under_way_is_a_row_after_the_kill(start):
    simulator = Simulator("--ttft-ms", "60000")
    gateway = start(standard_config(simulator.port))
    thread = threading.Thread(target=ask_quietly, args=(gateway, "lonely"))
    thread.start()
    wait_for(lambda: simulator.running() == 1)
    kill(gateway)
    thread.join(10)
    restart(gateway)
    row, = gateway.rows()
    assert (row["request_id"], row["error_code"], row["status"]) == ("lonely", "gateway_interrupted", 500)
    assert row["output_tokens"] == 50 and row["upstream_model"] == "llama-3" and row["user"] is None
    simulator.stop()


def ask_quietly(gateway, name):
    with contextlib.suppress(httpx.HTTPError):
        ask(gateway, name)


def ask(gateway, name="x"):
    return httpx.post(f"{gateway.url}/chat/completions", json=LIMITED, headers={**HEADERS, "x-request-id": name}, timeout=30)


def test_a_torn_and_a_damaged_journal_are_reported_and_never_fatal(start, simulator):
    gateway = start(standard_config(simulator.port))
    for index in range(5):
        assert ask(gateway, f"r{index}").status_code == 200
    kill(gateway)
    # As if SQLite had never seen them.
    with contextlib.closing(sqlite3.connect(gateway.folder / "state/ledger.sqlite")) as database:
        database.execute("delete from requests")
        database.commit()
    files = [file for file in segments(gateway) if file.stat().st_size > 4200]
    for file in files:
        data = bytearray(file.read_bytes())
        data[-40] ^= 0xFF
        file.write_bytes(bytes(data) + b"\xff\xf9SJ torn")
    (gateway.folder / "state/journal/stray.journal").write_bytes(b"nonsense" * 100)
    restart(gateway)
    rows = gateway.rows()
    assert {row["request_id"] for row in rows} == {f"r{index}" for index in range(5)}
    assert 1 <= sum(row["error_code"] == "gateway_interrupted" for row in rows) <= len(files)
    gateway.wait_until_told("damaged")
    assert metric(gateway, "sluice_ledger_journal_damage_total") >= 2
    assert any(file.name == "stray.journal.damaged" for file in segments(gateway))


def metric(gateway, name):
    line, = [line for line in gateway.admin("/metrics").splitlines() if line.startswith(name + " ")]
    return float(line.split()[1])


def test_usage_answers_while_the_gateway_runs(start, simulator):
    gateway = start(standard_config(simulator.port))
    for _ in range(3):
        assert ask(gateway).status_code == 200
    gateway.rows()
    report = json.loads(gateway.admin("/admin/usage?by=tenant&since=1h"))
    assert [(group["tenant"], group["requests"]) for group in report["groups"]] == [("demo", 3)]
    printed = subprocess.run(
        [SLUICE, "usage", "--by", "tenant", "--since", "1h", "--format", "json", "--config", str(gateway.config)],
        capture_output=True, text=True, check=True).stdout
    assert json.loads(printed)["groups"] == report["groups"]
    assert metric(gateway, "sluice_ledger_rows_total") == 3


def file_limit(gateway, size):
    """No file of the process may grow beyond `size`: to it, that is a full disk."""
    hard = resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


def is_refused(gateway):
    answer = ask(gateway, "refused")
    return answer.status_code == 503 and answer.json()["error"]["code"] == "ledger_unavailable" and answer.headers["retry-after"] == "1"


def test_a_full_disk_refuses_and_recovers(start):
    simulator = Simulator("--ttft-ms", "1500")
    gateway = start("workers: 1\n" + standard_config(simulator.port))
    assert ask(gateway, "before").status_code == 200
    answers = []
    slow = threading.Thread(target=lambda: answers.append(ask(gateway, "under-way")))
    slow.start()
    wait_for(lambda: simulator.running() == 1)
    file_limit(gateway, 1)
    assert is_refused(gateway) and is_refused(gateway)
    with pytest.raises(Exception, match="503"):
        gateway.admin("/readyz")
    slow.join(20)
    assert [answer.status_code for answer in answers] == [200]
    assert metric(gateway, "sluice_ledger_journal_failures_total") > 0
    file_limit(gateway, None)
    wait_for(lambda: ask(gateway, "after").status_code == 200, 20)
    wait_for(lambda: {row["request_id"] for row in gateway.rows()} >= {"before", "under-way", "after"}, 10)
    assert metric(gateway, "sluice_ledger_lost_total") == 0
    kill(gateway)
    restart(gateway)
    names = [row["request_id"] for row in gateway.rows() if row["status"] == 200]
    assert sorted(set(names)) == ["after", "before", "under-way"] and len(names) == len(set(names))
    simulator.stop()


def test_a_locked_ledger_costs_nothing_but_time(start, simulator):
    gateway = start(standard_config(simulator.port))
    assert ask(gateway, "before").status_code == 200
    wait_for(lambda: len(gateway.rows()) == 1)
    with contextlib.closing(sqlite3.connect(gateway.folder / "state/ledger.sqlite", isolation_level=None)) as database:
        database.execute("begin immediate")
        assert [ask(gateway, f"r{index}").status_code for index in range(5)] == [200] * 5
        wait_for(lambda: metric(gateway, "sluice_ledger_waiting_rows") == 5)
        assert segments(gateway) and len(gateway.rows()) == 1
        database.execute("rollback")
    wait_for(lambda: len(gateway.rows()) == 6)
    assert metric(gateway, "sluice_ledger_waiting_rows") == 0


def test_an_operator_may_go_on_with_a_full_disk(start, simulator):
    gateway = start("workers: 1\nledger: {on_full: continue, fsync: never}\n" + standard_config(simulator.port))
    file_limit(gateway, 1)
    for index in range(3):
        assert ask(gateway, f"r{index}").status_code == 200
    assert gateway.admin("/readyz") == "ok\n"
    assert metric(gateway, "sluice_ledger_waiting_rows") == 3
    file_limit(gateway, None)
    wait_for(lambda: len(gateway.rows()) == 3, 10)


def test_a_stop_leaves_no_journal_and_a_new_ledger_is_refused(start, simulator):
    gateway = start(standard_config(simulator.port))
    assert ask(gateway).status_code == 200
    assert len(segments(gateway)) == 1
    gateway.stop()
    assert segments(gateway) == []
    with contextlib.closing(sqlite3.connect(gateway.folder / "state/ledger.sqlite")) as database:
        assert database.execute("select count(*) from requests").fetchone() == (1,)
        database.execute("pragma user_version=99")
    refused = subprocess.run([SLUICE, "serve", "--config", str(gateway.config)], capture_output=True, text=True, timeout=20)
    assert refused.returncode == 3 and "newer sluice" in refused.stderr


def test_two_processes_share_a_state_directory(start, simulator, tmp_path):
    gateway = start(standard_config(simulator.port))
    assert ask(gateway, "first").status_code == 200
    other = pathlib.Path(tmp_path / "other.yaml")
    other.write_text(gateway.config.read_text()
                     .replace(f":{gateway.port}", ":0").replace(f":{gateway.admin_port}", ":0"))
    before = segments(gateway)
    second = subprocess.Popen([SLUICE, "serve", "--config", str(other)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    assert second.poll() is None and segments(gateway) == before
    assert ask(gateway, "second").status_code == 200
    second.terminate()
    assert second.wait(20) == 0
    kill(gateway)
    restart(gateway)
    assert sorted(row["request_id"] for row in gateway.rows()) == ["first", "second"]


def test_old_months_become_totals(start, simulator):
    gateway = start("ledger: {retention: 400d}\n" + standard_config(simulator.port))
    assert ask(gateway).status_code == 200
    gateway.rows()
    gateway.stop()
    with contextlib.closing(sqlite3.connect(gateway.folder / "state/ledger.sqlite")) as database:
        columns = [row[1] for row in database.execute("pragma table_info(requests)")]
        rest = ", ".join(columns[1:]).replace("started_at", "'2020-02-03T04:05:06.000Z'")
        database.execute(f"insert into requests select 'old', {rest} from requests")
        database.commit()
    gateway = start(gateway.text)
    wait_for(lambda: [row["id"] != "old" for row in gateway.rows()] == [True])
    sums = {}
    for since in ["2020-02-01", "2020-02-02"]:
        printed = subprocess.run(
            [SLUICE, "usage", "--by", "tenant", "--since", since, "--format", "json", "--config", str(gateway.config)],
            capture_output=True, text=True, check=True)
        sums[since] = json.loads(printed.stdout)
        assert ("left out: 2020-02" in printed.stderr) == (since == "2020-02-02")
    assert [group["requests"] for group in sums["2020-02-01"]["groups"]] == [2]
    assert [group["requests"] for group in sums["2020-02-02"]["groups"]] == [1]
    assert sums["2020-02-02"]["omitted_months"] == ["2020-02"]
