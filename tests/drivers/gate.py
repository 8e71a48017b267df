"""Runs driver scripts through a gate. Called by `run.sh gate`; see README.md.

Starts a stage (`sekisho demo --stage-only`), makes a database with a sealed and unsealed tables, a
person for each driver, runs each driver as that person, and then asks the ledger whether what the
driver says it saw is on record. Environment: SEKISHO, the program. Arguments: NAME=PROGRAM,ARGUMENT...
"""
import contextlib
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import psycopg

HERE = pathlib.Path(__file__).resolve().parent
DATABASE = "drivers"
STAGE_S_MAX = 300
DRIVER_S_MAX = 300
# A record is shown to readers up to about a second after it is durable.
LEDGER_S_MAX = 15
COLUMNS = ["name=name", "kana=kana", "phone=phone:exact", "email=email:exact", "address=address",
           "birth_date=birth-date", "note=free-text"]
# What only the drivers' customers have (common.py), as it must stand nowhere at rest.
PLAIN = ["試験 太郎", "shiken3100", "shiken3101", "shiken3102", "090310", "090-310", "千代田区丸の内1-",
         "平日18時以降", "改めた", "シケン タロウ"]


class Stage:
    """The demo's stage as a process of its own."""

    def __init__(self, program, folder):
        self.program = program
        self.dir = folder / "stage"
        self.log = open(folder / "stage.log", "wb+")
        self.child = subprocess.Popen(
            [program, "demo", "--stage-only", "--port", "0", "--customers-per-client", "100",
             "--dir", str(self.dir)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)
        up = threading.Event()
        threading.Thread(target=self._read, args=(up,), daemon=True).start()
        if not up.wait(STAGE_S_MAX) or self.child.poll() is not None:
            self.stop()
            self.log.seek(0)
            sys.exit(f"the stage did not come up:\n{self.log.read().decode(errors='replace')}")
        text = (self.dir / "sekisho.toml").read_text()
        self.port = re.search(r'"127\.0\.0\.1:(\d+)"', text).group(1)

    def _read(self, up):
        for line in self.child.stdout:
            self.log.write(line)
            if b"stays up" in line:
                up.set()
        up.set()

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        self.child.wait(60)

    def command(self, *arguments, line=None):
        """A command of the program: its lines of JSON."""
        done = subprocess.run(
            [self.program, *arguments, "--json", "--dir", str(self.dir)],
            input=line, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            sys.exit(f"sekisho {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def change(self, *arguments):
        """A change that two approvers sign."""
        reply = json.loads(self.command(*arguments))
        if not reply.get("in_force"):
            for approver in ["approver-1", "approver-2"]:
                self.command("approve", str(reply["change"]), "--as", approver, "--yes")

    def person(self, login, role, clients):
        """A new person; his password."""
        self.change("actor", "add", login, "--role", role, "--clients", clients)
        code = json.loads(self.command("actor", "code", login))["code"]
        password = secrets.token_urlsafe(18)
        self.command("actor", "enrol", login, f"--code={code}", line=password + "\n")
        return password

    def records(self, login):
        return [json.loads(line) for line in self.command("log", "--actor", login).splitlines()]


def raise_numbers(stage, folder):
    """Supervisors get enough for a test, by a change of the numbers that two approvers sign."""
    text = (stage.dir / "policy/numbers.toml").read_text()
    head, name, rest = text.partition("[role.supervisor]")
    section, following, tail = rest.partition("\n[")
    section = re.sub(r"(hour|day|month|all) = \d+", r"\1 = 30000", section)
    section = re.sub(r"statement_probes_max = \d+", "statement_probes_max = 500", section)
    path = folder / "numbers.toml"
    path.write_text(head + name + section + following + tail)
    stage.change("numbers", "propose", "--numbers", str(path))


def prepare(stage, folder):
    """The database: a maintainer makes the tables through the gate, then `customers` is sealed."""
    maintainer = {
        "host": "127.0.0.1", "port": stage.port, "user": "suzuki", "sslmode": "disable",
        "password": (stage.dir / "people/suzuki.password").read_text(), "autocommit": True}
    with psycopg.connect(dbname="postgres", **maintainer) as db:
        db.execute(f"CREATE DATABASE {DATABASE} OWNER sekisho_owner")
    with psycopg.connect(dbname=DATABASE, **maintainer) as db:
        db.execute("SET ROLE sekisho_owner")
        db.execute((HERE / "schema.sql").read_text())
        db.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "
                   "sekisho_operator; GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO "
                   "sekisho_operator")
    columns = [part for column in COLUMNS for part in ("--column", column)]
    stage.change("seal", "--database", DATABASE, "--table", "customers", "--client-column",
                 "client_id", *columns)
    raise_numbers(stage, folder)


def on_record(stage, login, said):
    """Whether what a driver says it saw is covered by the ledger; None, or what is missing."""
    if not said["subjects"]:
        return "the driver saw nobody"
    deadline = time.monotonic() + LEDGER_S_MAX
    while True:
        records = stage.records(login)
        opened = {r["who"]["session"] for r in records if r["kind"] == "session-opened"}
        exposures = [r for r in records if r["kind"] == "exposure"]
        rows = sum(r["rows"] for r in exposures)
        subjects = max((r["subjects"]["all"] for r in exposures), default=0)
        probes = sum(r["probed"]["charged"] for r in exposures)
        missing = [f"{name}: seen {seen}, on record {recorded}" for name, seen, recorded in [
            ("rows", said["rows"], rows), ("subjects", len(said["subjects"]), subjects),
            ("probes", said["probes"], probes), ("sessions", said["sessions"], len(opened)),
        ] if recorded < seen]
        if any(r["who"]["session"] not in opened for r in exposures):
            missing.append("an exposure in a session that was never opened")
        if any(r["log"] != "c01" for r in exposures):
            missing.append("an exposure in another client's log")
        if not missing:
            print(f"# {login}: saw {len(said['subjects'])} subjects in {said['rows']} rows; on record"
                  f" {subjects} in {rows}, {probes} probes, {len(opened)} sessions", flush=True)
            return None
        if time.monotonic() > deadline:
            return "; ".join(missing)
        time.sleep(0.2)


def at_rest(stage):
    """The files below PostgreSQL's data folder and the ledger that hold a plain value."""
    needles = [text.encode() for text in PLAIN]
    found, looked = [], 0
    for folder in ["postgres/data", "ledger"]:
        for path in (stage.dir / folder).rglob("*"):
            if path.is_file():
                looked += 1
                text = path.read_bytes()
                found += [f"{path.name}: {n.decode()}" for n in needles if n in text]
    if looked < 100:
        found.append(f"only {looked} files were there to be searched")
    return found


class Report:
    def __init__(self):
        self.failed = False

    def check(self, name, wrong):
        if wrong:
            self.failed = True
            print(f"not ok {name}\n{wrong}", flush=True)
        else:
            print(f"ok {name}", flush=True)


def run(stage, folder, driver, program, report):
    login = driver.replace("_", "-")
    password = stage.person(login, "supervisor", "1")
    said = folder / f"{login}.said.json"
    environment = {
        **os.environ, "PGHOST": "127.0.0.1", "PGPORT": stage.port, "PGUSER": login,
        "PGPASSWORD": password, "PGDATABASE": DATABASE, "PGSSLMODE": "disable", "SEALED": "1",
        "CERTIFICATE": str(stage.dir / "tls/certificate.pem"), "SAID": str(said)}
    try:
        status = subprocess.run(program, env=environment, stdin=subprocess.DEVNULL,
                                timeout=DRIVER_S_MAX).returncode
    except subprocess.TimeoutExpired:
        report.check(f"{driver} in_time", f"not done after {DRIVER_S_MAX} s")
        return
    if status != 0:
        report.failed = True
    if not said.exists():
        report.check(f"{driver} on_record", f"the script ended with {status}, and said nothing")
        return
    report.check(f"{driver} on_record", on_record(stage, login, json.loads(said.read_text())))


def main():
    report = Report()
    # Its socket's path is short enough only below a short folder.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sekisho-drivers.", dir="/tmp"))
    folder.chmod(0o755)
    with contextlib.ExitStack() as stack:
        if not os.environ.get("KEEP"):
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stage = Stage(os.environ["SEKISHO"], folder)
        stack.callback(stage.stop)
        prepare(stage, folder)
        for argument in sys.argv[1:]:
            driver, _, program = argument.partition("=")
            run(stage, folder, driver, program.split(","), report)
        stage.stop()
        report.check("gate stops_in_order",
                     stage.child.returncode and f"exit status {stage.child.returncode}")
        report.check("gate nothing_plain_at_rest", "\n".join(at_rest(stage)))
    sys.exit(1 if report.failed else 0)


main()
