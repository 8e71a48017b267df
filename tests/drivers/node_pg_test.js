// node-postgres through the gate (or directly). See README.md.
"use strict";
const assert = require("node:assert");
const { pipeline } = require("node:stream/promises");
const { Readable } = require("node:stream");
const { Client } = require("pg");
const Cursor = require("pg-cursor");
const copy = require("pg-copy-streams");

const SEALED = process.env.SEALED === "1";
const BASE = Number(process.env.BASE ?? "31000000");
const FIRST = BASE + 20_000;
const CLIENT = 1;
const COLUMNS = "id, client_id, name, kana, phone, email, address, birth_date, note";
const INSERT = `INSERT INTO customers (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`;
const SELECT = `SELECT ${COLUMNS} FROM customers WHERE client_id = ${CLIENT}`;
const ODD = "tab\there, \\ and\nline";

function phone(n) {
  const digits = String(n).padStart(8, "0");
  return `090-${digits.slice(0, 4)}-${digits.slice(4)}`;
}

function spellings(n) {
  const written = phone(n);
  if (!SEALED) return [written];
  const wide = [...written]
    .map((c) => (c === "-" ? "−" : String.fromCharCode(c.charCodeAt(0) + 0xfee0)))
    .join("");
  return [written, written.replaceAll("-", ""), wide];
}

function digits(text) {
  return text.replace(/\D/g, "").replace(/^81/, "0");
}

function customer(n, note = "平日18時以降") {
  return [
    n, CLIENT, `試験 太郎${n}`, "シケン タロウ", phone(n), `shiken${n}@example.jp`,
    `東京都千代田区丸の内1-${(n % 90) + 1}`, "1980-02-29", note,
  ];
}

function isCustomer(row, n, note) {
  const want = customer(n, note);
  const got = Object.values(row);
  assert.strictEqual(got.length, want.length);
  got.forEach((value, position) => {
    if (position < 2) assert.strictEqual(Number(value), want[position]);
    else if (position === 4) assert.strictEqual(digits(value), digits(want[4]), "phone differs");
    else assert.ok(value === want[position], `column ${position} differs`);
  });
}

