#!/usr/bin/env bash
# Runs SeedCore under Docker Compose. `./docker/sc-cmd.sh` alone shows what it can do.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
project=seedcore
env_file=$here/.env
# Remote workers join this head unless HEAD_IP_OVERRIDE names another one.
fixed_head_ip=172.31.17.143

usage() {
    cat << 'END'
Usage: ./docker/sc-cmd.sh COMMAND
  up [N]           start everything, with N workers (default 1); the first time docker/.env is made
  down             stop everything; what was stored stays
  restart          start head, workers, API and bootstrap again, in this order; no task is lost
  upgrade          build the image, migrate, restart, and end the migration once nothing old runs
  status           containers, and the nodes of the Ray cluster
  logs [head|workers|api|bootstrap]
  scale N          N local workers
  up-worker [N]    on another host: N workers that join the head at HEAD_IP_OVERRIDE (or the one fixed in this script)
  down-worker      on that host: stop them
Variables: RAY_WORKER_CPUS, HEAD_IP_OVERRIDE, WORKER_IP, SEEDCORE_BIND, HEAD_ON_HOST=1 (docker/head-on-host.yml),
  SC_TLS=1 (docker/tls.yml), SC_UP_TIMEOUT_S (1200), how long up, restart and upgrade wait
END
}

fail() {
    echo "sc-cmd: $*" >&2
    exit 2
}

count() {
    [[ ${1:-} =~ ^[0-9]{1,4}$ ]] || fail "'${1:-}' is not a number of workers"
    # 08 would be a bad octal number to Bash.
    echo "$((10#$1))"
}

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

ensure_env() {
    [ -e "$env_file" ] && return
    local line draft=$env_file.new
    (umask 077 && : > "$draft")
    while IFS= read -r line; do
        case $line in
            RAY_AUTH_TOKEN= | SEEDCORE_API_KEYS= | GRAFANA_PASSWORD=) echo "$line$(random)" ;;
            *) echo "$line" ;;
        esac
    done < "$here/env.example" > "$draft"
    mv "$draft" "$env_file"
    echo "sc-cmd: made $env_file with fresh secrets; SEEDCORE_API_KEYS there is the API's key"
}

compose() {
    local files=(-f "$here/docker-compose.yml" -f "$here/ray-workers.yml")
    if [ "${HEAD_ON_HOST:-0}" = 1 ]; then
        files+=(-f "$here/head-on-host.yml")
        export HEAD_IP=${HEAD_IP_OVERRIDE:-$fixed_head_ip}
    fi
    [ "${SC_TLS:-0}" != 1 ] || files+=(-f "$here/tls.yml")
    docker compose "${files[@]}" -p "$project" "$@"
}

# Lines about this project's containers: containers FORMAT [FURTHER OPTIONS OF docker ps]
containers() { docker ps --filter "label=com.docker.compose.project=$project" --format "$1" "${@:2}"; }

# The services with running containers of these states of health, with the number where it is not one.
services() {
    local state filters=()
    for state in "$@"; do filters+=(--filter "health=$state"); done
    containers '{{.Label "com.docker.compose.service"}}' "${filters[@]}" | sort | uniq -c \
        | awk '{printf "%s%s%s", (NR > 1 ? ", " : ""), $2, ($1 > 1 ? " x" $1 : "")}'
}

workers_now() { compose ps -q ray-worker | grep -c . || true; }

# The volumes without a name (/tmp, above all) of the containers on standard input. Compose leaves them behind, and so does
# the engine's own `rm -v` once Compose has recreated their container: from then on it takes them for named ones.
unnamed_volumes() {
    local container
    while IFS= read -r container; do
        docker inspect -f '{{range .Mounts}}{{println .Name}}{{end}}' "$container"
    done | { grep -xE '[0-9a-f]{64}' || true; }
}

remove_volumes() { [ -z "$1" ] || xargs docker volume rm <<< "$1" > /dev/null; }

remove_workers_above() {
    local name names=() volumes
    while IFS= read -r name; do
        names+=("$name")
    done < <(containers '{{.Names}}' -a --filter label=com.docker.compose.service=ray-worker | sort -V)
    [ "${#names[@]}" -gt "$1" ] || return 0
    volumes=$(printf '%s\n' "${names[@]:$1}" | unnamed_volumes)
    docker stop "${names[@]:$1}" > /dev/null
    docker rm "${names[@]:$1}" > /dev/null
    remove_volumes "$volumes"
}

# Only ray-worker: the rest is left alone, and remote workers are not started by accident.
scale_workers() {
    local workers
    workers=$(count "${1:-}")
    remove_workers_above "$workers"
    compose up -d --no-deps --scale "ray-worker=$workers" ray-worker
}

# Runs a `compose up` again as long as containers are still starting or not yet well: Compose gives up at the first one that
# is called unhealthy, and on a slow machine that one is well a moment later.
until_up() {
    local last=$((SECONDS + ${SC_UP_TIMEOUT_S:-1200})) status waiting
    while true; do
        status=0
        compose "$@" || status=$?
        [ "$status" -ne 0 ] || return 0
        waiting=$(services starting unhealthy)
        # Anything else, such as a port that is taken, does not go away by waiting.
        [ -n "$waiting" ] || return "$status"
        if [ "$SECONDS" -ge "$last" ]; then
            echo "sc-cmd: not up: $waiting; see \`./docker/sc-cmd.sh logs\`, or wait longer with SC_UP_TIMEOUT_S" >&2
            return "$status"
        fi
        echo "sc-cmd: not up yet: $waiting; waiting on" >&2
        sleep 5
    done
}

