"""psycopg 3 through the gate (or directly). See README.md."""
import os
import threading

import psycopg
from psycopg.types.json import Json, Jsonb

from common import (BASE, CERTIFICATE, CLIENT, COLUMNS, ODD, SEALED, SLEEPS, THING, Report,
                    connected, csv_of, customer, email, is_container, is_customer, literals, phone,
                    probed, rows_of_csv, same_phone, saw, spellings, thing)

FIRST = BASE
VALUES = "(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
INSERT = f"INSERT INTO customers ({COLUMNS}) VALUES {VALUES}"
SELECT = f"SELECT {COLUMNS} FROM customers WHERE client_id = {CLIENT}"
RANGE = f"{SELECT} AND id BETWEEN {FIRST + 10} AND {FIRST + 19} ORDER BY id"


def connect(**options):
    connected()
    return psycopg.connect(autocommit=True, **options)


def insert_literal(db):
    db.execute(f"INSERT INTO customers ({COLUMNS}) VALUES {literals(FIRST)}")
    assert is_customer(db.execute(f"{SELECT} AND id = {FIRST}").fetchone(), FIRST)


def insert_parameters(db):
    assert db.execute(INSERT, customer(FIRST + 1)).rowcount == 1
    row = db.execute(SELECT + " AND id = %s", (FIRST + 1,)).fetchone()
    assert is_customer(row, FIRST + 1)
    row = db.execute("INSERT INTO calls (client_id, topic) VALUES (%s, %s) RETURNING topic",
                     (CLIENT, "one")).fetchone()
    assert row == ("one",)


def insert_many_rows(db):
    rows = ", ".join(literals(FIRST + i) for i in (30, 31))
    assert db.execute(f"INSERT INTO customers ({COLUMNS}) VALUES {rows}").rowcount == 2
    cursor = db.execute(f"{INSERT}, {VALUES} RETURNING {COLUMNS}",
                        customer(FIRST + 32) + customer(FIRST + 33))
    for i, row in enumerate(cursor.fetchall()):
        assert is_customer(row, FIRST + 32 + i)
    rows = db.execute(f"{SELECT} AND id IN (%s, %s) ORDER BY id", (FIRST + 30, FIRST + 31)).fetchall()
    assert is_customer(rows[0], FIRST + 30) and is_customer(rows[1], FIRST + 31)


def insert_executemany(db):
    with db.cursor() as cursor:
        cursor.executemany(INSERT, [customer(FIRST + i) for i in range(2, 10)])
        assert cursor.rowcount == 8
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO calls (client_id, topic) VALUES (%s, %s) RETURNING topic",
                           [(CLIENT, f"psycopg {i}") for i in range(3)], returning=True)
        got = [cursor.fetchone()[0]]
        while cursor.nextset():
            got.append(cursor.fetchone()[0])
        assert got == ["psycopg 0", "psycopg 1", "psycopg 2"], got
    with db.cursor() as cursor:
        cursor.executemany(f"{INSERT} RETURNING {COLUMNS}",
                           [customer(FIRST + i) for i in range(34, 37)], returning=True)
        for i in range(34, 37):
            assert is_customer(cursor.fetchone(), FIRST + i)
            assert bool(cursor.nextset()) == (i < 36)


def search_by_phone(db):
    for spelling in spellings(FIRST + 1):
        rows = db.execute(SELECT + " AND phone = %s", (spelling,)).fetchall()
        assert len(rows) == 1 and is_customer(rows[0], FIRST + 1)
        rows = db.execute(f"{SELECT} AND phone = '{spelling}'").fetchall()
        assert len(rows) == 1 and is_customer(rows[0], FIRST + 1)
        probed(2)
    assert db.execute(SELECT + " AND phone = %s", (phone(BASE - 1),)).fetchall() == []
    probed()


