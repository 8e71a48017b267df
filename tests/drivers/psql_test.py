"""psql through the gate (or directly). See README.md. PSQL names the program."""
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from common import (BASE, CERTIFICATE, CLIENT, COLUMNS, ODD, SEALED, SLEEPS, Report, connected, csv_of,
                    customer, is_container, is_customer, literals, phone, probed, rows_of_csv,
                    same_phone, saw, spellings)

FIRST = BASE + 30_000
PSQL = os.environ["PSQL"]
SELECT = f"SELECT {COLUMNS} FROM customers WHERE client_id = {CLIENT}"
INSERT = f"INSERT INTO customers ({COLUMNS}) VALUES"
RANGE = f"{SELECT} AND id BETWEEN {FIRST + 10} AND {FIRST + 19} ORDER BY id"
UNTIL_S_MAX = 60


def start(*arguments, options=None, environment=None):
    return subprocess.Popen(
        [PSQL, "-X", "-q", "-v", "ON_ERROR_STOP=1", *arguments, *([options] if options else [])],
        env={**os.environ, **(environment or {})}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)


def psql(script, *arguments, fails=False, **more):
    """What psql prints for a script; its errors if it has to fail."""
    child = start(*arguments, **more)
    out, error = child.communicate(script, timeout=UNTIL_S_MAX)
    assert (child.returncode != 0) == fails, (child.returncode, error)
    if not fails:
        connected()
    return error if fails else out


def customers(script, *arguments, **more):
    return rows_of_csv(psql(script, "--csv", *arguments, **more))


def are_customers(rows, *numbers, note=None):
    assert [row[0] - FIRST for row in rows] == list(numbers), [row[0] for row in rows]
    more = {} if note is None else {"note": note}
    return all(is_customer(row, row[0], **more) for row in rows)


def insert():
    psql(f"{INSERT} {literals(FIRST)};")
    rows = ", ".join(literals(FIRST + i) for i in range(1, 6))
    got = customers(f"{INSERT} {rows} RETURNING {COLUMNS};")
    assert are_customers(got, 1, 2, 3, 4, 5)
    # One string with several statements is one transaction.
    psql("", "-c", f"{INSERT} {literals(FIRST + 6)}; {INSERT} {literals(FIRST + 7)}")
    error = psql("", "-c", f"{INSERT} {literals(FIRST + 8)}; SELECT 1/0", fails=True)
    assert "division by zero" in error, error
    assert are_customers(customers(f"{SELECT} AND id BETWEEN {FIRST + 5} AND {FIRST + 8} ORDER BY id;"), 5, 6, 7)
    assert psql("INSERT INTO calls (client_id, topic) VALUES (1, 'psql') RETURNING topic;", "-At") == "psql\n"


def search_by_phone():
    for spelling in spellings(FIRST + 1):
        assert are_customers(customers(f"{SELECT} AND phone = '{spelling}';"), 1)
        assert are_customers(customers(f"{SELECT} AND phone = :'number';", "-v", f"number={spelling}"), 1)
        probed(2)
    a, b = phone(FIRST + 1), phone(FIRST + 2)
    assert are_customers(customers(f"{SELECT} AND phone IN ('{a}', '{b}') ORDER BY id;"), 1, 2)
    assert customers(f"{SELECT} AND phone = '{phone(BASE - 1)}';") == []
    probed(3)


def prepared_reused():
    script = f"PREPARE s(text) AS {SELECT} AND phone = $1;\n"
    script += "".join(f"EXECUTE s('{phone(FIRST + i)}');\n" for i in range(6))
    # A header for each: rows of one EXECUTE at a time.
    text = psql(script + "DEALLOCATE s;\n", "--csv", "-t")
    rows = rows_of_csv(",".join(COLUMNS.split(", ")) + "\n" + text)
    assert are_customers(rows, 0, 1, 2, 3, 4, 5)
    probed(6)


