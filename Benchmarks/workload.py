"""Requests of each kind, as often as wanted: what is counted, and what the code is laid out for."""

import subprocess

from tools import KEY, bodies, load

KINDS = {
    "chat": "small",
    "chat-stream": "small-stream",
    "converse": "claude-tools",
    "converse-stream": "claude-small-stream",
}


def ask(port, folder, calls, http2_chats=0):
    """Asks so often for each kind, one after another, and for chats over HTTP/2."""
    paths = bodies(folder)
    for kind, count in calls.items():
        result = load(
            port,
            paths[KINDS[kind]],
            [KEY],
            connections=1,
            requests=count,
            seconds=170,
            **({"stream": True} if kind.endswith("stream") else {}),
        )
        if result["answered"] != count or result["unfinished"]:
            raise SystemExit(f"{kind}: not every request was answered: {result}")
    if http2_chats:
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        command = ["h2load", "-n", str(http2_chats), "-c", "4", "-m", "4", "-d", paths["small"]]
        command += ["-H", KEY, "-H", "content-type: application/json", url]
        subprocess.run(command, check=True, capture_output=True)
