#!/usr/bin/env python3
"""Runs a black-box conformance suite with HTTP/2 in front of the gateway, and behind it if wanted.

    conformance_h2.py [--upstream] PATH/TO/run.py [options of run.py]

The suite speaks HTTP/1.1 and starts its gateway by a command. It is given this script as that command:
`conformance_h2.py --wrap [--upstream] CONFIG` moves the gateway's listener to another port and puts nghttpx
(apt: nghttp2-proxy) in its place, which speaks HTTP/2 without TLS to it. With --upstream a second nghttpx
takes HTTP/2 from the gateway and speaks HTTP/1.1 to each backend.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLUICE = os.environ.get("SLUICE", str(ROOT / ".build/release/sluice"))
# nghttpx as a mere change of version: it adds and rewrites nothing.
PLAIN = ["--no-via", "--no-location-rewrite", "--no-server-rewrite", "--no-add-x-forwarded-proto", "--no-strip-incoming-x-forwarded-proto",
         "--workers=1", "--log-level=ERROR", "--accesslog-file=/dev/null",
         "--frontend-read-timeout=300", "--backend-read-timeout=300", "--frontend-http2-read-timeout=300"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, seconds=10):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


def nghttpx(port, backend, version):
    return subprocess.Popen(
        ["nghttpx", "--conf=/dev/null", f"--frontend=127.0.0.1,{port};no-tls", f"--backend=127.0.0.1,{backend};;proto={version}", *PLAIN])


def rewrite(text, upstream):
    """-> the configuration with another listener, that port and the old one, and the proxies behind: (port, backend's port)."""
    found = re.search(r"(listeners:\s*\n\s*- address: 127\.0\.0\.1:)(\d+)", text)
    public, private, behind = int(found[2]), free_port(), {}
    text = text[:found.start()] + found[1] + str(private) + text[found.end():]
    if upstream:
        def move(match):
            behind.setdefault(match[2], free_port())
            # `http: 2` stands beside each backend's url.
            return f'{match[1]}"http://127.0.0.1:{behind[match[2]]}{match[3]}"\n{re.match(r" *", match[1])[0]}http: 2'
        text = re.sub(r'( +url: )"http://127\.0\.0\.1:(\d+)([^"]*)"', move, text)
    return text, private, public, [(port, int(old)) for old, port in behind.items()]


def wrap(config, upstream):
    path = pathlib.Path(config)
    text, private, public, behind = rewrite(path.read_text(), upstream)
    path.write_text(text)
    proxies = [nghttpx(port, backend, "http/1.1") for port, backend in behind]
    for port, _ in behind:
        wait_for_port(port)
    gateway = subprocess.Popen([SLUICE, "serve", "--config", config])

    def stop(*_):
        gateway.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        while gateway.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", private), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        if gateway.poll() is None:
            # Only now: the suite takes an open port for a gateway that is ready.
            proxies.append(nghttpx(public, private, "h2"))
        return gateway.wait()
    finally:
        for proxy in proxies:
            proxy.terminate()
        for proxy in proxies:
            proxy.wait()


def main(arguments):
    if not shutil.which("nghttpx"):
        raise SystemExit("nghttpx is missing: apt-get install nghttp2-proxy")
    flags = [a for a in arguments if a in ("--wrap", "--upstream")]
    rest = [a for a in arguments if a not in flags]
    if not rest:
        raise SystemExit(__doc__)
    if "--wrap" in flags:
        return wrap(rest[0], "--upstream" in flags)
    command = [sys.executable, str(pathlib.Path(__file__).resolve()), "--wrap", *[f for f in flags if f == "--upstream"], "{config}"]
    return subprocess.call([sys.executable, rest[0], "--gateway", " ".join(command), *rest[1:]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
