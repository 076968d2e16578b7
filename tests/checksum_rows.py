"""Rows of every type that tables have, with what engines write differently, if they do."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any

EPOCH, LEAP = datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2024-02-29 01:00")
FIRST, LAST = datetime.fromisoformat("0001-01-01"), datetime.fromisoformat("9999-12-31 23:59:59.999999")
COLUMNS = (
    ("name", "varchar"), ("line", "blob"), ("is_valid", "boolean"), ("seconds", "integer"), ("total", "hugeint"),
    ("key_hash", "ubigint"), ("day", "date"), ("seen_at", "timestamp"), ("share", "double"), ("codes", "varchar[]"),
)  # fmt: skip
ROWS: tuple[tuple[Any, ...], ...] = (
    ("é\u2028", b"\xff\x00", True, -1, 2**80, 2**64 - 1, date(1, 1, 1), FIRST, 0.1, ["a,b", ""]),
    ("", b"", False, 0, 0, 0, date(9999, 12, 31), LAST, math.inf, []),
    (None, None, None, None, None, None, None, None, None, None),
    ("\U0001f3a7'\\n", b"\x00", False, 5, -1, 2**63 - 1, date(1969, 12, 31), EPOCH, math.nan, [None, "\u00e9"]),
    ("a", b"a", True, 7, 7, 2**63, date(2024, 2, 29), LEAP, 5e-324, ["a", "b"]),
)
