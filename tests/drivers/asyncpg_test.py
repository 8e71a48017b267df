"""asyncpg through the gate (or directly). See README.md."""
import asyncio
import json
import os
import ssl

import asyncpg

from common import (BASE, CERTIFICATE, CLIENT, COLUMNS, ODD, SEALED, SLEEPS, THING, Report,
                    connected, csv_of, customer, email, is_container, is_customer, literals, phone,
                    probed, rows_of_csv, same_phone, saw, spellings, thing)

FIRST = BASE + 10_000
INSERT = f"INSERT INTO customers ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
SELECT = f"SELECT {COLUMNS} FROM customers WHERE client_id = {CLIENT}"
RANGE = f"{SELECT} AND id BETWEEN {FIRST + 10} AND {FIRST + 19} ORDER BY id"


async def connect(**options):
    connected()
    return await asyncpg.connect(**options)


async def insert_literal(db):
    # Without arguments asyncpg uses the simple protocol.
    status = await db.execute(f"INSERT INTO customers ({COLUMNS}) VALUES {literals(FIRST)}")
    assert status == "INSERT 0 1", status
    assert is_customer(await db.fetchrow(f"{SELECT} AND id = {FIRST}"), FIRST)


async def insert_parameters(db):
    await db.execute(INSERT, *customer(FIRST + 1))
    assert is_customer(await db.fetchrow(SELECT + " AND id = $1", FIRST + 1), FIRST + 1)


async def insert_many_rows(db):
    rows = ", ".join(literals(FIRST + i) for i in (30, 31))
    assert await db.execute(f"INSERT INTO customers ({COLUMNS}) VALUES {rows}") == "INSERT 0 2"
    second = ", ".join(f"${i}" for i in range(10, 19))
    rows = await db.fetch(f"{INSERT}, ({second}) RETURNING {COLUMNS}",
                          *customer(FIRST + 32), *customer(FIRST + 33))
    assert is_customer(rows[0], FIRST + 32) and is_customer(rows[1], FIRST + 33)
    rows = await db.fetch(SELECT + " AND id IN ($1, $2) ORDER BY id", FIRST + 30, FIRST + 31)
    assert is_customer(rows[0], FIRST + 30) and is_customer(rows[1], FIRST + 31)


async def insert_executemany(db):
    await db.executemany(INSERT, [customer(FIRST + i) for i in range(2, 10)])
    await db.executemany("INSERT INTO calls (client_id, topic) VALUES ($1, $2)",
                         [(CLIENT, f"asyncpg {i}") for i in range(3)])
    count = await db.fetchval(f"SELECT count(*) FROM customers WHERE client_id = {CLIENT} "
                              "AND id BETWEEN $1 AND $2", FIRST, FIRST + 9)
    assert count == 10, count


async def search_by_phone(db):
    for spelling in spellings(FIRST + 1):
        rows = await db.fetch(SELECT + " AND phone = $1", spelling)
        assert len(rows) == 1 and is_customer(rows[0], FIRST + 1)
        probed()
    numbers = [phone(FIRST + 1), phone(FIRST + 2), phone(BASE - 1), None]
    rows = await db.fetch(SELECT + " AND phone = ANY($1::text[]) ORDER BY id", numbers)
    assert [row["id"] for row in rows] == [FIRST + 1, FIRST + 2]
    assert is_customer(rows[0], FIRST + 1) and is_customer(rows[1], FIRST + 2)
    assert await db.fetch(SELECT + " AND phone = $1", phone(BASE - 1)) == []
    probed(4)


async def search_otherwise(db):
    a, b = phone(FIRST + 2), phone(FIRST + 3)
    mail = email(FIRST + 2).upper() if SEALED else email(FIRST + 2)
    for condition, values, found in [
        ("phone IN ($1, $2)", (a, b), [2, 3]),
        ("phone = ANY($1)", ([a, None, b],), [2, 3]),
        ("phone IS NOT DISTINCT FROM $1", (a,), [2]),
        ("$1 = phone", (b,), [3]),
        ("email = $1", (mail,), [2]),
        ("phone = $1 AND email = $2", (a, email(FIRST + 3)), []),
        (f"phone <> $1 AND id BETWEEN {FIRST + 2} AND {FIRST + 3}", (a,), [3]),
    ]:
        rows = await db.fetch(f"{SELECT} AND {condition} ORDER BY id", *values)
        assert [row["id"] - FIRST for row in rows] == found, condition
        assert all(is_customer(row, row["id"]) for row in rows)
        probed()



