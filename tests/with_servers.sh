#!/usr/bin/env bash
# Run a command with RABBIT_* and REDIS_* pointing to servers that answer.
#
#   tests/with_servers.sh .venv/bin/python -m pytest tests/integration
#
# Servers that run already (the ones of RABBIT_HOST/REDIS_HOST and their ports, else the default ports of this machine) are
# used. What does not answer is started privately, on free ports and with all its files in a temporary directory, and
# stopped at the end. Missing programs are installed with apt-get when run as root; INSTALL_SERVERS=0 forbids that,
# and 1 has it install what a few tests ask for beside servers (tests/extras.sh).
# FORCE_PRIVATE_SERVERS=1 leaves running servers alone.
set -uo pipefail

readonly START_TIMEOUT_S=120 STOP_TIMEOUT_S=20
scratch=""
redis_pid=""
rabbit_pid=""
epmd_port=""

say() { printf 'with_servers: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# --- do they answer? ---

# redis_answers HOST PORT: a PING gets a PONG.
redis_answers() {
    timeout 3 bash -c '
        exec 3<>"/dev/tcp/$1/$2" || exit 1
        [ -z "${REDIS_PASSWORD:-}" ] || { printf "AUTH %s\r\n" "$REDIS_PASSWORD" >&3; IFS= read -r _ <&3; }
        printf "PING\r\n" >&3
        IFS= read -r line <&3
        [ "${line%$'"'\r'"'}" = "+PONG" ]' _ "$1" "$2" 2>/dev/null
}

# rabbit_answers HOST PORT: the protocol header gets a method frame (type 1), which a node sends once it is up.
rabbit_answers() {
    timeout 3 bash -c '
        exec 3<>"/dev/tcp/$1/$2" || exit 1
        printf "AMQP\0\0\11\1" >&3
        [ "$(head -c 1 <&3 | od -An -tu1 | tr -d " ")" = 1 ]' _ "$1" "$2" 2>/dev/null
}

# wait_for WHAT PID TEST...: until the test succeeds, or the process is gone, or it takes too long.
wait_for() {
    local what=$1 pid=$2 deadline=$((SECONDS + START_TIMEOUT_S))
    shift 2
    until "$@"; do
        kill -0 "$pid" 2>/dev/null || return 1
        [ "$SECONDS" -lt "$deadline" ] || { say "$what did not come up within $START_TIMEOUT_S s"; return 1; }
        sleep 0.2
    done
}

# --- programs ---

rabbit_program() {
    local candidate
    # Debian's own wrapper changes the user and the directory; the script behind it does not.
    for candidate in /usr/lib/rabbitmq/bin/rabbitmq-server "$(command -v rabbitmq-server || true)"; do
        [ -n "$candidate" ] && [ -x "$candidate" ] && { printf '%s\n' "$candidate"; return 0; }
    done
    return 1
}

# need PACKAGE TEST...: install the package when the test finds no program, or say what to do.
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 && return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && [ "${INSTALL_SERVERS:-1}" != 0 ]; then
        say "installing $package"
        export DEBIAN_FRONTEND=noninteractive
        # Run level 1 keeps the package from starting a service of its own.
        { apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$package"; } >"$scratch/apt.log" 2>&1 ||
            { tail -n 20 "$scratch/apt.log" >&2; die "installing $package failed"; }
        "$@" >/dev/null 2>&1 && return 0
    fi
    say "there is no $package on this machine and none answers on its default port. Either"
    say "  install it:               sudo apt-get install $package"
    say "  or start one:             docker run -d --network host ${package%-server}"
    die "  or name one that runs:    RABBIT_HOST/RABBIT_PORT/RABBIT_USER/RABBIT_PASSWORD, REDIS_HOST/REDIS_PORT/REDIS_PASSWORD"
}

# --- private servers ---

start_redis() {
    need redis-server command -v redis-server
    REDIS_HOST=127.0.0.1 REDIS_PORT=$(free_port)
    unset REDIS_PASSWORD
    export REDIS_HOST REDIS_PORT
    mkdir "$scratch/redis"
    setsid redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --save '' --appendonly no --dir "$scratch/redis" \
        >"$scratch/redis.log" 2>&1 &
    redis_pid=$!
    wait_for Redis "$redis_pid" redis_answers "$REDIS_HOST" "$REDIS_PORT" ||
        { tail -n 20 "$scratch/redis.log" >&2; die "Redis did not start"; }
    say "private Redis on port $REDIS_PORT"
}

start_rabbit() {
    need rabbitmq-server rabbit_program
    local home="$scratch/rabbit" node="wsc$$@localhost" ctl=/usr/lib/rabbitmq/bin/rabbitmqctl
    mkdir -p "$home/log" "$scratch/bin"
    RABBIT_HOST=127.0.0.1 RABBIT_PORT=$(free_port) RABBIT_USER=guest RABBIT_PASSWORD=guest
    export RABBIT_HOST RABBIT_PORT RABBIT_USER RABBIT_PASSWORD
    # A port mapper of its own too: the machine's would stay behind, or be somebody else's.
    epmd_port=$(free_port)
    printf '[].\n' >"$home/enabled_plugins"
    cat >"$home/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$RABBIT_PORT
disk_free_limit.absolute = 20MB
CONF
    # HOME: where Erlang keeps its cookie.
    setsid env HOME="$home" ERL_EPMD_PORT="$epmd_port" ERL_EPMD_ADDRESS=127.0.0.1 ERL_CRASH_DUMP=/dev/null \
        RABBITMQ_NODENAME="$node" RABBITMQ_DIST_PORT="$(free_port)" RABBITMQ_CONF_ENV_FILE=/dev/null \
        RABBITMQ_CONFIG_FILE="$home/rabbitmq" RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins" \
        RABBITMQ_MNESIA_BASE="$home/mnesia" RABBITMQ_LOG_BASE="$home/log" RABBITMQ_PID_FILE="$home/pid" \
        "$(rabbit_program)" >"$scratch/rabbit.log" 2>&1 &
    rabbit_pid=$!
    wait_for RabbitMQ "$rabbit_pid" rabbit_answers "$RABBIT_HOST" "$RABBIT_PORT" ||
        { tail -n 40 "$scratch/rabbit.log" >&2; die "RabbitMQ did not start"; }
    # Tests that make a virtual host of their own call rabbitmqctl: this one speaks to this node.
    [ -x "$ctl" ] || ctl=$(command -v rabbitmqctl)
    cat >"$scratch/bin/rabbitmqctl" <<CTL
#!/bin/sh
exec env HOME="$home" ERL_EPMD_PORT="$epmd_port" ERL_CRASH_DUMP=/dev/null RABBITMQ_NODENAME="$node" \\
    RABBITMQ_CONF_ENV_FILE=/dev/null "$ctl" "\$@"
CTL
    chmod +x "$scratch/bin/rabbitmqctl"
    export PATH="$scratch/bin:$PATH"
    say "private RabbitMQ on port $RABBIT_PORT"
}

# stop_group PID: end a server and its children, which setsid put into a group of their own.
stop_group() {
    local deadline=$((SECONDS + STOP_TIMEOUT_S))
    kill -TERM -- "-$1" 2>/dev/null
    while kill -0 -- "-$1" 2>/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || { kill -KILL -- "-$1" 2>/dev/null; break; }
        sleep 0.1
    done
}

stop_all() {
    local status=$?
    trap - EXIT
    [ -z "$rabbit_pid" ] || stop_group "$rabbit_pid"
    [ -z "$redis_pid" ] || stop_group "$redis_pid"
    [ -z "$epmd_port" ] || ERL_EPMD_PORT=$epmd_port epmd -port "$epmd_port" -kill >/dev/null 2>&1
    [ -z "$scratch" ] || rm -rf "$scratch"
    exit "$status"
}

[ $# -gt 0 ] || die "usage: tests/with_servers.sh COMMAND [ARGUMENT…]"
scratch=$(mktemp -d "${TMPDIR:-/tmp}/wsc-servers.XXXXXX")
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ "${FORCE_PRIVATE_SERVERS:-0}" != 1 ] && redis_answers "${REDIS_HOST:-127.0.0.1}" "${REDIS_PORT:-6379}"; then
    export REDIS_HOST=${REDIS_HOST:-127.0.0.1} REDIS_PORT=${REDIS_PORT:-6379}
else
    start_redis
fi
if [ "${FORCE_PRIVATE_SERVERS:-0}" != 1 ] && rabbit_answers "${RABBIT_HOST:-127.0.0.1}" "${RABBIT_PORT:-5672}"; then
    export RABBIT_HOST=${RABBIT_HOST:-127.0.0.1} RABBIT_PORT=${RABBIT_PORT:-5672}
    export RABBIT_USER=${RABBIT_USER:-guest} RABBIT_PASSWORD=${RABBIT_PASSWORD:-guest}
else
    start_rabbit
fi

# What only a few tests ask for; they are skipped without it.
[ "${INSTALL_SERVERS:-}" != 1 ] || "$(dirname "$0")/extras.sh"

# In the foreground: a background command of a script could not be interrupted from the terminal.
"$@"
exit $?
