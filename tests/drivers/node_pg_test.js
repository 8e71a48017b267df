// node-postgres through the gate (or directly). See README.md.
"use strict";
const assert = require("node:assert");
const fs = require("node:fs");
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
const ODD = "tab\there, \\ and\nline, \"quoted\"; 'so'";
const FIRST_TEN = { text: `${SELECT} AND id BETWEEN $1 AND $2 ORDER BY id`, values: [FIRST, FIRST + 9] };
const RANGE = `${SELECT} AND id BETWEEN ${FIRST + 10} AND ${FIRST + 19} ORDER BY id`;
const said = { subjects: new Set(), rows: 0, probes: 0, sessions: 0 };

/** The script was shown customer n in clear. */
function saw(n) {
  said.subjects.add(n);
  said.rows += 1;
}

async function connect(options) {
  said.sessions += 1;
  const db = new Client(options);
  await db.connect();
  return db;
}

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
  saw(n);
}

function literals(n) {
  return `(${customer(n).map((v) => (typeof v === "number" ? v : `'${v}'`)).join(", ")})`;
}

function csvField(value) {
  const text = String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

async function all(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

const checks = {
  async insert_literal(db) {
    await db.query(`INSERT INTO customers (${COLUMNS}) VALUES ${literals(FIRST)}`);
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
    const { rowCount } = await db.query(
      `INSERT INTO customers (${COLUMNS}) VALUES ${[30, 31, 32].map((i) => literals(FIRST + i)).join(", ")}`);
    assert.strictEqual(rowCount, 3);
    const second = Array.from({ length: 9 }, (_, i) => `$${i + 10}`).join(", ");
    const { rows } = await db.query(
      `${INSERT}, (${second}) RETURNING ${COLUMNS}`, [...customer(FIRST + 33), ...customer(FIRST + 34)]);
    rows.forEach((row, i) => isCustomer(row, FIRST + 33 + i));
    assert.strictEqual(rows.length, 2);
    const read = await db.query(`${SELECT} AND id = ANY($1) ORDER BY id`, [[FIRST + 30, FIRST + 32]]);
    isCustomer(read.rows[0], FIRST + 30);
    isCustomer(read.rows[1], FIRST + 32);
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
        said.probes += 1;
      }
    }
    const none = await db.query(`${SELECT} AND phone = $1`, [phone(BASE - 1)]);
    assert.strictEqual(none.rows.length, 0);
  },
  async search_otherwise(db) {
    const [a, b] = [phone(FIRST + 2), phone(FIRST + 3)];
    const mail = `shiken${FIRST + 2}@example.jp`;
    for (const [condition, values, found] of [
      ["phone IN ($1, $2)", [a, b], [2, 3]],
      ["phone = ANY($1)", [[a, null, b]], [2, 3]],
      ["phone IS NOT DISTINCT FROM $1", [a], [2]],
      ["$1 = phone", [b], [3]],
      ["email = $1", [SEALED ? mail.toUpperCase() : mail], [2]],
      [`phone <> $1 AND id BETWEEN ${FIRST + 2} AND ${FIRST + 3}`, [a], [3]],
    ]) {
      const { rows } = await db.query(`${SELECT} AND ${condition} ORDER BY id`, values);
      assert.deepStrictEqual(rows.map((row) => row.id - FIRST), found, condition);
      rows.forEach((row) => isCustomer(row, Number(row.id)));
      said.probes += 1;
    }
  },
  async prepared_reused(db) {
    for (let i = 0; i < 8; i++) {
      const { rows } = await db.query({ name: "by_phone", text: `${SELECT} AND phone = $1`, values: [phone(FIRST + i)] });
      isCustomer(rows[0], FIRST + i);
      const plain = await db.query({ name: "plain", text: "SELECT $1::int + 1 AS n", values: [i] });
      assert.strictEqual(plain.rows[0].n, i + 1);
    }
  },
  async pipelined() {
    const db = await connect({ pipeline: true });
    try {
      const results = await Promise.all(
        Array.from({ length: 10 }, (_, i) => [
          db.query(`${SELECT} AND id = $1`, [FIRST + i]),
          db.query({ name: "by_phone", text: `${SELECT} AND phone = $1`, values: [phone(FIRST + i)] }),
          db.query("SELECT $1::int AS n", [i]),
        ]).flat());
      for (let i = 0; i < 10; i++) {
        isCustomer(results[3 * i].rows[0], FIRST + i);
        isCustomer(results[3 * i + 1].rows[0], FIRST + i);
        said.probes += 1;
        assert.strictEqual(results[3 * i + 2].rows[0].n, i);
      }
      const some = await Promise.allSettled([
        db.query(INSERT, customer(FIRST + 40)),
        db.query(INSERT, customer(FIRST + 40)),
        db.query("SELECT 1/0"),
        db.query(`${SELECT} AND id = $1`, [FIRST + 40]),
      ]);
      assert.deepStrictEqual(some.map((it) => it.reason?.code), [undefined, "23505", "22012", undefined]);
      isCustomer(some[3].value.rows[0], FIRST + 40);
    } finally {
      await db.end();
    }
  },
  async cursor_with_fetch_size(db) {
    const cursor = db.query(new Cursor(FIRST_TEN.text, FIRST_TEN.values));
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
    const closed = db.query(new Cursor(FIRST_TEN.text, FIRST_TEN.values));
    isCustomer((await closed.read(1))[0], FIRST);
    await closed.close();
    const plain = db.query(new Cursor("SELECT generate_series(1, 20) AS n"));
    assert.strictEqual((await plain.read(7)).length, 7);
    assert.strictEqual((await plain.read(100)).length, 13);
    await plain.close();
  },
  async copy_in(db) {
    const field = (v) => String(v).replaceAll("\\", "\\\\").replaceAll("\t", "\\t").replaceAll("\n", "\\n");
    const into = (options) => db.query(copy.from(`COPY customers (${COLUMNS}) FROM STDIN ${options}`));
    const line = (i) => customer(FIRST + i, ODD).map(field).join("\t") + "\n";
    await pipeline(Readable.from([10, 11, 12, 13, 14].map(line)), into(""));
    const whole = Buffer.from([15, 16, 17, 18, 19].map((i) => customer(FIRST + i, ODD).map(csvField).join(",") + "\n").join(""));
    const pieces = []; // that end in the middle of rows and characters
    for (let at = 0; at < whole.length; at += 13) pieces.push(whole.subarray(at, at + 13));
    await pipeline(Readable.from(pieces), into("(FORMAT csv)"));
    for (const i of [10, 14, 15, 19]) {
      const { rows } = await db.query(`${SELECT} AND phone = $1`, [phone(FIRST + i)]);
      isCustomer(rows[0], FIRST + i, ODD);
    }
    await pipeline(Readable.from(["1\tcopied by node\n"]), db.query(copy.from("COPY calls (client_id, topic) FROM STDIN")));
    const { rowCount } = await db.query("SELECT FROM calls WHERE topic = $1", ["copied by node"]);
    assert.strictEqual(rowCount, 1);
  },
  async copy_out(db) {
    const text = await all(db.query(copy.to(
      `COPY (SELECT id, phone FROM customers WHERE client_id = ${CLIENT} AND id BETWEEN ${FIRST + 10} AND ${FIRST + 19} ORDER BY id) TO STDOUT`)));
    const rows = text.toString().trim().split("\n").map((line) => line.split("\t"));
    assert.strictEqual(rows.length, 10);
    rows.forEach(([id, number]) => {
      assert.strictEqual(digits(number), digits(phone(Number(id))));
      saw(Number(id));
    });
    const csv = await all(db.query(copy.to(`COPY (${RANGE}) TO STDOUT (FORMAT csv)`)));
    const want = Array.from({ length: 10 }, (_, i) => customer(FIRST + 10 + i, ODD).map(csvField).join(",") + "\n");
    assert.ok(csv.toString() === want.join(""), "csv differs");
    for (let i = 10; i < 20; i++) saw(FIRST + i);
  },
  async copy_binary(db) {
    await db.query("INSERT INTO things (id, driver, tags) VALUES ($1, 'node', $2)", [FIRST, ["a", null]]);
    const before = await all(db.query(copy.to(`COPY (SELECT ${FIRST + 1}::int8, 'node'::text, tags FROM things WHERE id = ${FIRST}) TO STDOUT (FORMAT binary)`)));
    await pipeline(Readable.from([before]), db.query(copy.from("COPY things (id, driver, tags) FROM STDIN (FORMAT binary)")));
    const { rows } = await db.query("SELECT tags FROM things WHERE id IN ($1, $2)", [FIRST, FIRST + 1]);
    assert.deepStrictEqual(rows.map((row) => row.tags), [["a", null], ["a", null]]);
  },
  async json_and_arrays(db) {
    const document = { k: [1, "二", null] };
    const { rows } = await db.query(
      "INSERT INTO things (id, driver, amount, tags, numbers, bytes, document, raw, flag) VALUES ($1, 'node', $2, $3, $4, $5, $6, $7, $8) "
      + "RETURNING amount, tags, numbers, bytes, document, raw, flag",
      [FIRST + 2, "12.50", ["a", null, 'b,"c'], [1, null, -3], Buffer.from([0, 255, 92]), document, document, true]);
    assert.deepStrictEqual({ ...rows[0] }, {
      amount: "12.50", tags: ["a", null, 'b,"c'], numbers: [1, null, -3], bytes: Buffer.from([0, 255, 92]),
      document, raw: document, flag: true,
    });
  },
  async containers(db) {
    const { rows } = await db.query(
      "SELECT row_to_json(c) AS a, to_jsonb(c) AS b, json_build_object('p', phone) AS c, ARRAY[name, NULL, note] AS d, "
      + `array_agg(phone) OVER () AS e FROM customers c WHERE client_id = ${CLIENT} AND id = $1`, [FIRST + 5]);
    const want = customer(FIRST + 5);
    for (const object of [rows[0].a, rows[0].b]) {
      isCustomer(Object.fromEntries(COLUMNS.split(", ").map((column) => [column, object[column]])), FIRST + 5);
    }
    said.rows -= 1; // one row, looked at twice
    assert.strictEqual(digits(rows[0].c.p), digits(want[4]));
    assert.strictEqual(digits(rows[0].e[0]), digits(want[4]));
    assert.ok(rows[0].d[0] === want[2] && rows[0].d[1] === null && rows[0].d[2] === want[8]);
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
    assert.strictEqual(rows[0].name, customer(FIRST)[2]);
    saw(FIRST);
  },
  async nulls(db) {
    await db.query(INSERT, customer(FIRST + 23, null));
    await db.query(INSERT, [FIRST + 24, CLIENT, null, null, null, null, null, null, null]);
    const { rows } = await db.query(`${SELECT} AND id BETWEEN $1 AND $2 ORDER BY id`, [FIRST + 23, FIRST + 24]);
    isCustomer(rows[0], FIRST + 23, null);
    assert.deepStrictEqual(Object.values(rows[1]).slice(2), Array(7).fill(null));
  },
  async cancel(db) {
    await cancelled(db, "SELECT pg_sleep(60)");
  },
  async cancel_sealed(db) {
    await cancelled(db, `SELECT ${COLUMNS}, pg_sleep(CASE WHEN id = ${FIRST + 5} THEN 60 ELSE 0 END) FROM customers `
      + `WHERE client_id = ${CLIENT} AND id BETWEEN ${FIRST} AND ${FIRST + 8} ORDER BY id`);
    const { rows } = await db.query(`${SELECT} AND id = $1`, [FIRST]);
    isCustomer(rows[0], FIRST);
  },
  async listen_notify(db) {
    const heard = new Promise((resolve, reject) => {
      db.once("notification", resolve);
      setTimeout(() => reject(new Error("no notification")), 10_000).unref();
    });
    await db.query("LISTEN driver_test");
    const other = await connect();
    await other.query("NOTIFY driver_test, 'hello'");
    await other.end();
    const { rows } = await db.query(`${SELECT} AND id = $1`, [FIRST]);
    isCustomer(rows[0], FIRST);
    const { channel, payload } = await heard;
    assert.deepStrictEqual([channel, payload], ["driver_test", "hello"]);
    await db.query("UNLISTEN *");
  },
};