async def prepared_reused(db):
    statement = await db.prepare(
        f"SELECT id, phone FROM customers WHERE client_id = {CLIENT} AND phone = $1")
    for i in range(8):
        rows = await statement.fetch(phone(FIRST + i))
        assert [row["id"] for row in rows] == [FIRST + i]
        assert same_phone(rows[0]["phone"], phone(FIRST + i))
        saw(FIRST + i)
        probed()
    assert [p.name for p in statement.get_parameters()] == ["text"]
    assert [(a.name, a.type.name) for a in statement.get_attributes()] == [("id", "int8"), ("phone", "text")]
    plain = await db.prepare("SELECT $1::int + 1")
    for i in range(8):
        assert await plain.fetchval(i) == i + 1


async def pipelined_reads(db):
    rows = await db.fetchmany(SELECT + " AND phone = $1", [(phone(FIRST + i),) for i in range(8)])
    assert len(rows) == 8
    assert all(is_customer(row, FIRST + i) for i, row in enumerate(rows))
    probed(8)
    rows = await db.fetchmany(f"{INSERT} RETURNING {COLUMNS}",
                              [customer(FIRST + i) for i in range(40, 48)])
    assert len(rows) == 8 and all(is_customer(row, FIRST + 40 + i) for i, row in enumerate(rows))
    rows = await db.fetchmany("SELECT $1::int + 1", [(i,) for i in range(8)])
    assert [row[0] for row in rows] == list(range(1, 9))
    try:
        await db.executemany(INSERT, [customer(FIRST + 50), customer(FIRST + 51), customer(FIRST)])
        raise AssertionError("no error")
    except asyncpg.UniqueViolationError:
        pass
    assert await db.fetch(SELECT + " AND id IN ($1, $2)", FIRST + 50, FIRST + 51) == []


async def concurrent_prepared(_db):
    async def one(i):
        db = await connect()
        try:
            statement = await db.prepare(SELECT + " AND id = $1")
            for j in range(4):
                n = FIRST + (i + j) % 10
                assert is_customer(await statement.fetchrow(n), n)
        finally:
            await db.close()

    await asyncio.gather(*(one(i) for i in range(4)))


async def server_side_cursor(db):
    async with db.transaction():
        rows = [row async for row in db.cursor(
            SELECT + " AND id BETWEEN $1 AND $2 ORDER BY id", FIRST, FIRST + 9, prefetch=3)]
        assert all(is_customer(row, FIRST + i) for i, row in enumerate(rows)) and len(rows) == 10
        cursor = await db.cursor("SELECT generate_series(1, 100)")
        assert len(await cursor.fetch(7)) == 7 and len(await cursor.fetch(200)) == 93


async def pool(_db):
    connected()
    async with asyncpg.create_pool(min_size=1, max_size=1) as pool:
        for i in range(3):  # each release resets the session: RESET ALL, UNLISTEN *, CLOSE ALL
            async with pool.acquire() as db:
                assert is_customer(await db.fetchrow(SELECT + " AND id = $1", FIRST + i), FIRST + i)


def field(value):
    text = str(value).replace("\\", "\\\\")
    return text.replace("\t", "\\t").replace("\n", "\\n")


async def copy_in(db):
    columns = COLUMNS.split(", ")

    async def source(text):
        # In pieces that end in the middle of rows and characters.
        whole = text.encode()
        for at in range(0, len(whole), 37):
            yield whole[at:at + 37]

    text = "".join("\t".join(field(v) for v in customer(FIRST + i, ODD)) + "\n" for i in range(10, 15))
    status = await db.copy_to_table("customers", source=source(text), columns=columns, format="text")
    assert status == "COPY 5", status
    text = csv_of([columns] + [customer(FIRST + i, ODD) for i in range(15, 20)])
    status = await db.copy_to_table("customers", source=source(text), columns=columns, format="csv",
                                    header=True)
    assert status == "COPY 5", status
    for i in (10, 14, 15, 19):
        row = await db.fetchrow(SELECT + " AND phone = $1", phone(FIRST + i))
        assert is_customer(row, FIRST + i, ODD)
        probed()
    status = await db.copy_to_table("calls", source=source('1,"copied, as csv"\n'),
                                    columns=["client_id", "topic"], format="csv")
    assert status == "COPY 1", status


