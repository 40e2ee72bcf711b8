#!/usr/bin/env bash
# Installs the Debian packages that are missing; does nothing, and needs no root, when none is.
set -euo pipefail

packages=(libssl-dev libnghttp2-dev zlib1g-dev libsqlite3-dev libyaml-dev nghttp2-client valgrind binutils pkg-config make curl ca-certificates python3 python3-venv)
missing=()
for package in "${packages[@]}"; do
    case $package in
        # A Python from elsewhere will do when it can make virtual environments.
        python3 | python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null && continue ;;
    esac
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
    as_root=()
    if ((EUID)); then as_root=(sudo); fi
    echo "installing: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
if ! command -v swift >/dev/null; then
    echo "Swift 6.3 is missing: install it from swift.org and put it on PATH." >&2
    exit 1
fi
