"""Changes to bytes and to structures of plain values, each drawn from a generator with a seed."""

from __future__ import annotations

import copy
import random
import struct
from collections.abc import Callable
from typing import Any

NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
)


def damage(rng: random.Random, content: bytes) -> bytes:
    """Return other bytes: one to four changes, each a flip, a cut, a splice or a number that lies."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if data:
            rng.choice(_CHANGES)(rng, data)
    return bytes(data)


def _place(rng: random.Random, data: bytearray) -> int:
    """Draw a position; half of them in the beginning, where formats have their headers."""
    return rng.randrange(min(len(data), 160)) if rng.random() < 0.5 else rng.randrange(len(data))


def _flip(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 3, 20))):
        data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[_place(rng, data) :]


def _fill(rng: random.Random, data: bytearray) -> None:
    start = _place(rng, data)
    size = min(rng.choice((1, 2, 4, 8, 64, 500)), len(data) - start)
    data[start : start + size] = rng.choice((b"\0" * size, b"\xff" * size, rng.randbytes(size)))


def _drop(rng: random.Random, data: bytearray) -> None:
    start = _place(rng, data)
    del data[start : start + rng.choice((1, 2, 4, 64, 500))]


def _insert(rng: random.Random, data: bytearray) -> None:
    start = _place(rng, data)
    data[start:start] = rng.randbytes(rng.choice((1, 2, 4, 64)))


def _repeat(rng: random.Random, data: bytearray) -> None:
    start = _place(rng, data)
    piece = data[start : start + rng.choice((4, 12, 64, 500))]
    data[start:start] = piece * rng.choice((1, 2, 50))


def _lie(rng: random.Random, data: bytearray) -> None:
    kind = rng.choice("BHIQ")
    size = struct.calcsize(kind)
    start = _place(rng, data)
    number = rng.choice(NUMBERS) % 256**size
    data[start : start + size] = struct.pack(rng.choice("<>") + kind, number)


_CHANGES: tuple[Callable[[random.Random, bytearray], None], ...] = (
    *(_flip, _flip, _cut, _fill, _drop, _insert, _repeat),
    *(_lie, _lie, _lie),
)

# --------------------------------------------------------------------------------------------------------- structures

WORDS = (
    "",
    " ",
    "a",
    "null",
    "nan",
    "~",
    "../../x",
    "/etc/passwd",
    "a/b",
    "a:b",
    "=1+1",
    "\x00",
    "\x1b[2J",
    "\u202e",
    "é" * 50,
)
ODD: tuple[Callable[[random.Random], Any], ...] = (
    lambda rng: None,
    lambda rng: rng.choice((True, False)),
    lambda rng: rng.choice((0, 1, -1, 2, 10**9, 2**63, 10**30, -(10**30))),
    lambda rng: rng.choice((0.0, -0.0, 0.5, 1e308, float("inf"), float("-inf"), float("nan"))),
    lambda rng: rng.choice(WORDS),
    lambda rng: "x" * rng.choice((300, 5000, 100_000)),
    lambda rng: rng.choice(
        ([], {}, [[]], [None], {"": None}, {"a": {"b": [1]}}, [1, "a"], {"plugin": None}, {"plugin": "dcl"})
    ),
    lambda rng: list(range(rng.choice((1000, 30_000)))),
    lambda rng: _deep(rng.choice((10, 70, 500))),
)


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def vary(rng: random.Random, values: Any) -> Any:
    """Return a copy of plain values with one to three changes: a value, a key, an entry less or twice."""
    changed = copy.deepcopy(values)
    if rng.random() < 0.03:
        return rng.choice(ODD)(rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        homes = _homes(changed)
        if not homes:
            return rng.choice(ODD)(rng)
        home = rng.choice(homes)
        key = rng.choice(list(home) if isinstance(home, dict) else range(len(home)))
        _change(rng, home, key, values)
    return changed


def _homes(values: Any) -> list[Any]:
    """Return all lists and mappings that have entries; the outer ones more often."""
    found, level, depth = [], [values], 0
    while level and depth < 8:
        here = [each for each in level if isinstance(each, dict | list) and each]
        found += here * max(1, 12 // (1 + len(here)))
        level = [v for each in here for v in (each.values() if isinstance(each, dict) else each[:20])]
        depth += 1
    return found


def _change(rng: random.Random, home: Any, key: Any, values: Any) -> None:
    way = rng.random()
    if way < 0.6:
        home[key] = rng.choice(ODD)(rng)
    elif way < 0.75:
        del home[key]
    elif isinstance(home, dict):
        home[rng.choice((*WORDS, str(key) + "x", str(key).upper()))] = (
            home.pop(key) if way < 0.9 else _copied(home[key])
        )
    elif way < 0.9:
        home.extend((_copied(home[key : key + 1]) or []) * rng.choice((1, 3)))
    else:
        home[key] = _copied(values) if rng.random() < 0.3 else str(home[key])


def _copied(values: Any) -> Any:
    try:
        return copy.deepcopy(values)
    except RecursionError:  # an earlier change has nested them deeply
        return None