async function cancelled(db, sql) {
  const sleeping = assert.rejects(db.query(sql), { code: "57014" });
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
}

const throughTheGate = {
  /** What cannot be asked of a sealed column is an error as PostgreSQL's own. */
  async refused(db) {
    const error = { code: "0A000" };
    const readsStill = async () => isCustomer((await db.query(`${SELECT} AND id = $1`, [FIRST])).rows[0], FIRST);
    for (const wrong of [
      () => db.query(`${SELECT} AND phone LIKE $1`, ["090%"]),
      () => db.query({ name: "wrong", text: `${SELECT} AND phone LIKE $1`, values: ["090%"] }),
      () => db.query(`${SELECT} ORDER BY name`),
      () => pipeline(Readable.from(["x"]), db.query(copy.from(`COPY customers (${COLUMNS}) FROM STDIN (FORMAT binary)`))),
      () => all(db.query(copy.to("COPY customers TO STDOUT (FORMAT binary)"))),
    ]) {
      await assert.rejects(wrong(), error);
      await readsStill();
    }
    await db.query("BEGIN");
    await db.query("SAVEPOINT s");
    await assert.rejects(db.query(`${SELECT} AND phone LIKE $1`, ["090%"]), error);
    await assert.rejects(db.query(`${SELECT} AND id = $1`, [FIRST]), { code: "25P02" });
    await db.query("ROLLBACK TO s");
    await readsStill();
    await db.query("COMMIT");
  },
  /** SCRAM-SHA-256-PLUS, and the certificate verified. */
  async tls() {
    const ssl = { ca: fs.readFileSync(process.env.CERTIFICATE) };
    for (const [enableChannelBinding, mechanism] of [[true, "SCRAM-SHA-256-PLUS"], [false, "SCRAM-SHA-256"]]) {
      const db = new Client({ host: "localhost", ssl, enableChannelBinding });
      let chosen;
      const send = db.connection.sendSASLInitialResponseMessage;
      db.connection.sendSASLInitialResponseMessage = function (it, response) {
        chosen = it;
        return send.call(this, it, response);
      };
      await db.connect();
      said.sessions += 1;
      try {
        assert.strictEqual(chosen, mechanism);
        isCustomer((await db.query(`${SELECT} AND phone = $1`, [phone(FIRST)])).rows[0], FIRST);
      } finally {
        await db.end();
      }
    }
    const wrong = new Client({ host: "localhost", ssl, enableChannelBinding: true, password: "wrong" });
    await assert.rejects(wrong.connect(), { code: "28P01" });
  },
};

async function main() {
  const db = await connect();
  let failed = 0;
  for (const [name, check] of Object.entries(SEALED ? { ...checks, ...throughTheGate } : checks)) {
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
  if (SEALED) fs.writeFileSync(process.env.SAID, JSON.stringify({ ...said, subjects: [...said.subjects] }));
  process.exitCode = failed ? 1 : 0;
}

main().catch((error) => {
  console.log(`not ok node-pg connection\n${error.stack}`);
  process.exitCode = 1;
});