const checks = {
  async insert_literal(db) {
    const literals = customer(FIRST).map((v) => (typeof v === "number" ? v : `'${v}'`)).join(", ");
    await db.query(`INSERT INTO customers (${COLUMNS}) VALUES (${literals})`);
    const { rows } = await db.query(`${SELECT} AND id = ${FIRST}`);
    isCustomer(rows[0], FIRST);
  },
  async insert_parameters(db) {
    for (let i = 1; i < 10; i++) {
      const result = await db.query(INSERT, customer(FIRST + i));
      assert.strictEqual(result.rowCount, 1);
    }
    const { rows } = await db.query(`${SELECT} AND id = $1`, [FIRST + 1]);
    isCustomer(rows[0], FIRST + 1);
    const call = await db.query(
      "INSERT INTO calls (client_id, topic) VALUES ($1, $2) RETURNING topic", [CLIENT, "node"]);
    assert.strictEqual(call.rows[0].topic, "node");
  },
  async insert_many_rows(db) {
    const tuple = (i) => `(${customer(FIRST + i).map((v) => (typeof v === "number" ? v : `'${v}'`))})`;
    const { rowCount } = await db.query(
      `INSERT INTO customers (${COLUMNS}) VALUES ${[30, 31, 32].map(tuple).join(", ")}`);
    assert.strictEqual(rowCount, 3);
  },
  async search_by_phone(db) {
    for (const spelling of spellings(FIRST + 1)) {
      for (const [sql, values] of [
        [`${SELECT} AND phone = $1`, [spelling]],
        [`${SELECT} AND phone = '${spelling}'`, undefined],
      ]) {
        const { rows } = await db.query(sql, values);
        assert.strictEqual(rows.length, 1);
        isCustomer(rows[0], FIRST + 1);
      }
    }
    const none = await db.query(`${SELECT} AND phone = $1`, [phone(BASE - 1)]);
    assert.strictEqual(none.rows.length, 0);
  },
  async prepared_reused(db) {
    for (let i = 0; i < 8; i++) {
      const { rows } = await db.query({ name: "by_phone", text: `${SELECT} AND phone = $1`, values: [phone(FIRST + i)] });
      isCustomer(rows[0], FIRST + i);
      const plain = await db.query({ name: "plain", text: "SELECT $1::int + 1 AS n", values: [i] });
      assert.strictEqual(plain.rows[0].n, i + 1);
    }
  },
  async queued_reads(db) {
    // Sent without waiting; the driver queues them on the connection.
    const results = await Promise.all(
      Array.from({ length: 10 }, (_, i) => db.query(`${SELECT} AND id = $1`, [FIRST + i])));
    results.forEach(({ rows }, i) => isCustomer(rows[0], FIRST + i));
  },
  async cursor_with_fetch_size(db) {
    const cursor = db.query(new Cursor(`${SELECT} AND id BETWEEN $1 AND $2 ORDER BY id`, [FIRST, FIRST + 9]));
    const rows = [];
    for (;;) {
      const some = await cursor.read(3);
      if (some.length === 0) break;
      assert.ok(some.length <= 3);
      rows.push(...some);
    }
    await cursor.close();
    assert.strictEqual(rows.length, 10);
    rows.forEach((row, i) => isCustomer(row, FIRST + i));
  },
  async copy_in(db) {
    const field = (v) => String(v).replaceAll("\\", "\\\\").replaceAll("\t", "\\t").replaceAll("\n", "\\n");
    const lines = Array.from({ length: 10 }, (_, i) => customer(FIRST + 10 + i, ODD).map(field).join("\t") + "\n");
    await pipeline(Readable.from(lines), db.query(copy.from(`COPY customers (${COLUMNS}) FROM STDIN`)));
    const { rows } = await db.query(`${SELECT} AND id = $1`, [FIRST + 15]);
    isCustomer(rows[0], FIRST + 15, ODD);
  },
  async copy_out(db) {
    const out = db.query(copy.to(
      `COPY (SELECT id, phone FROM customers WHERE client_id = ${CLIENT} AND id BETWEEN ${FIRST + 10} AND ${FIRST + 19} ORDER BY id) TO STDOUT`));
    const parts = [];
    for await (const part of out) parts.push(part);
    const rows = Buffer.concat(parts).toString().trim().split("\n").map((line) => line.split("\t"));
    assert.strictEqual(rows.length, 10);
    rows.forEach(([id, number]) => assert.strictEqual(digits(number), digits(phone(Number(id)))));
  },
  async transaction_with_error(db) {
    await db.query("BEGIN");
    await db.query(INSERT, customer(FIRST + 20));
    await assert.rejects(db.query("SELECT 1/0"), { code: "22012" });
    await assert.rejects(db.query(`${SELECT} AND id = ${FIRST}`), { code: "25P02" });
    const end = await db.query("COMMIT");
    assert.strictEqual(end.command, "ROLLBACK");
    const { rows } = await db.query(`${SELECT} AND id = $1`, [FIRST + 20]);
    assert.strictEqual(rows.length, 0);
  },
  async savepoint(db) {
    await db.query("BEGIN");
    await db.query(INSERT, customer(FIRST + 21));
    await db.query("SAVEPOINT s");
    await db.query(INSERT, customer(FIRST + 22));
    await assert.rejects(db.query("SELECT 1/0"), { code: "22012" });
    await db.query("ROLLBACK TO s");
    await db.query("COMMIT");
    const { rows } = await db.query(
      `SELECT id FROM customers WHERE client_id = ${CLIENT} AND id IN ($1, $2)`, [FIRST + 21, FIRST + 22]);
    assert.deepStrictEqual(rows.map((row) => Number(row.id)), [FIRST + 21]);
  },
  async binary_results(db) {
    const { rows } = await db.query({ text: `${SELECT} AND id = $1`, values: [FIRST], binary: true });
    assert.strictEqual(digits(String(rows[0].phone)), digits(phone(FIRST)));
  },
  async nulls(db) {
    await db.query(INSERT, customer(FIRST + 23, null));
    await db.query(INSERT, [FIRST + 24, CLIENT, null, null, null, null, null, null, null]);
    const { rows } = await db.query(`${SELECT} AND id BETWEEN $1 AND $2 ORDER BY id`, [FIRST + 23, FIRST + 24]);
    isCustomer(rows[0], FIRST + 23, null);
    assert.deepStrictEqual(Object.values(rows[1]).slice(2), Array(7).fill(null));
  },
  async cancel(db) {
    const sleeping = assert.rejects(db.query("SELECT pg_sleep(30)"), { code: "57014" });
    let done = false;
    sleeping.then(() => (done = true), () => (done = true));
    while (!done) {
      // A cancel that comes before the statement runs has no effect: again until it ends.
      const other = new Client();
      other.on("error", () => {});
      const gone = new Promise((resolve) => other.connection.once("end", resolve));
      other.connection.on("connect", () => other.connection.cancel(db.processID, db.secretKey));
      other.connection.on("error", () => {});
      const { port, host } = other;
      if (host.startsWith("/")) other.connection.connect(`${host}/.s.PGSQL.${port}`);
      else other.connection.connect(port, host);
      await gone;
      await Promise.race([sleeping.catch(() => {}), new Promise((resolve) => setTimeout(resolve, 200))]);
    }
    await sleeping;
    const { rows } = await db.query("SELECT 1 AS n");
    assert.strictEqual(rows[0].n, 1);
  },
  async listen_notify(db) {
    const heard = new Promise((resolve, reject) => {
      db.once("notification", resolve);
      setTimeout(() => reject(new Error("no notification")), 10_000).unref();
    });
    await db.query("LISTEN driver_test");
    const other = new Client();
    await other.connect();
    await other.query("NOTIFY driver_test, 'hello'");
    await other.end();
    const { channel, payload } = await heard;
    assert.deepStrictEqual([channel, payload], ["driver_test", "hello"]);
    await db.query("UNLISTEN *");
  },
};

async function main() {
  const db = new Client();
  await db.connect();
  let failed = 0;
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check(db);
      console.log(`ok node-pg ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`not ok node-pg ${name}\n${error.stack}`);
      await db.query("ROLLBACK");
    }
  }
  await db.end();
  process.exitCode = failed ? 1 : 0;
}

main().catch((error) => {
  console.log(`not ok node-pg connection\n${error.stack}`);
  process.exitCode = 1;
});