def describes():
    described = psql(f"{SELECT} \\gdesc", "-At")
    assert described.splitlines()[:3] == ["id|bigint", "client_id|integer", "name|text"], described
    assert "phone" in psql("\\d customers", "-At")
    assert "customers" in psql("\\dt", "-At")


def cursor_with_fetch_size():
    got = customers(f"\\set FETCH_COUNT 3\n{SELECT} AND id BETWEEN {FIRST} AND {FIRST + 7} ORDER BY id;")
    assert are_customers(got, *range(8))
    script = (f"BEGIN; DECLARE c SCROLL CURSOR FOR {SELECT} AND id BETWEEN {FIRST} AND {FIRST + 5} "
              "ORDER BY id;\nFETCH 2 FROM c;\nFETCH ABSOLUTE 5 FROM c;\nFETCH PRIOR FROM c;\nCOMMIT;\n")
    rows = rows_of_csv(",".join(COLUMNS.split(", ")) + "\n" + psql(script, "--csv", "-t"))
    assert are_customers(rows, 0, 1, 4, 3)
    assert psql("\\set FETCH_COUNT 7\nSELECT generate_series(1, 20);", "-At").split() == [
        str(i) for i in range(1, 21)]


def copy_in():
    def field(value):
        return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")

    text = "".join("\t".join(field(v) for v in customer(FIRST + i, ODD)) + "\n" for i in range(10, 13))
    psql(f"COPY customers ({COLUMNS}) FROM STDIN;\n{text}\\.\n")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "customers.csv"
        path.write_text(csv_of(customer(FIRST + i, ODD) for i in range(13, 20)))
        psql(f"\\copy customers ({COLUMNS}) FROM '{path}' (FORMAT csv)\n")
    assert are_customers(customers(f"{RANGE};"), *range(10, 20), note=ODD)
    psql("COPY calls (client_id, topic) FROM STDIN;\n1\tcopied by psql\n\\.\n")
    assert psql("SELECT count(*) FROM calls WHERE topic = 'copied by psql';", "-At") == "1\n"


def copy_out():
    rows = rows_of_csv(psql(f"COPY ({RANGE}) TO STDOUT (FORMAT csv, HEADER);"))
    assert are_customers(rows, *range(10, 20), note=ODD)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "customers.csv"
        psql(f"\\copy ({RANGE}) TO '{path}' (FORMAT csv, HEADER)\n")
        assert are_customers(rows_of_csv(path.read_text()), *range(10, 20), note=ODD)
    text = psql(f"COPY (SELECT id, phone FROM customers WHERE client_id = {CLIENT} AND id >= {FIRST}) TO STDOUT;")
    for line in text.splitlines():
        n, number = line.split("\t")
        assert same_phone(number, phone(int(n)))
        saw(int(n))
    assert len(text.splitlines()) == 18


def containers():
    sql = "SELECT {} FROM customers c WHERE client_id = 1 AND id = " + str(FIRST + 5)
    for what in ("row_to_json(c)", "to_jsonb(c)"):
        assert is_container(psql(sql.format(what) + ";", "-At"), FIRST + 5)
    want = customer(FIRST + 5)
    shown = psql(sql.format("array_agg(name)") + ";", "-At")
    assert shown == f'{{"{want[2]}"}}\n', shown
    saw(FIRST + 5)


def errors_and_savepoints():
    script = (f"BEGIN;\n{INSERT} {literals(FIRST + 20)};\nSELECT 1/0;\n{SELECT};\nSELECT 1;\nCOMMIT;\n"
              f"{SELECT} AND id = {FIRST + 20};\n")
    assert psql(script, "-At", "-v", "ON_ERROR_STOP=0") == ""
    # psql makes a savepoint before each statement and goes back to it after an error.
    script = (f"\\set ON_ERROR_ROLLBACK on\nBEGIN;\n{INSERT} {literals(FIRST + 21)};\nSELECT 1/0;\n"
              f"{INSERT} {literals(FIRST + 21)};\n{INSERT} {literals(FIRST + 22)};\nCOMMIT;\n"
              f"{SELECT} AND id BETWEEN {FIRST + 20} AND {FIRST + 29} ORDER BY id;\n")
    assert are_customers(customers(script, "-v", "ON_ERROR_STOP=0"), 21, 22)


