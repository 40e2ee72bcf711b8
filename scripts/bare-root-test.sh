#!/usr/bin/env bash
# Shows that the stripped static binary runs in a bare Debian 12 root with nothing but the run-time
# packages that the Dockerfile names. Needs root and debootstrap; uses the machine's own Debian mirror.
set -euo pipefail
cd "$(dirname "$0")/.."

root=${BARE_ROOT:-/tmp/sluice-bare-root}
binary=.build/release/sluice
[[ -x $binary ]] || { echo "run 'make build' first" >&2; exit 1; }
command -v debootstrap >/dev/null || apt-get install -y -qq debootstrap
packages=$(grep -A1 '^# runtime-packages' Dockerfile | tail -1 | sed -E 's/.*--no-install-recommends (.*) && rm.*/\1/')
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' | head -1)

if [[ ! -e $root/.complete ]]; then
    rm -rf "$root"
    debootstrap --variant=minbase bookworm "$root" "$mirror" >/tmp/debootstrap.log
    for file in /etc/apt/apt.conf.d /etc/apt/trusted.gpg.d /usr/share/keyrings /etc/apt/auth.conf.d; do
        if [[ -d $file ]]; then mkdir -p "$root$file" && cp -r "$file/." "$root$file/"; fi
    done
    cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
    chroot "$root" apt-get update -qq
    # shellcheck disable=SC2086
    chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
    touch "$root/.complete"
fi
strip -o "$root/usr/local/bin/sluice" "$binary"
cp gateway.yaml "$root/root/gateway.yaml"
echo "packages: $packages"
echo "binary: $(stat -c %s "$root/usr/local/bin/sluice") bytes"

# The Swift runtime reads its arguments from /proc, which every container has.
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
chroot "$root" /usr/local/bin/sluice simulate --address 127.0.0.1:9100 \
    --access-key-id AKIASIMULATOR0000000 --secret-access-key simulator-secret-key &
simulator=$!
chroot "$root" /bin/sh -c 'cd /root && exec /usr/local/bin/sluice serve --config gateway.yaml' &
gateway=$!
trap 'kill $gateway $simulator 2>/dev/null; wait; umount "$root/proc" 2>/dev/null' EXIT
for _ in $(seq 100); do
    curl -sf http://127.0.0.1:9090/readyz >/dev/null && break
    sleep 0.1
done
answer=$(curl -sf http://127.0.0.1:8080/v1/chat/completions -H 'Authorization: Bearer sk-demo' \
    -H 'Content-Type: application/json' \
    -d '{"model": "claude-3-5-sonnet", "messages": [{"role": "user", "content": "Hello!"}]}')
echo "$answer"
grep -q '"object":"chat.completion"' <<<"$answer"
echo "bare root: passed"
