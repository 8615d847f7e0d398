"""The saved states of a training: the last one, and the one before it in case the last is damaged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from medssl.errors import CheckpointError
from medssl.train.encoder.checkpoint import DamagedError, load_state, save_state

__all__ = ["States"]

_T = TypeVar("_T")
_log = logging.getLogger("medssl")


class States:
    """The files ``state.pt`` and ``state.previous.pt`` of a run.

    Randomness depends on the epoch and the step only, so a training that continues from the older state computes the
    same numbers again.

    Args:
        directory: The run's directory.
    """

    def __init__(self, directory: Path) -> None:
        self._last, self._previous = directory / "state.pt", directory / "state.previous.pt"

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a state; the last one becomes the previous one.

        Raises:
            CheckpointError: It cannot be written; the last state is unchanged.
        """
        save_state(self._last, state, keep=self._previous)

    def restore(self, fingerprint: str, load: Callable[[Mapping[str, Any]], _T]) -> _T | None:
        """Read the last state, or the previous one if the last is damaged; ``None`` if there is none.

        Args:
            fingerprint: Key of everything that determines the result; the state must have the same.
            load: Takes the state. It is called again with the previous state if this one does not fit.

        Raises:
            CheckpointError: The states belong to another run, do not fit, or are all damaged.
        """
        found = [path for path in (self._last, self._previous) if path.exists()]
        for path in found:
            try:
                state = load_state(path)
            except DamagedError as error:
                if path == found[-1]:
                    raise
                _log.warning("%s The state before it is used instead, so some epochs are computed again.", error)
                continue
            return self._load(path, state, fingerprint, load)
        return None

    @staticmethod
    def _load(path: Path, state: Mapping[str, Any], fingerprint: str, load: Callable[[Mapping[str, Any]], _T]) -> _T:
        if state.get("fingerprint") != fingerprint:
            raise CheckpointError(
                f"{path} belongs to another run. Its recipe or its images differ from those of this run. "
                "Give another --output, or --force to start over here."
            )
        try:
            return load(state)
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(
                f"{path} does not fit this method or encoder. {said} "
                "Another version of a plugin or of medssl wrote it. Use that version, or start over with --force."
            ) from error