async def copied(copying):
    out = bytearray()

    async def sink(data):
        out.extend(data)

    await copying(sink)
    return bytes(out)


async def copy_out(db):
    text = await copied(lambda sink: db.copy_from_query(RANGE, output=sink, format="csv", header=True))
    rows = rows_of_csv(text.decode())
    assert len(rows) == 10
    assert all(is_customer(row, FIRST + 10 + i, ODD) for i, row in enumerate(rows))
    text = await copied(lambda sink: db.copy_from_query(
        f"SELECT id, phone FROM customers WHERE client_id = {CLIENT} AND id BETWEEN $1 AND $2 "
        "ORDER BY id", FIRST + 10, FIRST + 19, output=sink, format="text"))
    rows = [line.split("\t") for line in text.decode().splitlines()]
    assert [int(row[0]) for row in rows] == list(range(FIRST + 10, FIRST + 20))
    for n, number in rows:
        assert same_phone(number, phone(int(n)))
        saw(int(n))
    text = await copied(lambda sink: db.copy_from_table(
        "customers", columns=["id", "name"], output=sink, format="text"))
    found = 0
    for line in text.decode().splitlines():
        n, name = line.split("\t")
        if name != "\\N":
            assert name == customer(int(n))[2]
            saw(int(n))
            found += 1
    assert found > 20, found


async def copy_binary(db):
    rows = [thing(FIRST + 10 + i, "asyncpg") for i in range(3)]
    rows = [(*t[:6], json.dumps(t[6]), json.dumps(t[7]), *t[8:]) for t in rows]
    columns = THING.split(", ")
    status = await db.copy_records_to_table("things", records=rows, columns=columns)
    assert status == "COPY 3", status
    got = await db.fetch(f"SELECT {THING} FROM things WHERE id BETWEEN $1 AND $2 ORDER BY id",
                         FIRST + 10, FIRST + 12)
    assert [is_thing(row) for row in got] == [True] * 3
    out = await copied(lambda sink: db.copy_from_query(
        "SELECT 1::int8", output=sink, format="binary"))
    assert out == b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\1\0\0\0\x08" + bytes(7) + b"\1\xff\xff", out


def is_thing(row):
    row = tuple(row)
    typed = (*row[:6], json.loads(row[6]), json.loads(row[7]), *row[8:])
    return typed == thing(row[0], "asyncpg")


async def json_and_arrays(db):
    t = thing(FIRST, "asyncpg")
    row = await db.fetchrow(
        f"INSERT INTO things ({THING}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING {THING}",
        *t[:6], json.dumps(t[6]), json.dumps(t[7]), *t[8:])
    assert is_thing(row)


async def containers(db):
    row = await db.fetchrow(
        "SELECT row_to_json(c), to_jsonb(c), json_build_object('p', phone), ARRAY[name, NULL, note], "
        f"array_agg(phone) OVER () FROM customers c WHERE client_id = {CLIENT} AND id = $1", FIRST + 5)
    want = customer(FIRST + 5)
    assert is_container(row[0], FIRST + 5) and is_container(row[1], FIRST + 5)
    assert same_phone(json.loads(row[2])["p"], want[4]) and same_phone(row[4][0], want[4])
    assert row[3] == [want[2], None, want[8]]


async def transaction_with_error(db):
    try:
        async with db.transaction():
            await db.execute(INSERT, *customer(FIRST + 20))
            await db.execute("SELECT 1/0")
        raise AssertionError("no error")
    except asyncpg.DivisionByZeroError:
        pass
    assert await db.fetchrow(SELECT + " AND id = $1", FIRST + 20) is None


async def savepoint(db):
    async with db.transaction():
        await db.execute(INSERT, *customer(FIRST + 21))
        try:
            async with db.transaction():
                await db.execute(INSERT, *customer(FIRST + 22))
                await db.execute("SELECT 1/0")
        except asyncpg.DivisionByZeroError:
            pass
    rows = await db.fetch(f"SELECT id FROM customers WHERE client_id = {CLIENT} "
                          "AND id = ANY($1)", [FIRST + 21, FIRST + 22])
    assert [row["id"] for row in rows] == [FIRST + 21]


