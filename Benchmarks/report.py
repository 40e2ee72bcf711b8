"""Results as Markdown tables and plots: docs/performance.md."""

import json
import platform
import statistics

from plots import bars, number
from scenarios import ITSELF, SCENARIOS
from tools import ROOT

DOCS = ROOT / "docs"
TITLES = {
    "per_second": "requests/s",
    "cpu_us": "CPU µs per request",
    "cpu_ratio": "÷ nginx",
    "cpu_ratio_first": "÷ first row",
    "p50_us": "p50 µs",
    "p99_us": "p99 µs",
    "p999_us": "p99.9 µs",
    "largest_us": "largest µs",
    "added_p50": "added p50 µs",
    "added_p99": "added p99 µs",
    "added_p99_first": "added p99 µs",
    "added_largest_first": "added largest µs",
    "rss_mib": "RSS MiB",
    "rss_mib_before": "RSS MiB before",
    "events_per_second": "events/s",
    "cpu_us_chunk": "CPU µs per event",
    "chunk_ratio": "÷ nginx",
    "first_p50_us": "first event p50 µs",
    "first_p99_us": "first event p99 µs",
    "gap_p99_us": "gap p99 µs",
    "streams": "streams",
    "kib_each": "KiB each",
    "connections": "connections",
    "start_ms": "ms to first answer",
    "wrong": "not answered",
    "mib": "MiB",
}
# What is set against the same figure of another row: which figure, and which row; None: the first.
RATIOS = {
    "cpu_ratio": ("cpu_us", "nginx"),
    "chunk_ratio": ("cpu_us_chunk", "nginx"),
    "cpu_ratio_first": ("cpu_us", None),
}
ADDED = {
    "added_p50": ("p50_us", "direct"),
    "added_p99": ("p99_us", "direct"),
    "added_p99_first": ("p99_us", None),
    "added_largest_first": ("largest_us", None),
}
PLOTS = {
    "small": "cpu_us",
    "large": "cpu_us",
    "paced": "p99_us",
    "stream": "cpu_us_chunk",
    "slow-streams": "kib_each",
    "idle": "kib_each",
    "http2": "cpu_us",
    "converse": "cpu_us",
    "start": "start_ms",
}


class Results:
    """What was measured: by scenario, name and round."""

    def __init__(self, lines):
        self.rounds = {}
        for line in lines:
            entry = json.loads(line)
            names = self.rounds.setdefault(entry["scenario"], {})
            names.setdefault(entry["name"], {})[entry["round"]] = entry["figures"]

    def names(self, scenario):
        return list(self.rounds.get(scenario, {}))

    def median(self, scenario, name, key):
        """Ratios and differences are taken within each round: rounds are not alike."""
        mine = self.rounds[scenario][name]
        if key in RATIOS or key in ADDED:
            field, other = RATIOS.get(key) or ADDED[key]
            base = self.rounds[scenario].get(other or self.names(scenario)[0], {})
            pairs = [
                (mine[r][field], base[r][field])
                for r in mine
                if field in mine[r] and field in base.get(r, {})
            ]
            values = [a / b if key in RATIOS else a - b for a, b in pairs if key in ADDED or b]
        else:
            values = [figures[key] for figures in mine.values() if key in figures]
        return statistics.median(values) if values else None

    def wrong(self, scenario, name):
        return sum(figures.get("wrong", 0) for figures in self.rounds[scenario][name].values())

    def foreign(self):
        """The share of the peers' core that went to others, over all measurements."""
        shares = [
            figures["foreign"]
            for names in self.rounds.values()
            for rounds in names.values()
            for figures in rounds.values()
            if "foreign" in figures
        ]
        return max(0, statistics.median(shares)) if shares else None

    def count(self, scenario):
        return max(len(rounds) for rounds in self.rounds[scenario].values())


