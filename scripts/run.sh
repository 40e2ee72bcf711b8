#!/usr/bin/env bash
# Starts the simulator and the gateway on gateway.yaml; Ctrl-C ends both.
set -euo pipefail
cd "$(dirname "$0")/.."

sluice=.build/release/sluice
"$sluice" check --config gateway.yaml
"$sluice" simulate --address 127.0.0.1:9100 --chunk-ms 40 \
    --access-key-id AKIASIMULATOR0000000 --secret-access-key simulator-secret-key &
simulator=$!
"$sluice" serve --config gateway.yaml &
gateway=$!
trap 'kill $gateway $simulator 2>/dev/null; wait 2>/dev/null; exit 0' INT TERM
for _ in $(seq 100); do
    curl -sf http://127.0.0.1:9090/readyz >/dev/null && break
    kill -0 "$gateway" 2>/dev/null || { kill "$simulator" 2>/dev/null; exit 1; }
    sleep 0.1
done
cat <<'TEXT'

Sluice is running. Try:

curl http://127.0.0.1:8080/v1/chat/completions \
  -H 'Authorization: Bearer sk-demo' -H 'Content-Type: application/json' \
  -d '{"model": "claude-3-5-sonnet", "messages": [{"role": "user", "content": "Hello!"}]}'

or in Python (pip install openai):

from openai import OpenAI
client = OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="sk-demo")
messages = [{"role": "user", "content": "Hello!"}]
for chunk in client.chat.completions.create(model="llama-3.1-8b", messages=messages, stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)

What it cost: .build/release/sluice usage     Metrics: http://127.0.0.1:9090/metrics
Ctrl-C ends it.
TEXT
wait "$gateway" || true
kill "$simulator" 2>/dev/null || true
