"""psycopg 3 through the gate (or directly). See README.md."""
import threading

import psycopg

from common import (BASE, CLIENT, COLUMNS, Report, customer, is_customer, phone, same_phone,
                    spellings)

FIRST = BASE
INSERT = f"INSERT INTO customers ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
SELECT = f"SELECT {COLUMNS} FROM customers WHERE client_id = {CLIENT}"


def insert_literal(db):
    c = customer(FIRST)
    literals = ", ".join(str(v) if isinstance(v, int) else f"'{v}'" for v in c)
    db.execute(f"INSERT INTO customers ({COLUMNS}) VALUES ({literals})")
    assert is_customer(db.execute(f"{SELECT} AND id = {FIRST}").fetchone(), FIRST)


def insert_parameters(db):
    assert db.execute(INSERT, customer(FIRST + 1)).rowcount == 1
    row = db.execute(SELECT + " AND id = %s", (FIRST + 1,)).fetchone()
    assert is_customer(row, FIRST + 1)


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


def search_by_phone(db):
    for spelling in spellings(FIRST + 1):
        rows = db.execute(SELECT + " AND phone = %s", (spelling,)).fetchall()
        assert len(rows) == 1 and is_customer(rows[0], FIRST + 1)
        rows = db.execute(f"{SELECT} AND phone = '{spelling}'").fetchall()
        assert len(rows) == 1 and is_customer(rows[0], FIRST + 1)
    assert db.execute(SELECT + " AND phone = %s", (phone(BASE - 1),)).fetchall() == []


def prepared_reused(db):
    for i in range(8):
        rows = db.execute("SELECT id, phone FROM customers WHERE client_id = %s AND phone = %s",
                          (CLIENT, phone(FIRST + i)), prepare=True).fetchall()
        assert [r[0] for r in rows] == [FIRST + i] and same_phone(rows[0][1], phone(FIRST + i))
        row = db.execute("SELECT %s::int + 1", (i,), prepare=True).fetchone()
        assert row == (i + 1,)


def pipeline(db):
    with db.pipeline():
        cursors = [db.execute(SELECT + " AND id = %s", (FIRST + i,)) for i in range(8)]
        plain = [db.execute("SELECT %s::int", (i,)) for i in range(8)]
        for i, cursor in enumerate(cursors):
            assert is_customer(cursor.fetchone(), FIRST + i)
        for i, cursor in enumerate(plain):
            assert cursor.fetchone() == (i,)


def pipeline_error(db):
    try:
        with db.pipeline():
            first = db.execute("SELECT 1")
            db.execute("SELECT 1/0")
            db.execute("SELECT 2")
            assert first.fetchone() == (1,)
        raise AssertionError("no error")
    except psycopg.errors.DivisionByZero:
        pass
    assert db.execute("SELECT 3").fetchone() == (3,)


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


def copy_in(db):
    with db.cursor() as cursor, cursor.copy(f"COPY customers ({COLUMNS}) FROM STDIN") as copy:
        for i in range(10, 20):
            copy.write_row(customer(FIRST + i, note="tab\there, \\ and\nline"))
    row = db.execute(SELECT + " AND id = %s", (FIRST + 15,)).fetchone()
    assert is_customer(row, FIRST + 15, note="tab\there, \\ and\nline")
    with db.cursor() as cursor, cursor.copy("COPY calls (client_id, topic) FROM STDIN") as copy:
        copy.write_row((CLIENT, "copied"))


def copy_out(db):
    sql = f"COPY (SELECT {COLUMNS} FROM customers WHERE client_id = {CLIENT} AND id BETWEEN " \
          f"{FIRST + 10} AND {FIRST + 19} ORDER BY id) TO STDOUT"
    with db.cursor() as cursor, cursor.copy(sql) as copy:
        rows = list(copy.rows())
    assert len(rows) == 10
    for i, row in enumerate(rows):
        typed = (int(row[0]), int(row[1]), *row[2:])
        assert is_customer(typed, FIRST + 10 + i, note="tab\there, \\ and\nline")


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


def cancel(db):
    done = threading.Event()
    result = []

    def sleeper():
        try:
            db.execute("SELECT pg_sleep(30)")
            result.append("slept")
        except psycopg.errors.QueryCanceled:
            result.append("cancelled")
        finally:
            done.set()

    thread = threading.Thread(target=sleeper)
    thread.start()
    # A cancel that comes before the statement runs has no effect: again until it ends.
    while not done.wait(0.2):
        db.cancel()
    thread.join()
    assert result == ["cancelled"], result
    assert db.execute("SELECT 1").fetchone() == (1,)


def listen_notify(db):
    db.execute("LISTEN driver_test")
    with psycopg.connect(autocommit=True) as other:
        other.execute("NOTIFY driver_test, 'hello'")
    got = next(db.notifies(timeout=10))
    assert (got.channel, got.payload) == ("driver_test", "hello")
    db.execute("UNLISTEN *")


def main():
    report = Report("psycopg")
    with psycopg.connect(autocommit=True) as db:
        for check in [insert_literal, insert_parameters, insert_executemany, search_by_phone,
                      prepared_reused, pipeline, pipeline_error, server_side_cursor, copy_in,
                      copy_out, transaction_with_error, savepoint, binary_results, nulls, update,
                      cancel, listen_notify]:
            try:
                check(db)
                report.ok(check.__name__)
            except Exception:
                report.bad(check.__name__)
                if not db.closed and db.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    db.execute("ROLLBACK")
    report.end()


main()
