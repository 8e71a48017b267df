#!/bin/bash
# Runs the driver tests. See README.md.
#   run.sh direct   against a private plain PostgreSQL that it starts and stops
#   run.sh          against what PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE name
# Exit status 1 if a check fails. DRIVERS="psycopg asyncpg node-pg" chooses; default all.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}/drivers
mkdir -p "$target"
target=$(cd "$target" && pwd)
drivers=${DRIVERS:-psycopg asyncpg node-pg}

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
    bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
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
    "$bin/psql" -qX -v ON_ERROR_STOP=1 -f "$here/schema.sql"
}

install_drivers
case ${1:-} in
direct) start_direct ;;
"") : "${PGHOST:?}" "${PGPORT:?}" "${PGUSER:?}" "${PGDATABASE:?}" ;;
*)
    echo "usage: run.sh [direct]" >&2
    exit 2
    ;;
esac

failed=0
for driver in $drivers; do
    case $driver in
    psycopg) "$target/venv/bin/python" "$here/psycopg_test.py" || failed=1 ;;
    asyncpg) "$target/venv/bin/python" "$here/asyncpg_test.py" || failed=1 ;;
    node-pg) NODE_PATH="$target/node/node_modules" node "$here/node_pg_test.js" || failed=1 ;;
    *)
        echo "unknown driver $driver" >&2
        exit 2
        ;;
    esac
done
exit $failed
