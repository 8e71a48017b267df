"""What the Python driver tests share: the customers they make, and how they report.

Environment: PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE (libpq's), BASE (see README.md),
SEALED=1 if `customers` is sealed; then also CERTIFICATE, what the gate's TLS is verified with, and
SAID, the file that tells what the script saw.
"""
import csv
import datetime
import decimal
import io
import json
import os
import sys
import traceback

SEALED = os.environ.get("SEALED") == "1"
BASE = int(os.environ.get("BASE", "31000000"))
CLIENT = 1
CERTIFICATE = os.environ.get("CERTIFICATE")
SLEEPS = ", pg_sleep(CASE WHEN id = %d THEN 60 ELSE 0 END)"
ODD = 'tab\there, \\ and\nline, "quoted"; \'so\''
COLUMNS = "id, client_id, name, kana, phone, email, address, birth_date, note"


def phone(n):
    """The telephone number of customer n, as people write it."""
    digits = f"{n:08d}"
    return f"090-{digits[:4]}-{digits[4:]}"


def spellings(n):
    """The spellings of it that must find the customer."""
    written = phone(n)
    if not SEALED:
        return [written]
    wide = written.translate(str.maketrans("0123456789-", "０１２３４５６７８９−"))
    return [written, written.replace("-", ""), wide]


def same_phone(a, b):
    def digits(text):
        text = "".join(c for c in text if c.isdigit())
        return "0" + text[2:] if text.startswith("81") else text

    return digits(a) == digits(b)


def customer(n, note="平日18時以降"):
    return (
        n, CLIENT, f"試験 太郎{n}", "シケン タロウ", phone(n), f"shiken{n}@example.jp",
        f"東京都千代田区丸の内1-{n % 90 + 1}", "1980-02-29", note,
    )


def email(n):
    return f"shiken{n}@example.jp"


def literals(n, note="平日18時以降"):
    """A customer as a row of VALUES."""
    return "(" + ", ".join(str(v) if isinstance(v, int) else f"'{v}'"
                           for v in customer(n, note)) + ")"


def csv_of(rows):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def rows_of_csv(text):
    """Customers from CSV with a header."""
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == COLUMNS.split(", "), rows[0]
    return [(int(row[0]), int(row[1]), *row[2:]) for row in rows[1:]]


THING = "id, driver, amount, tags, numbers, bytes, document, raw, day, flag"


def thing(n, driver):
    """A row of `things`; the driver wraps the last but two and three as json."""
    return (n, driver, decimal.Decimal("12.50"), ["a", None, 'b,"c'], [1, None, -3], b"\x00\xff\\",
            {"k": [1, "二", None]}, {"z": {"y": True}}, datetime.date(2024, 2, 29), True)


said = {"subjects": set(), "rows": 0, "probes": 0, "sessions": 0}


def saw(n):
    """The script was shown customer n in clear."""
    said["subjects"].add(n)
    said["rows"] += 1


def probed(values=1):
    """The script searched for so many values."""
    said["probes"] += values


def connected():
    said["sessions"] += 1


def is_customer(row, n, note="平日18時以降"):
    want = customer(n, note)
    assert len(row) == len(want), row
    for position, (got, expected) in enumerate(zip(row, want)):
        if position == 4:
            assert same_phone(got, expected), "phone differs"
        else:
            assert got == expected, f"column {position} differs"
    saw(n)
    return True


def is_container(value, n):
    """A customer as a json object, in whatever order."""
    value = json.loads(value) if isinstance(value, str) else value
    return is_customer(tuple(value[column] for column in COLUMNS.split(", ")), n)


class Report:
    """Prints `ok NAME` for each check and remembers failures."""

    def __init__(self, driver):
        self.driver = driver
        self.failed = 0

    def ok(self, name):
        print(f"ok {self.driver} {name}", flush=True)

    def bad(self, name):
        self.failed += 1
        print(f"not ok {self.driver} {name}", flush=True)
        traceback.print_exc(file=sys.stdout)

    def end(self):
        if SEALED:
            with open(os.environ["SAID"], "w", encoding="utf-8") as out:
                json.dump({**said, "subjects": sorted(said["subjects"])}, out)
        sys.exit(1 if self.failed else 0)
