"""Keyed names in place of patients, file names and other identifiers, and the table that looks them up.

What may leave the house shows such a name. The key and the table stay in the user's configuration folder, so only this
user can tell who is meant.
"""

from __future__ import annotations

import atexit
import contextlib
import hmac
import json
import logging
import os
import re
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from medssl.errors import CheckpointError
from medssl.io import limits
from medssl.io.files import write_atomic
from medssl.io.leases import is_locked
from medssl.io.locks import BusyError, hold
from medssl.io.reading import read_content, read_text

__all__ = ["configuration_folder", "is_private_id", "names_of", "private_id", "remember_ids", "revealed"]

_log = logging.getLogger("medssl")

_KEY_BYTES = 32
_DIGITS = 12  # hexadecimal: 48 bits
_FORM = re.compile(rf"[a-z][a-z0-9_]*-[0-9a-f]{{{_DIGITS}}}")
_KEY, _TABLE = "identities.key", "identities.jsonl"
_WAIT = 10.0  # seconds for another process that makes the key or writes the table

_keys: dict[Path, bytes] = {}
_temporary_key = secrets.token_bytes(_KEY_BYTES)
_issued: dict[str, tuple[str, str]] = {}  # id -> kind and text, of this process
_unsaved: dict[Path, set[str]] = {}  # by configuration folder


def configuration_folder() -> Path | None:
    """Return the user's configuration folder for medssl; ``None``: the user has no home directory.

    It is the environment variable ``MEDSSL_CONFIG``, else the platform's folder: ``$XDG_CONFIG_HOME/medssl`` or
    ``~/.config/medssl`` (Linux), ``~/Library/Application Support/medssl`` (macOS), ``%APPDATA%/medssl`` (Windows).
    """
    if chosen := os.environ.get("MEDSSL_CONFIG"):
        return Path(chosen)
    if (base := os.environ.get("APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME")) and Path(
        base
    ).is_absolute():
        return Path(base) / "medssl"
    parts = {"win32": ("AppData", "Roaming"), "darwin": ("Library", "Application Support")}
    try:
        return Path.home().joinpath(*parts.get(sys.platform, (".config",)), "medssl")
    except RuntimeError:  # a user id without a home directory
        return None


def private_id(kind: str, text: str) -> str:
    """Return a keyed name for an identifier, for instance ``patient-3f9a2c71e0b4``.

    The name is the kind and the first 48 bits of HMAC-SHA256 of kind and text. The key has 32 random bytes. It is made
    once per user and lies in the user's configuration folder. The same text has the same name for this user, and
    another one for others. Without the key, a name can neither be computed nor checked. The probability that any two of
    n texts share a name is about ``n**2 / 2**49``: 2e-7 for 10,000 patients, 2e-3 for 1,000,000. A name that this
    function returned before is returned unchanged.

    If the configuration folder cannot be used, a temporary key of this process takes its place. A warning says so once;
    the next process then gives other names, and ``medssl reveal`` does not know them.

    Args:
        kind: What the text names, for instance ``patient``: a lower-case letter, then letters, digits and ``_``.
            Other characters become ``_``.
        text: The identifier. Bytes of a file name that are no UTF-8 may be in it as surrogates.

    Raises:
        CheckpointError: The file of the key is damaged.
    """
    if text in _issued or (_FORM.fullmatch(text) and text in _saved(configuration_folder())):
        return text
    name, folder = _named(_plain_kind(kind), text)
    if name not in _issued:
        _issued[name] = (_plain_kind(kind), text)
        if folder is not None:
            _unsaved.setdefault(folder, set()).add(name)
    return name


def names_of(kind: str, texts: Iterable[str]) -> dict[str, str]:
    """Return texts by their private names, to compare them with names that are known; nothing is remembered."""
    return {_named(_plain_kind(kind), text)[0]: text for text in texts}


def _named(kind: str, text: str) -> tuple[str, Path | None]:
    key, folder = _key()
    digest = hmac.digest(key, f"{kind}\0{text}".encode("utf-8", "surrogatepass"), "sha256").hex()
    return f"{kind}-{digest[:_DIGITS]}", folder


def is_private_id(text: str) -> bool:
    """Whether a text has the form of a private name. Other texts may have it too: only :func:`revealed` knows."""
    return _FORM.fullmatch(text) is not None