def search_otherwise(db):
    a, b = phone(FIRST + 2), phone(FIRST + 3)
    mail = email(FIRST + 2).upper() if SEALED else email(FIRST + 2)
    for condition, values, found in [
        ("phone IN (%s, %s)", (a, b), [2, 3]),
        ("phone = ANY(%s)", ([a, None, b],), [2, 3]),
        ("phone = ANY(%b)", ([a, None, b],), [2, 3]),
        ("phone IS NOT DISTINCT FROM %s::text", (a,), [2]),
        ("%s = phone", (b,), [3]),
        ("phone = %b", (b,), [3]),
        ("email = %s", (mail,), [2]),
        ("phone = %s AND email = %s", (a, email(FIRST + 3)), []),
        (f"phone <> %s AND id BETWEEN {FIRST + 2} AND {FIRST + 3}", (a,), [3]),
    ]:
        rows = db.execute(f"{SELECT} AND {condition} ORDER BY id", values).fetchall()
        assert [row[0] - FIRST for row in rows] == found, condition
        assert all(is_customer(row, row[0]) for row in rows)
        probed()
    joined = db.execute("SELECT a.id, b.phone FROM customers a JOIN customers b USING (client_id, phone) "
                        f"WHERE a.client_id = {CLIENT} AND a.phone = %s", (a,)).fetchall()
    assert [row[0] for row in joined] == [FIRST + 2] and same_phone(joined[0][1], a)
    saw(FIRST + 2)


def on_conflict(db):
    upsert = f"{INSERT} ON CONFLICT (client_id, phone) DO UPDATE SET note = excluded.note RETURNING id, note"
    changed = list(customer(FIRST + 60, note="上書き"))
    changed[4] = spellings(FIRST + 9)[-1]
    assert db.execute(upsert, changed).fetchall() == [(FIRST + 9, "上書き")]
    saw(FIRST + 9)
    changed[8] = customer(FIRST)[8]
    assert db.execute(upsert, changed).rowcount == 1
    try:
        db.execute(INSERT, changed)
        raise AssertionError("no error")
    except psycopg.errors.UniqueViolation as error:
        assert "090" not in str(error.diag.message_detail) or not SEALED


def prepared_reused(db):
    for i in range(8):
        rows = db.execute("SELECT id, phone FROM customers WHERE client_id = %s AND phone = %s",
                          (CLIENT, phone(FIRST + i)), prepare=True).fetchall()
        assert [r[0] for r in rows] == [FIRST + i] and same_phone(rows[0][1], phone(FIRST + i))
        saw(FIRST + i)
        probed()
        row = db.execute("SELECT %s::int + 1", (i,), prepare=True).fetchone()
        assert row == (i + 1,)


def deallocated(_db):
    """The application drops all prepared statements; the gate has one of its own."""
    with connect(prepare_threshold=None) as db:
        for drop in ["DEALLOCATE ALL", "DISCARD ALL"]:
            db.execute(INSERT, customer(FIRST + 44))
            db.execute(drop)
            db.execute(INSERT, customer(FIRST + 45))
            db.execute(drop)
            # What PostgreSQL skips after an error, it has not prepared.
            try:
                with db.pipeline():
                    db.execute("SELECT 1/0")
                    db.execute(INSERT, customer(FIRST + 46))
                raise AssertionError("no error")
            except psycopg.errors.DivisionByZero:
                pass
            rows = db.execute(f"DELETE FROM customers WHERE client_id = {CLIENT} AND id IN (%s, %s, %s) "
                              f"RETURNING {COLUMNS}", [FIRST + i for i in (44, 45, 46)]).fetchall()
            assert len(rows) == 2 and all(is_customer(row, row[0]) for row in rows)


