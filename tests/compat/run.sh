#!/bin/sh
# Redis's clients and tools against Chronos, and against a redis-server where one is installed.
#
#     tests/compat/run.sh target/release/chronos [words of clients.py]
#
# Installs nothing. PYTHON names a Python that has redis-py (default: python3). The servers get ports
# and directories of their own and are ended by their process ids, however this ends.
set -eu

chronos=${1:?usage: run.sh path/to/chronos [words of clients.py]}
shift
python=${PYTHON:-python3}
here=$(dirname "$0")
work=$(mktemp -d)
pids=

end() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap end EXIT
trap 'exit 1' INT TERM

# Waits until a file has a line with these words, while the process lives.
wait_for() { # file words pid
    tries=0
    until grep -qs "$2" "$1"; do
        tries=$((tries + 1))
        if [ $tries -gt 600 ] || ! kill -0 "$3" 2>/dev/null; then
            return 1
        fi
        sleep 0.1
    done
}

free_port() {
    "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

"$chronos" --data-dir "$work/chronos" --listen 127.0.0.1:0 --redis-listen 127.0.0.1:0 \
    >"$work/chronos.out" 2>"$work/chronos.log" &
pids="$pids $!"
# A line for each listener: text first, then Redis.
if ! wait_for "$work/chronos.out" "127.0.0.1:" $!; then
    echo "chronos did not start:" >&2
    cat "$work/chronos.log" >&2
    exit 1
fi
servers="--server chronos=$(grep -o '127\.0\.0\.1:[0-9]*' "$work/chronos.out" | tail -n 1)"

if command -v redis-server >/dev/null; then
    port=$(free_port)
    redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --daemonize no --dir "$work" \
        >"$work/redis.log" 2>&1 &
    pids="$pids $!"
    if ! wait_for "$work/redis.log" "Ready to accept connections" $!; then
        echo "redis-server did not start:" >&2
        cat "$work/redis.log" >&2
        exit 1
    fi
    servers="$servers --server redis=127.0.0.1:$port"
elif [ -n "${CHRONOS_REQUIRE_REDIS:-}" ]; then
    echo "CHRONOS_REQUIRE_REDIS is set, and there is no redis-server" >&2
    exit 1
else
    echo "skipped: there is no redis-server to compare with"
fi

# The words are split on purpose: they hold no spaces.
# shellcheck disable=SC2086
"$python" "$here/clients.py" $servers "$@"
