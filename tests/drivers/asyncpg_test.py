"""asyncpg through the gate (or directly). See README.md."""
import asyncio

import asyncpg

from common import (BASE, CLIENT, COLUMNS, Report, customer, is_customer, phone, same_phone,
                    spellings)

FIRST = BASE + 10_000
INSERT = f"INSERT INTO customers ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
SELECT = f"SELECT {COLUMNS} FROM customers WHERE client_id = {CLIENT}"


async def insert_literal(db):
    c = customer(FIRST)
    literals = ", ".join(str(v) if isinstance(v, int) else f"'{v}'" for v in c)
    # Without arguments asyncpg uses the simple protocol.
    assert await db.execute(f"INSERT INTO customers ({COLUMNS}) VALUES ({literals})") == "INSERT 0 1"
    assert is_customer(await db.fetchrow(f"{SELECT} AND id = {FIRST}"), FIRST)


async def insert_parameters(db):
    await db.execute(INSERT, *customer(FIRST + 1))
    assert is_customer(await db.fetchrow(SELECT + " AND id = $1", FIRST + 1), FIRST + 1)


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
    numbers = [phone(FIRST + 1), phone(FIRST + 2), phone(BASE - 1), None]
    rows = await db.fetch(SELECT + " AND phone = ANY($1::text[]) ORDER BY id", numbers)
    assert [row["id"] for row in rows] == [FIRST + 1, FIRST + 2]


async def prepared_reused(db):
    statement = await db.prepare(
        f"SELECT id, phone FROM customers WHERE client_id = {CLIENT} AND phone = $1")
    for i in range(8):
        rows = await statement.fetch(phone(FIRST + i))
        assert [row["id"] for row in rows] == [FIRST + i]
        assert same_phone(rows[0]["phone"], phone(FIRST + i))
    plain = await db.prepare("SELECT $1::int + 1")
    for i in range(8):
        assert await plain.fetchval(i) == i + 1


async def concurrent_prepared(_db):
    async def one(i):
        db = await asyncpg.connect()
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


async def copy_in(db):
    def field(value):
        if value is None:
            return "\\N"
        text = str(value).replace("\\", "\\\\")
        return text.replace("\t", "\\t").replace("\n", "\\n")

    lines = ["\t".join(field(v) for v in customer(FIRST + i, note="tab\there, \\ and\nline"))
             for i in range(10, 20)]

    async def source():
        # In pieces that end in the middle of rows and characters.
        whole = "".join(line + "\n" for line in lines).encode()
        for at in range(0, len(whole), 37):
            yield whole[at:at + 37]

    columns = COLUMNS.split(", ")
    status = await db.copy_to_table("customers", source=source(), columns=columns, format="text")
    assert status == "COPY 10", status
    row = await db.fetchrow(SELECT + " AND id = $1", FIRST + 15)
    assert is_customer(row, FIRST + 15, note="tab\there, \\ and\nline")


async def copy_out(db):
    out = bytearray()

    async def sink(data):
        out.extend(data)

    await db.copy_from_query(
        f"SELECT id, phone FROM customers WHERE client_id = {CLIENT} AND id BETWEEN $1 AND $2 "
        "ORDER BY id", FIRST + 10, FIRST + 19, output=sink, format="text")
    rows = [line.split("\t") for line in out.decode().splitlines()]
    assert [int(row[0]) for row in rows] == list(range(FIRST + 10, FIRST + 20))
    assert all(same_phone(row[1], phone(int(row[0]))) for row in rows)


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
        await db.fetch("SELECT pg_sleep(30)", timeout=0.5)
        raise AssertionError("no error")
    except asyncio.TimeoutError:
        pass
    assert await db.fetchval("SELECT 1") == 1


async def listen_notify(db):
    got = asyncio.get_running_loop().create_future()

    def heard(_db, _pid, channel, payload):
        if not got.done():
            got.set_result((channel, payload))

    await db.add_listener("driver_test", heard)
    other = await asyncpg.connect()
    await other.execute("NOTIFY driver_test, 'hello'")
    await other.close()
    assert await asyncio.wait_for(got, 10) == ("driver_test", "hello")
    await db.remove_listener("driver_test", heard)


async def main():
    report = Report("asyncpg")
    db = await asyncpg.connect()
    for check in [insert_literal, insert_parameters, insert_executemany, search_by_phone,
                  prepared_reused, concurrent_prepared, server_side_cursor, copy_in, copy_out,
                  transaction_with_error, savepoint, nulls, cancel, listen_notify]:
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