async def nulls(db):
    await db.execute(INSERT, *customer(FIRST + 23, note=None))
    row = await db.fetchrow(SELECT + " AND id = $1", FIRST + 23)
    assert is_customer(row, FIRST + 23, note=None)
    await db.execute("INSERT INTO customers (id, client_id, phone) VALUES ($1, $2, $3)",
                     FIRST + 24, CLIENT, None)
    row = await db.fetchrow(SELECT + " AND phone IS NULL AND id = $1", FIRST + 24)
    assert row["phone"] is None and row["name"] is None


async def cancel(db):
    try:
        await db.fetch("SELECT pg_sleep(60)", timeout=0.5)
        raise AssertionError("no error")
    except asyncio.TimeoutError:
        pass
    assert await db.fetchval("SELECT 1") == 1


async def cancel_sealed(db):
    columns = COLUMNS + SLEEPS % (FIRST + 5)
    try:
        await db.fetch(f"SELECT {columns} FROM customers WHERE client_id = {CLIENT} AND id BETWEEN $1 AND $2 "
                       "ORDER BY id", FIRST, FIRST + 8, timeout=0.5)
        raise AssertionError("no error")
    except asyncio.TimeoutError:
        pass
    assert is_customer(await db.fetchrow(SELECT + " AND id = $1", FIRST), FIRST)


async def listen_notify(db):
    got = asyncio.get_running_loop().create_future()

    def heard(_db, _pid, channel, payload):
        if not got.done():
            got.set_result((channel, payload))

    await db.add_listener("driver_test", heard)
    other = await connect()
    await other.execute("NOTIFY driver_test, 'hello'")
    await other.close()
    assert is_customer(await db.fetchrow(SELECT + " AND id = $1", FIRST), FIRST)
    assert await asyncio.wait_for(got, 10) == ("driver_test", "hello")
    await db.remove_listener("driver_test", heard)


async def refused(db):
    """What cannot be asked of a sealed column is an error as PostgreSQL's own."""
    async def copying():
        await db.copy_records_to_table("customers", records=[customer(FIRST + 52)], columns=COLUMNS.split(", "))

    for wrong in [
        lambda: db.fetch(SELECT + " AND phone LIKE $1", "090%"), lambda: db.fetch(SELECT + " ORDER BY name"),
        lambda: db.execute("SELECT upper(name) FROM customers"), copying,
        lambda: db.prepare("SELECT upper(name) FROM customers"),
        lambda: copied(lambda sink: db.copy_from_table("customers", output=sink, format="binary")),
    ]:
        try:
            await wrong()
            raise AssertionError("no error")
        except asyncpg.FeatureNotSupportedError:
            pass
        assert is_customer(await db.fetchrow(SELECT + " AND id = $1", FIRST), FIRST)
    async with db.transaction():
        try:
            async with db.transaction():
                await db.fetch(SELECT + " AND phone LIKE $1", "090%")
        except asyncpg.FeatureNotSupportedError:
            pass
        assert is_customer(await db.fetchrow(SELECT + " AND id = $1", FIRST), FIRST)


async def tls(_db):
    """SCRAM-SHA-256 over TLS, and the certificate verified. asyncpg has no channel binding."""
    context = ssl.create_default_context(cafile=CERTIFICATE)
    db = await connect(host="localhost", ssl=context)
    try:
        assert is_customer(await db.fetchrow(SELECT + " AND phone = $1", phone(FIRST)), FIRST)
        await cancel(db)
    finally:
        await db.close()
    try:
        await asyncpg.connect(host="localhost", ssl=context, password=os.environ["PGPASSWORD"] + "x")
        raise AssertionError("no error")
    except asyncpg.InvalidPasswordError:
        pass


CHECKS = [
    insert_literal, insert_parameters, insert_many_rows, insert_executemany, search_by_phone,
    search_otherwise, prepared_reused, pipelined_reads, concurrent_prepared, pool,
    server_side_cursor, copy_in, copy_out, copy_binary, json_and_arrays, containers,
    transaction_with_error, savepoint, nulls, cancel, cancel_sealed, listen_notify,
]
THROUGH_THE_GATE = [refused, tls]


async def main():
    report = Report("asyncpg")
    db = await connect()
    for check in CHECKS + (THROUGH_THE_GATE if SEALED else []):
        try:
            await check(db)
            report.ok(check.__name__)
        except Exception:
            report.bad(check.__name__)
            if not db.is_closed():
                await db.reset()
    await db.close()
    report.end()


asyncio.run(main())
