#!/bin/bash
# Runs the driver tests. See README.md.
#   run.sh direct   against a private plain PostgreSQL that it starts and stops
#   run.sh gate     through a gate that it starts and stops; SEKISHO names the program, by
#                   default target/debug/sekisho
# SEKISHO_POSTGRESQL names the folder of another PostgreSQL than the newest installed.
# Exit status 1 if a check fails. DRIVERS="psycopg asyncpg node-pg psql" chooses; default all.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${CARGO_TARGET_DIR:-$here/../../target}/drivers"
target=$(cd "${CARGO_TARGET_DIR:-$here/../../target}/drivers" && pwd)
drivers=${DRIVERS:-psycopg asyncpg node-pg psql}
installed=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
# The server's programs, as the program itself chooses them; psql may be missing beside them.
bin=${SEKISHO_POSTGRESQL:-$installed}
psql=$bin/psql
[ -x "$psql" ] || psql=$installed/psql
export PSQL=$psql NODE_PATH=$target/node/node_modules PYTHONDONTWRITEBYTECODE=1
python=$target/venv/bin/python

install_drivers() {
    if ! cmp -s "$here/requirements.txt" "$target/venv/requirements.txt"; then
        python3 -m venv --clear "$target/venv"
        "$target/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
        cp "$here/requirements.txt" "$target/venv/requirements.txt"
    fi
    if ! cmp -s "$here/package-lock.json" "$target/node/package-lock.json"; then
        rm -rf "$target/node"
        mkdir -p "$target/node"
        cp "$here/package.json" "$here/package-lock.json" "$target/node/"
        (cd "$target/node" && npm ci --silent --no-audit --no-fund)
    fi
}

start_direct() {
    folder=$(mktemp -d /tmp/sekisho-drivers.XXXXXX)
    as=()
    if [ "$(id -u)" = 0 ]; then
        chown postgres: "$folder"
        as=(runuser -u postgres --)
    fi
    cd "$folder"
    "${as[@]}" "$bin/initdb" -D "$folder/data" -U tester -A trust -E UTF8 --locale=C >"$folder/initdb.log"
    "${as[@]}" "$bin/pg_ctl" -w -s -D "$folder/data" -l "$folder/data/server.log" \
        -o "-k $folder -c listen_addresses=" start
    trap '"${as[@]}" "$bin/pg_ctl" -s -m fast -D "$folder/data" stop; rm -rf "$folder"' EXIT
    export PGHOST=$folder PGPORT=5432 PGUSER=tester PGDATABASE=postgres SEALED=0
    # The socket's folder must be passable for us.
    chmod 755 "$folder"
    "$psql" -qX -v ON_ERROR_STOP=1 -f "$here/schema.sql"
}

# The program of a driver's tests, its arguments after commas.
program() {
    case $1 in
    psycopg) echo "$python,$here/psycopg_test.py" ;;
    asyncpg) echo "$python,$here/asyncpg_test.py" ;;
    node-pg) echo "node,$here/node_pg_test.js" ;;
    psql) echo "$python,$here/psql_test.py" ;;
    *)
        echo "unknown driver $1" >&2
        return 2
        ;;
    esac
}

direct() {
    start_direct
    failed=0
    for driver in $drivers; do
        IFS=, read -ra command <<<"$(program "$driver")"
        "${command[@]}" || failed=1
    done
    exit $failed
}

gate() {
    export SEKISHO=${SEKISHO:-$target/../debug/sekisho}
    if [ ! -x "$SEKISHO" ]; then
        echo "there is no $SEKISHO: run \`cargo build --workspace\`, or name the program in SEKISHO" >&2
        exit 2
    fi
    arguments=()
    for driver in $drivers; do
        arguments+=("$driver=$(program "$driver")")
    done
    exec "$python" "$here/gate.py" "${arguments[@]}"
}

for driver in $drivers; do
    program "$driver" >/dev/null
done
case ${1:-} in
direct | gate)
    install_drivers
    "$1"
    ;;
*)
    echo "usage: run.sh direct|gate" >&2
    exit 2
    ;;
esac