def interrupted(script, marker, **more):
    """Ctrl-C to a psql whose statement runs, as another session sees."""
    child = start("-At", **more)
    child.stdin.write(script)
    child.stdin.flush()
    deadline = time.monotonic() + UNTIL_S_MAX
    seen = ("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND pid <> pg_backend_pid() "
            f"AND query LIKE '%{marker}%'")
    while psql(seen + ";", "-At") != "1\n":
        assert time.monotonic() < deadline and child.poll() is None, "the statement does not run"
    child.send_signal(signal.SIGINT)
    # A script ends at a cancel; a psql that is asked for more goes on.
    out, error = child.communicate(timeout=UNTIL_S_MAX)
    assert "canceling statement due to user request" in error, error
    return out


def cancel():
    interrupted("SELECT pg_sleep(60) AS first_sleep;\n", "first_sleep")
    columns = COLUMNS + SLEEPS % (FIRST + 3)
    interrupted(f"SELECT {columns} AS second_sleep FROM customers WHERE client_id = {CLIENT} AND "
                f"id >= {FIRST} ORDER BY id;\n", "second_sleep")


def listen_notify():
    out = psql(f"LISTEN driver_test;\n{SELECT} AND id = {FIRST};\nNOTIFY driver_test, 'hello';\n", "--csv")
    head, _, rest = out.partition("Asynchronous notification")
    assert are_customers(rows_of_csv(head), 0)
    assert '"driver_test" with payload "hello"' in rest, out


def refused():
    """What cannot be asked of a sealed column is an error as PostgreSQL's own."""
    for sql in [f"{SELECT} AND phone LIKE '090%'", f"{SELECT} ORDER BY name", "SELECT upper(name) FROM customers",
                f"COPY customers ({COLUMNS}) FROM STDIN (FORMAT binary)"]:
        error = psql(f"\\set VERBOSITY verbose\n{sql};\n", fails=True)
        assert "ERROR:  0A000:" in error, error
        # Not as a script: after a COPY that failed, psql 18 skips what follows as its data.
        got = customers("", "-v", "ON_ERROR_STOP=0", "-c", sql, "-c", f"{SELECT} AND id = {FIRST}")
        assert are_customers(got, 0)


def tls():
    """SCRAM-SHA-256-PLUS, and the certificate verified."""
    options = f"host=localhost sslmode=verify-full sslrootcert={CERTIFICATE} channel_binding=require"
    got = customers(f"{SELECT} AND id = {FIRST};", options=options)
    assert are_customers(got, 0)
    assert "SSL connection (protocol: TLSv1.3" in psql("\\conninfo", options=options)
    interrupted("SELECT pg_sleep(60) AS third_sleep;\n", "third_sleep", options=options)
    error = psql("", options=options, environment={"PGPASSWORD": "wrong"}, fails=True)
    assert "authentication failed" in error, error
    error = psql("", options=options.replace("sslmode=verify-full", "sslmode=disable"), fails=True)
    assert "channel binding" in error, error


CHECKS = [insert, search_by_phone, prepared_reused, describes, cursor_with_fetch_size, copy_in, copy_out,
          containers, errors_and_savepoints, cancel, listen_notify]
THROUGH_THE_GATE = [refused, tls]


def main():
    report = Report("psql")
    for check in CHECKS + (THROUGH_THE_GATE if SEALED else []):
        try:
            check()
            report.ok(check.__name__)
        except Exception:
            report.bad(check.__name__)
    report.end()


main()