def _plain_kind(kind: str) -> str:
    plain = re.sub(r"[^a-z0-9_]+", "_", kind.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"id_{plain}".rstrip("_")


def remember_ids() -> None:
    """Save the identifiers that this process has named in the user's table, for ``medssl reveal``.

    Called when a result is written and when Python ends. Nothing is saved for a temporary key. A table that cannot
    be written is said in a warning.
    """
    folder = configuration_folder()
    names = _unsaved.pop(folder, None) if folder is not None else None
    if folder is None or not names or not folder.is_dir():
        return
    if names <= _saved(folder).keys() and not is_locked(folder):  # a process that was killed left the lock of `hold`
        return
    try:
        with _alone(folder):
            table = {**_saved(folder), **{name: _issued[name] for name in names}}
            lines = (json.dumps([name, *entry]) for name, entry in sorted(table.items()))
            write_atomic(folder / _TABLE, "".join(f"{line}\n" for line in lines).encode(), private=True)
    except CheckpointError as error:
        _log.warning("the table of identifiers could not be written, so `medssl reveal` will not know them. %s", error)


atexit.register(remember_ids)


def revealed(name: str) -> tuple[str, str] | None:
    """Look up what a private name stands for.

    Args:
        name: A name from :func:`private_id`.

    Returns:
        Its kind and its text; ``None``: this user's table does not have it.
    """
    return _issued.get(name) or _saved(configuration_folder()).get(name)


def _key() -> tuple[bytes, Path | None]:
    """Return the user's key, made at the first call, and its folder; ``None``: the key is temporary."""
    folder = configuration_folder()
    if folder is None:
        return _temporary_key_because("the user has no home directory")
    if folder in _keys:
        return _keys[folder], folder
    file = folder / _KEY
    try:
        key = _read_key(file)
        if key is None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _alone(folder):
                key = _read_key(file)  # another process may have made it in the meantime
                if key is None:
                    key = secrets.token_bytes(_KEY_BYTES)
                    write_atomic(file, key, private=True)
    except (OSError, BusyError) as error:
        return _temporary_key_because(f"{folder} cannot be used: {getattr(error, 'strerror', None) or error}")
    except CheckpointError as error:
        if file.exists():
            raise
        return _temporary_key_because(str(error).rstrip("."))
    _keys[folder] = key
    return key, folder


def _read_key(file: Path) -> bytes | None:
    """Read the key; ``None``: there is none yet."""
    try:
        key = read_content(file, limits.PATH_BYTES)
    except FileNotFoundError:
        return None
    if len(key) != _KEY_BYTES:
        raise CheckpointError(
            f"{file} is damaged. It has {len(key)} bytes instead of {_KEY_BYTES}. Restore it from a backup; or remove "
            "it, and medssl makes a new one (earlier private names are then not recognised)."
        )
    return key


def _temporary_key_because(why: str) -> tuple[bytes, None]:
    _warn_once(
        f"private names hold for this process only, because {why}. Set MEDSSL_CONFIG to a folder that you can write to."
    )
    return _temporary_key, None


_said: set[str] = set()


def _warn_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        _log.warning("%s", text)


_tables: dict[Path, tuple[int, dict[str, tuple[str, str]]]] = {}


def _saved(folder: Path | None) -> dict[str, tuple[str, str]]:
    """Read the user's table; lines that are damaged are left out."""
    if folder is None:
        return {}
    file = folder / _TABLE
    try:
        changed = file.stat().st_mtime_ns
        if (cached := _tables.get(folder)) and cached[0] == changed:
            return cached[1]
        lines = read_text(file).splitlines()
    except (OSError, ValueError):
        return {}
    table = dict(filter(None, map(_entry, lines)))
    _tables[folder] = (changed, table)
    return table


def _entry(line: str) -> tuple[str, tuple[str, str]] | None:
    try:
        name, kind, text = json.loads(line)
    except (ValueError, TypeError):
        return None
    return (name, (kind, text)) if all(isinstance(each, str) for each in (name, kind, text)) else None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the folder; wait for another process that holds it.

    Raises:
        BusyError: It has been held for ten seconds.
        CheckpointError: The folder cannot be written to.
    """
    until = time.monotonic() + _WAIT
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(hold(folder))
                break
            except BusyError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        yield