def table(results, scenario, columns):
    heads = [TITLES[column] for column in columns]
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(columns)]
    for name in results.names(scenario):
        cells = []
        for column in columns:
            value = results.median(scenario, name, column)
            cells.append(
                "–" if value is None else number(value) if value >= 0 else f"−{number(-value)}"
            )
        wrong = results.wrong(scenario, name)
        note = f" ({wrong:,} not answered)" if wrong and "wrong" not in columns else ""
        lines.append(f"| {name}{note} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(results, scenario, title):
    key = PLOTS[scenario]
    values = {name: results.median(scenario, name, key) for name in results.names(scenario)}
    values = {name: value for name, value in values.items() if value is not None and value > 0}
    if len(values) < 2:
        return ""
    (DOCS / "plots").mkdir(parents=True, exist_ok=True)
    (DOCS / "plots" / f"{scenario}.svg").write_text(bars(title, TITLES[key], values))
    return f"\n![{title}: {TITLES[key]}](plots/{scenario}.svg)\n"


def micro_table(cases, thresholds):
    lines = ["| step | ns | instructions | allocations |", "|---|---:|---:|---:|"]
    for case in cases:
        counted = thresholds["instructions"].get(case["name"])
        lines.append(
            f"| {case['name']} | {case['nanoseconds']:,.0f} | "
            f"{f'{counted:,}' if counted else '–'} | {number(case['allocations'])} |"
        )
    for name, counted in thresholds["instructions"].items():
        if "(worker)" in name:
            allocations = thresholds["allocations"][name]
            lines.append(
                f"| whole {name.split()[0]}, event loop | | {counted:,} | {number(allocations)} |"
            )
    return "\n".join(lines)


def introduction(about):
    paragraph = (
        "Every peer only forwards, with one worker or thread. Sluice has everything on: keys, "
        "limits, prices, journal, ledger, access log and metrics. Each figure is the median of the "
        "rounds, in which the peers take turns; `÷ nginx` and `added` (to asking the upstream "
        "directly; where Sluice stands beside itself, to the first row) are taken within each "
        f"round. {about['pinning']} CPU is what the kernel says "
        "all threads of the peer have run, divided by what the upstream has counted; the kernel's "
        f"share of the network is in it. LiteLLM gets fewer connections ({about['slow']}) and, "
        "where requests are paced, 50 a second. Only figures of one run can be compared with each "
        "other."
    )
    return (
        f"# Performance\n\nWritten by `make bench` on {about['date']}: {about['processor']}, "
        f"{about['cores']} cores, Linux {platform.release()}. Commit {about['commit']}. "
        f"Peers: {about['peers']}.\n\n{paragraph}\n"
    )


def write(lines, about, cases, thresholds):
    results = Results(lines)
    parts = [introduction(about)]
    if results.foreign() is not None:
        parts.append(
            f"Other processes took {100 * results.foreign():.0f} % of the peers' core (the median "
            "of all measurements).\n"
        )
    for scenario, (title, what, _, columns) in SCENARIOS.items():
        if results.names(scenario):
            parts.append(
                f"## {title}\n{what} Rounds: {results.count(scenario)}.\n\n"
                + table(results, scenario, columns)
                + "\n"
                + (plot(results, scenario, title) if scenario in PLOTS else "")
            )
    for scenario, (title, what, _, columns) in ITSELF.items():
        if results.names(scenario):
            parts.append(
                f"## {title}\n{what} Rounds: {results.count(scenario)}.\n\n"
                + table(results, scenario, columns)
                + "\n"
            )
    if cases:
        parts.append(
            "## Steps\nSingle steps of a request (`Benchmarks/Micro`). Instructions and "
            "allocations are the budgets of `make test` (`Benchmarks/thresholds.json`).\n\n"
            + micro_table(cases, thresholds)
            + "\n"
        )
    DOCS.mkdir(exist_ok=True)
    (DOCS / "performance.md").write_text("\n".join(parts))
