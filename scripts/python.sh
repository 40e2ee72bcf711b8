#!/usr/bin/env bash
# Makes .venv with what the end-to-end tests need.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/requirements.stamp
if [[ ! -f $stamp || Tests/EndToEnd/requirements.txt -nt $stamp ]]; then
    python3 -m venv .venv
    .venv/bin/python -m pip install -q --disable-pip-version-check -r Tests/EndToEnd/requirements.txt
    touch "$stamp"
fi