def described_once(db):
    raw = db.pgconn
    sql = f"SELECT id, phone FROM customers WHERE client_id = {CLIENT} AND phone = $1"
    for name, text, types in [(b"sealed", sql, [25, 20, 25]), (b"plain", "SELECT $1::int4 + 1", [23, 23])]:
        assert raw.prepare(name, text.encode()).status == psycopg.pq.ExecStatus.COMMAND_OK
        about = raw.describe_prepared(name)
        got = [about.param_type(0)] + [about.ftype(i) for i in range(about.nfields)]
        assert got == types, got
    for i in range(8):
        for result_format in (0, 1):
            got = raw.exec_prepared(b"sealed", [phone(FIRST + i).encode()], result_format=result_format)
            assert got.ntuples == 1, got.error_message
            assert same_phone(got.get_value(0, 1).decode(), phone(FIRST + i))
            saw(FIRST + i)
            probed()
            got = raw.exec_prepared(b"plain", [str(i).encode()], result_format=result_format)
            value = got.get_value(0, 0)
            assert (int.from_bytes(value, "big") if result_format else int(value)) == i + 1
    db.execute("DEALLOCATE sealed")
    got = raw.exec_prepared(b"sealed", [b"1"])
    assert got.error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"26000"
    db.execute("PREPARE s(text) AS " + SELECT + " AND phone = $1")
    assert is_customer(db.execute(f"EXECUTE s('{spellings(FIRST + 4)[-1]}')").fetchone(), FIRST + 4)
    db.execute("DEALLOCATE s")


def pipeline(db):
    with db.pipeline():
        cursors = [db.execute(SELECT + " AND id = %s", (FIRST + i,)) for i in range(8)]
        plain = [db.execute("SELECT %s::int", (i,)) for i in range(8)]
        by_phone = [db.execute(SELECT + " AND phone = %s", (phone(FIRST + i),)) for i in range(8)]
        for i, cursor in enumerate(cursors):
            assert is_customer(cursor.fetchone(), FIRST + i)
        for i, cursor in enumerate(plain):
            assert cursor.fetchone() == (i,)
        for i, cursor in enumerate(by_phone):
            assert is_customer(cursor.fetchone(), FIRST + i)
            probed()


def pipeline_transaction(db):
    with db.pipeline(), db.transaction():
        inserted = db.execute(INSERT, customer(FIRST + 40))
        read = db.execute(SELECT + " AND id = %s", (FIRST + 40,))
        deleted = db.execute(f"DELETE FROM customers WHERE client_id = {CLIENT} AND id = %s RETURNING "
                             + COLUMNS, (FIRST + 40,))
        gone = db.execute(SELECT + " AND id = %s", (FIRST + 40,))
        assert is_customer(read.fetchone(), FIRST + 40)
        assert is_customer(deleted.fetchone(), FIRST + 40)
        assert gone.fetchone() is None
        assert inserted.rowcount == 1


def pipeline_error(db):
    for wrong, error in [("SELECT 1/0", psycopg.errors.DivisionByZero),
                         (f"{SELECT} AND 1/(id-id) = 1", psycopg.errors.DivisionByZero)]:
        try:
            with db.pipeline():
                first = db.execute("SELECT 1")
                sealed = db.execute(SELECT + " AND id = %s", (FIRST,))
                db.execute(wrong)
                db.execute("SELECT 2")
                assert first.fetchone() == (1,)
                assert is_customer(sealed.fetchone(), FIRST)
            raise AssertionError("no error")
        except error:
            pass
        assert db.execute("SELECT 3").fetchone() == (3,)
        assert is_customer(db.execute(SELECT + " AND id = %s", (FIRST,)).fetchone(), FIRST)
    # What is skipped is skipped, also where the gate has a record to write before it sends it.
    many = [phone(FIRST + i) for i in range(20)]
    for i in range(20):
        try:
            with db.pipeline():
                db.execute("SELECT 1/0")
                db.execute(f"UPDATE customers SET note = 'no' WHERE client_id = {CLIENT} AND phone = ANY(%s) "
                           "RETURNING id", (many,))
            raise AssertionError("no error")
        except psycopg.errors.DivisionByZero:
            pass
        assert db.execute("SELECT %s::int", (i,)).fetchone() == (i,)
    assert is_customer(db.execute(SELECT + " AND id = %s", (FIRST,)).fetchone(), FIRST)


