"""What holds budgets against measurements: `make budgets` itself measures the real binary."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "Benchmarks"))
import budgets  # noqa: E402
import callgrind  # noqa: E402
import link_order  # noqa: E402
import request_profile  # noqa: E402

THRESHOLDS = {"instructions": {"step": 1000, "chat (all)": 1000}, "allocations": {"step": 2.0, "chat": 100.0}}


def measured(**changes):
    figures = {kind: dict(entries) for kind, entries in THRESHOLDS.items()}
    for kind, entries in changes.items():
        figures[kind].update(entries)
    return figures


@pytest.mark.parametrize("changes", [
    {}, {"instructions": {"step": 1099}}, {"instructions": {"step": 10}}, {"instructions": {"chat (all)": 1249}},
    {"allocations": {"step": 2.4}}, {"allocations": {"chat": 101.9}},
])
def test_what_is_within_its_budget_passes(changes):
    assert budgets.compare(measured(**changes), THRESHOLDS) == []


@pytest.mark.parametrize("changes", [
    {"instructions": {"step": 1101}}, {"instructions": {"chat (all)": 1251}}, {"instructions": {"new step": 1}},
    {"allocations": {"step": 3.0}}, {"allocations": {"chat": 102.1}},
])
def test_what_is_dearer_or_unknown_is_told(changes):
    assert len(budgets.compare(measured(**changes), THRESHOLDS)) == 1


def test_a_step_that_is_gone_is_told():
    figures = measured()
    del figures["allocations"]["step"]
    assert len(budgets.compare(figures, THRESHOLDS)) == 1


def test_calls_of_the_allocator_are_found(tmp_path):
    path = tmp_path / "out-01"
    path.write_text("""version: 1
fn=(1) main
3 100
cfn=(2) malloc
calls=7 0
3 50
cfn=(3) mallopt
calls=2 0
3 5
cfn=(2)
calls=3 0
3 20
totals: 175
""")
    profile = callgrind.Profile(path)
    assert (profile.allocations, profile.instructions) == (10, 175)


def test_a_function_that_calls_itself_is_one_function(tmp_path):
    path = tmp_path / "out-01"
    path.write_text("fn=(1) main\ncfn=(2) walk\ncalls=1 0\n3 5\nfn=(2)\ncfn=(3) walk'2\ncalls=4 0\n3 5\n")
    assert callgrind.Profile(path).calls["walk"] == 5


@pytest.mark.parametrize("kept, status", [(100, 0), (75, 0), (74, 1), (0, 1)])
def test_a_link_order_that_the_code_has_left_behind_is_told(tmp_path, monkeypatch, kept, status):
    listed = [f"function-{number}" for number in range(100)]
    monkeypatch.setattr(link_order, "LINK_ORDER", tmp_path / "link-order.txt")
    link_order.LINK_ORDER.write_text("\n".join(["# chat: 100 more", *listed]) + "\n")
    monkeypatch.setattr(link_order, "symbols", lambda: ["other", *listed[:kept]])
    assert link_order.check() == status


def test_functions_that_requests_seldom_call_are_no_part_of_the_profile():
    most = request_profile.LEAST_COUNT
    often = f"$often\n# Func Hash:\n1\n# Num Counters:\n2\n# Counter Values:\n0\n{most}"
    targets = "# Num Value Kinds:\n1\n# ValueKind = IPVK_IndirectCallTarget:\n0\n# NumValueSites:\n0"
    seldom = f"$seldom\n# Func Hash:\n2\n# Num Counters:\n1\n# Counter Values:\n{most - 1}"
    text, functions = request_profile.often_called(f"# Flag\n:ir\n{often}\n{targets}\n\n{seldom}\n\n")
    assert (text, functions) == (f"# Flag\n:ir\n{often}\n$0\n{targets}\n", 1)