# The bootstrap is healthy once organs and SeedCore's workers are up and a task went through.
wait_until_up() {
    until_up up -d --wait --wait-timeout 300 --no-recreate --no-deps bootstrap seedcore-api
}

# The last line: what runs, and where it answers.
say_what_is_up() {
    local bind=${SEEDCORE_BIND:-127.0.0.1} scheme=http others
    [ "${SC_TLS:-0}" != 1 ] || scheme=https
    others=$(services starting unhealthy)
    echo "sc-cmd: up: $(services healthy none)${others:+; not yet: $others};" \
        "a task went through; SeedCore: $scheme://$bind:8000, API: $scheme://$bind:8002"
}

up() {
    local workers
    workers=$(count "${1:-1}")
    ensure_env
    remove_workers_above "$workers"
    # Compose keeps depends_on's conditions; what nothing depends on is waited for after it.
    until_up --profile obs up -d --scale "ray-worker=$workers"
    wait_until_up
    status || echo "sc-cmd: the head did not say which nodes there are" >&2
    say_what_is_up
}

down() {
    local volumes
    volumes=$(containers '{{.ID}}' -a | unnamed_volumes)
    compose --profile obs down
    remove_volumes "$volumes"
}

restart() {
    local workers
    workers=$(workers_now)
    # Ray workers belong to the head that they joined; the bootstrap has organs and SeedCore's workers made on the new one.
    compose stop bootstrap ray-worker
    compose up -d --no-deps --force-recreate ray-head
    until_up up -d --no-deps --no-recreate --wait --wait-timeout 300 ray-head
    compose up -d --no-deps --force-recreate --scale "ray-worker=$workers" ray-worker seedcore-api bootstrap
    wait_until_up
    say_what_is_up
}

upgrade() {
    compose build ray-head
    # What the new release needs; the old one goes on working with it.
    compose run --rm --no-deps bootstrap seedcore migrate
    restart
    # Nothing of the old release runs any more: take away what only it needed.
    compose run --rm --no-deps bootstrap seedcore migrate --after
}

status() {
    compose ps
    compose exec -T ray-head ray status --address=127.0.0.1:6380
}

logs() {
    case "${1:-}" in
        head) compose logs -f --tail=200 ray-head ;;
        workers) compose logs -f --tail=200 ray-worker ;;
        api) compose logs -f --tail=200 seedcore-api ;;
        bootstrap) compose logs -f --tail=200 bootstrap ;;
        "") compose logs -f --tail=200 ;;
        *) fail "logs of '$1'? head, workers, api or bootstrap" ;;
    esac
}

remote() {
    # One project a worker: with host networking each needs ports of its own.
    local files=(-f "$here/ray-workers.yml")
    [ "${SC_TLS:-0}" != 1 ] || files+=(-f "$here/tls-remote.yml")
    docker compose "${files[@]}" -p "$project-remote-$1" --profile remote "${@:2}"
}

up_worker() {
    local workers n
    workers=$(count "${1:-1}")
    [ "$workers" -ge 1 ] || fail "up-worker needs at least 1"
    [ -e "$env_file" ] || fail "copy docker/.env from the head's host to $env_file: the workers need its RAY_AUTH_TOKEN"
    export HEAD_IP=${HEAD_IP_OVERRIDE:-$fixed_head_ip}
    export WORKER_IP=${WORKER_IP:-$(ip -4 route get "$HEAD_IP" | sed -n 's/.* src \([0-9.]*\).*/\1/p')}
    [ -n "$WORKER_IP" ] || fail "this host has no route to $HEAD_IP; set WORKER_IP to its own address"
    local object=${RAY_OBJECT_MANAGER_PORT:-8076} node=${RAY_NODE_MANAGER_PORT:-8077}
    local low=${RAY_MIN_WORKER_PORT:-11000} high=${RAY_MAX_WORKER_PORT:-11020}
    for ((n = 0; n < workers; n++)); do
        # The first has the documented ports, the next ones those behind them.
        RAY_OBJECT_MANAGER_PORT=$((object + 2 * n)) RAY_NODE_MANAGER_PORT=$((node + 2 * n)) \
            RAY_MIN_WORKER_PORT=$((low + n * (high - low + 1))) RAY_MAX_WORKER_PORT=$((high + n * (high - low + 1))) \
            RAY_METRICS_PORT=$((8080 + n)) RAY_DASHBOARD_AGENT_PORT=$((52365 + n)) \
            remote "$((n + 1))" up -d --no-deps ray-worker-remote
    done
}

down_worker() {
    local name volumes
    docker compose ls -q | { grep "^$project-remote-" || true; } | while IFS= read -r name; do
        volumes=$(docker ps -aq --filter "label=com.docker.compose.project=$name" | unnamed_volumes)
        remote "${name#"$project-remote-"}" down
        remove_volumes "$volumes"
    done
}

command=${1:-help}
shift || true
case $command in
    up) up "$@" ;;
    down) down ;;
    restart) restart ;;
    upgrade) upgrade ;;
    status) status ;;
    logs) logs "$@" ;;
    scale | scale-workers | scale_workers) scale_workers "$@" ;;
    up-worker) up_worker "$@" ;;
    down-worker) down_worker ;;
    help | -h | --help) usage ;;
    *)
        usage >&2
        exit 2
        ;;
esac