def server_side_cursor(db):
    with db.transaction():
        with db.cursor(name="paging") as cursor:
            cursor.itersize = 3
            cursor.execute(SELECT + " AND id BETWEEN %s AND %s ORDER BY id", (FIRST, FIRST + 9))
            rows = list(cursor)
    assert len(rows) == 10
    assert all(is_customer(row, FIRST + i) for i, row in enumerate(rows))
    with db.transaction(), db.cursor(name="plain") as cursor:
        cursor.execute("SELECT generate_series(1, 100)")
        assert len(cursor.fetchmany(7)) == 7 and len(cursor.fetchall()) == 93


def cursor_that_scrolls(db):
    with db.transaction(), db.cursor(name="back", scrollable=True, binary=True) as cursor:
        cursor.execute(SELECT + " AND id BETWEEN %s AND %s ORDER BY id", (FIRST, FIRST + 5))
        assert is_customer(cursor.fetchone(), FIRST)
        cursor.scroll(4, mode="absolute")
        assert is_customer(cursor.fetchone(), FIRST + 4)
        cursor.scroll(-3)
        assert is_customer(cursor.fetchone(), FIRST + 2)
    with db.cursor(name="held", withhold=True) as cursor:
        cursor.execute(SELECT + " AND id BETWEEN %s AND %s ORDER BY id", (FIRST, FIRST + 5))
        assert is_customer(cursor.fetchmany(2)[1], FIRST + 1)
        assert len(cursor.fetchall()) == 4


def rows_as_they_come(db):
    for size in (1, 3):
        rows = list(db.cursor().stream(SELECT + " AND id BETWEEN %s AND %s ORDER BY id",
                                       (FIRST, FIRST + 9), size=size))
        assert len(rows) == 10
        assert all(is_customer(row, FIRST + i) for i, row in enumerate(rows))


def copy_in(db):
    with db.cursor() as cursor, cursor.copy(f"COPY customers ({COLUMNS}) FROM STDIN") as copy:
        for i in range(10, 15):
            copy.write_row(customer(FIRST + i, ODD))
        assert cursor.statusmessage is None
    text = csv_of(customer(FIRST + i, ODD) for i in range(15, 20)).encode()
    with db.cursor() as cursor:
        with cursor.copy(f"COPY customers ({COLUMNS}) FROM STDIN (FORMAT csv)") as copy:
            for at in range(0, len(text), 11):  # ends in the middle of rows and characters
                copy.write(text[at:at + 11])
        assert cursor.statusmessage == "COPY 5"
    for i in (10, 14, 15, 19):
        row = db.execute(SELECT + " AND phone = %s", (phone(FIRST + i),)).fetchone()
        assert is_customer(row, FIRST + i, ODD)
        probed()
    with db.cursor() as cursor, cursor.copy("COPY calls (client_id, topic) FROM STDIN") as copy:
        copy.write_row((CLIENT, "copied"))
    with db.cursor() as cursor, cursor.copy("COPY calls (client_id, topic) FROM STDIN (FORMAT csv)") as copy:
        copy.write(b'1,"copied, as csv"\n')
    got = db.execute("SELECT topic FROM calls WHERE topic LIKE 'copied%' ORDER BY 1").fetchall()
    assert got == [("copied",), ("copied, as csv",)], got


def copy_in_that_ends(db):
    try:
        with db.cursor() as cursor, cursor.copy(f"COPY customers ({COLUMNS}) FROM STDIN") as copy:
            copy.write_row(customer(FIRST + 41))
            raise KeyError("of the application's own")
    except KeyError:
        pass
    try:
        with db.cursor() as cursor, cursor.copy(f"COPY customers ({COLUMNS}) FROM STDIN") as copy:
            copy.write_row(customer(FIRST + 42))
            copy.write(b"too\tshort\n")
        raise AssertionError("no error")
    except (psycopg.errors.BadCopyFileFormat, psycopg.errors.InvalidTextRepresentation):
        pass
    got = db.execute(SELECT + " AND id IN (%s, %s)", (FIRST + 41, FIRST + 42)).fetchall()
    assert got == []


