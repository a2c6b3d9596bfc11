#!/usr/bin/env bash
# The programs that some tests and benches talk to: nginx (an upstream in C), wrk (a load client), curl (what users
# type), redis-server, memcached, docker-registry (models as artifacts). Installs what is missing with apt, as root or
# through sudo; without either it says what to install.
set -euo pipefail

missing=()
for program in nginx wrk curl redis-server memcached openssl docker-registry; do
    command -v "$program" >/dev/null 2>&1 || [ -x "/usr/sbin/$program" ] || missing+=("$program")
done
[ ${#missing[@]} -eq 0 ] && exit 0

sudo=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        sudo=(sudo -n)
    else
        echo "not root: install them yourself: ${missing[*]} (the tests that need them say so)" >&2
        exit 0
    fi
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "no apt-get here: install them yourself: ${missing[*]} (the tests that need them say so)" >&2
    exit 0
fi

export DEBIAN_FRONTEND=noninteractive
# Tests run an nginx of their own on ports of their own; the one that the package may start is not used.
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 || {
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
