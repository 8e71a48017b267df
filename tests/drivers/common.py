"""What the Python driver tests share: the customers they make, and how they report.

Environment: PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE (libpq's), BASE (see README.md),
SEALED=1 if `customers` is sealed.
"""
import os
import sys
import traceback

SEALED = os.environ.get("SEALED") == "1"
BASE = int(os.environ.get("BASE", "31000000"))
CLIENT = 1
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


def is_customer(row, n, note="平日18時以降"):
    want = customer(n, note)
    assert len(row) == len(want), row
    for position, (got, expected) in enumerate(zip(row, want)):
        if position == 4:
            assert same_phone(got, expected), "phone differs"
        else:
            assert got == expected, f"column {position} differs"
    return True


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
        sys.exit(1 if self.failed else 0)