def copy_out(db):
    with db.cursor() as cursor, cursor.copy(f"COPY ({RANGE}) TO STDOUT") as copy:
        rows = list(copy.rows())
    assert len(rows) == 10
    for i, row in enumerate(rows):
        typed = (int(row[0]), int(row[1]), *row[2:])
        assert is_customer(typed, FIRST + 10 + i, ODD)
    with db.cursor() as cursor, cursor.copy(f"COPY ({RANGE}) TO STDOUT (FORMAT csv, HEADER)") as copy:
        rows = rows_of_csv(b"".join(bytes(part) for part in copy).decode())
    assert len(rows) == 10
    assert all(is_customer(row, FIRST + 10 + i, ODD) for i, row in enumerate(rows))
    with db.cursor() as cursor, cursor.copy("COPY customers (id, phone) TO STDOUT") as copy:
        rows = [(int(row[0]), row[1]) for row in copy.rows()]
    for n, number in rows:
        assert same_phone(number, phone(n))
        saw(n)
    assert len(rows) > 20
    with db.cursor() as cursor, cursor.copy("COPY (SELECT 1, 'a,b') TO STDOUT (FORMAT csv)") as copy:
        assert b"".join(bytes(part) for part in copy) == b'1,"a,b"\n'


def copy_binary(db):
    types = ["int8", "text", "numeric", "text[]", "int4[]", "bytea", "jsonb", "json", "date", "bool"]
    with db.cursor() as cursor, cursor.copy(f"COPY things ({THING}) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(types)
        for i in range(3):
            t = thing(FIRST + 10 + i, "psycopg")
            copy.write_row((*t[:6], Jsonb(t[6]), Json(t[7]), *t[8:]))
    with db.cursor() as cursor, cursor.copy(
            f"COPY (SELECT {THING} FROM things WHERE id >= {FIRST + 10} AND id < {FIRST + 13} ORDER BY id) "
            "TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(types)
        assert list(copy.rows()) == [thing(FIRST + 10 + i, "psycopg") for i in range(3)]


def json_and_arrays(db):
    t = thing(FIRST, "psycopg")
    db.execute(f"INSERT INTO things ({THING}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
               (*t[:6], Jsonb(t[6]), Json(t[7]), *t[8:]))
    for binary in (False, True):
        row = db.cursor(binary=binary).execute(f"SELECT {THING} FROM things WHERE id = %s", (FIRST,))
        assert row.fetchone() == t


def containers(db):
    sql = (f"SELECT row_to_json(c), to_jsonb(c), json_build_object('p', phone), ARRAY[name, NULL, note], "
           f"array_agg(phone) OVER () FROM customers c WHERE client_id = {CLIENT} AND id = %s")
    for binary in (False, True):
        row = db.cursor(binary=binary).execute(sql, (FIRST + 5,)).fetchone()
        want = customer(FIRST + 5)
        assert is_container(row[0], FIRST + 5) and is_container(row[1], FIRST + 5)
        assert same_phone(row[2]["p"], want[4]) and same_phone(row[4][0], want[4])
        assert row[3] == [want[2], None, want[8]]


def transaction_with_error(db):
    try:
        with db.transaction():
            db.execute(INSERT, customer(FIRST + 20))
            db.execute("SELECT 1/0")
        raise AssertionError("no error")
    except psycopg.errors.DivisionByZero:
        pass
    assert db.execute(SELECT + " AND id = %s", (FIRST + 20,)).fetchone() is None
    db.execute("BEGIN")
    try:
        db.execute("SELECT 1/0")
    except psycopg.errors.DivisionByZero:
        pass
    try:
        db.execute(SELECT + " AND id = %s", (FIRST,))
        raise AssertionError("no error")
    except psycopg.errors.InFailedSqlTransaction:
        pass
    assert db.execute("COMMIT").statusmessage == "ROLLBACK"


def savepoint(db):
    with db.transaction():
        db.execute(INSERT, customer(FIRST + 21))
        try:
            with db.transaction():
                db.execute(INSERT, customer(FIRST + 22))
                db.execute("SELECT 1/0")
        except psycopg.errors.DivisionByZero:
            pass
        try:
            with db.transaction():
                db.execute(INSERT, customer(FIRST + 21))
        except psycopg.errors.UniqueViolation:
            pass
        assert is_customer(db.execute(SELECT + " AND id = %s", (FIRST + 21,)).fetchone(), FIRST + 21)
    got = db.execute(f"SELECT id FROM customers WHERE client_id = {CLIENT} AND id IN (%s, %s)",
                     (FIRST + 21, FIRST + 22)).fetchall()
    assert got == [(FIRST + 21,)], got


def binary_results(db):
    with db.cursor(binary=True) as cursor:
        cursor.execute(SELECT + " AND id = %s", (FIRST,))
        assert is_customer(cursor.fetchone(), FIRST)
        cursor.execute("SELECT 1::int8, 'x'::text, ARRAY['a', NULL], now()")
        row = cursor.fetchone()
        assert row[:3] == (1, "x", ["a", None])


def binary_parameters(db):
    db.execute(INSERT.replace("%s", "%b"), customer(FIRST + 25))
    row = db.execute(SELECT + " AND phone = %b AND id = %b", (phone(FIRST + 25), FIRST + 25)).fetchone()
    assert is_customer(row, FIRST + 25)
    probed()


def nulls(db):
    db.execute(INSERT, customer(FIRST + 23, note=None))
    db.execute(f"INSERT INTO customers (id, client_id, phone) VALUES ({FIRST + 24}, {CLIENT}, NULL)")
    assert is_customer(db.execute(SELECT + " AND id = %s", (FIRST + 23,)).fetchone(),
                       FIRST + 23, note=None)
    rows = db.execute(SELECT + " AND phone IS NULL AND id = %s", (FIRST + 24,)).fetchall()
    assert rows == [(FIRST + 24, CLIENT, None, None, None, None, None, None, None)], rows


def update(db):
    db.execute(f"UPDATE customers SET note = %s, phone = %s WHERE client_id = {CLIENT} AND id = %s",
               ("改めた", phone(FIRST + 50), FIRST + 1))
    row = db.execute(SELECT + " AND phone = %s", (phone(FIRST + 50),)).fetchone()
    assert row[0] == FIRST + 1 and row[8] == "改めた"
    saw(FIRST + 1)
    probed()


def cancelled(db, sql):
    done = threading.Event()
    result = []

    def sleeper():
        try:
            db.execute(sql)
            result.append("slept")
        except psycopg.errors.QueryCanceled:
            result.append("cancelled")
        finally:
            done.set()

    thread = threading.Thread(target=sleeper)
    thread.start()
    # A cancel that comes before the statement runs has no effect: again until it ends.
    while not done.wait(0.2):
        db.cancel_safe(timeout=10)
    thread.join()
    assert result == ["cancelled"], result
    assert db.execute("SELECT 1").fetchone() == (1,)


def cancel(db):
    cancelled(db, "SELECT pg_sleep(60)")


def cancel_sealed(db):
    columns = COLUMNS + SLEEPS % (FIRST + 5)
    cancelled(db, f"SELECT {columns} FROM customers WHERE client_id = {CLIENT} AND id <= {FIRST + 8} ORDER BY id")
    assert is_customer(db.execute(SELECT + " AND id = %s", (FIRST,)).fetchone(), FIRST)


def listen_notify(db):
    db.execute("LISTEN driver_test")
    with connect() as other:
        other.execute("NOTIFY driver_test, 'hello'")
    assert is_customer(db.execute(SELECT + " AND id = %s", (FIRST,)).fetchone(), FIRST)
    got = next(db.notifies(timeout=10))
    assert (got.channel, got.payload) == ("driver_test", "hello")
    db.execute("UNLISTEN *")


def refused(db):
    """What cannot be asked of a sealed column is an error as PostgreSQL's own."""
    error = psycopg.errors.FeatureNotSupported
    for sql, values in [(SELECT + " AND phone LIKE %s", ("090%",)), (SELECT + " ORDER BY name", None),
                        ("SELECT upper(name) FROM customers", None),
                        ("COPY customers TO STDOUT (FORMAT binary)", "out"),
                        ("COPY customers TO STDOUT (FORMAT csv, FORCE_QUOTE *)", "out"),
                        (f"COPY customers ({COLUMNS}) FROM STDIN (FORMAT binary)", "copy")]:
        try:
            if values == "out":
                with db.cursor().copy(sql) as copy:
                    list(copy)
            elif values == "copy":
                with db.cursor().copy(sql) as copy:
                    copy.write_row(customer(FIRST + 43))
            else:
                db.execute(sql, values)
            raise AssertionError(f"no error: {sql}")
        except error as refusal:
            assert refusal.diag.message_primary, sql
        assert is_customer(db.execute(SELECT + " AND id = %s", (FIRST,)).fetchone(), FIRST)
    with db.transaction():
        try:
            with db.transaction():
                db.execute(SELECT + " AND phone LIKE %s", ("090%",))
        except error:
            pass
        assert is_customer(db.execute(SELECT + " AND id = %s", (FIRST,)).fetchone(), FIRST)
    try:
        with db.pipeline():
            first = db.execute(SELECT + " AND id = %s", (FIRST,))
            db.execute(SELECT + " AND phone LIKE %s", ("090%",))
            skipped = db.execute(INSERT, customer(FIRST + 43))
            assert is_customer(first.fetchone(), FIRST)
            skipped.fetchone()
        raise AssertionError("no error")
    except error:
        pass
    assert db.execute(SELECT + " AND id = %s", (FIRST + 43,)).fetchone() is None


def tls(_db):
    """SCRAM-SHA-256-PLUS, and the certificate verified."""
    options = {"host": "localhost", "sslmode": "verify-full", "sslrootcert": CERTIFICATE,
               "channel_binding": "require", "require_auth": "scram-sha-256"}
    with connect(**options) as db:
        assert db.pgconn.ssl_in_use
        assert is_customer(db.execute(SELECT + " AND id = %s", (FIRST,)).fetchone(), FIRST)
        with db.pipeline():
            reads = [db.execute(SELECT + " AND phone = %s", (phone(FIRST + i),)) for i in range(2, 8)]
            assert all(is_customer(read.fetchone(), FIRST + 2 + i) for i, read in enumerate(reads))
        cancelled(db, "SELECT pg_sleep(60)")
    with connect(**{**options, "channel_binding": "disable"}) as db:
        assert is_customer(db.execute(SELECT + " AND id = %s", (FIRST,)).fetchone(), FIRST)
    for wrong in [{"password": os.environ["PGPASSWORD"] + "x"}, {"user": "nobody"}]:
        try:
            psycopg.connect(**options, **wrong)
            raise AssertionError("no error")
        except psycopg.OperationalError as error:
            assert "authentication failed" in str(error), str(error)


CHECKS = [
    insert_literal, insert_parameters, insert_many_rows, insert_executemany, search_by_phone,
    search_otherwise, prepared_reused, described_once, deallocated, pipeline, pipeline_transaction,
    pipeline_error, rows_as_they_come, cursor_that_scrolls, copy_in, copy_in_that_ends, copy_out,
    copy_binary, json_and_arrays, containers, on_conflict, server_side_cursor,
    transaction_with_error, savepoint, binary_results, binary_parameters, nulls, cancel,
    cancel_sealed, listen_notify,
]
THROUGH_THE_GATE = [refused, tls]


def main():
    report = Report("psycopg")
    with connect() as db:
        for check in CHECKS + (THROUGH_THE_GATE if SEALED else []) + [update]:
            try:
                check(db)
                report.ok(check.__name__)
            except Exception:
                report.bad(check.__name__)
                if not db.closed and db.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    db.execute("ROLLBACK")
    report.end()


main()
