"""A short conversation with a Ray cluster, in a process of its own: one question as JSON, one answer as JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from medssl_launchers._lanes import run_lane

__all__ = ["Lane", "answer"]

_NAMESPACE = "medssl"


class Lane:
    """An actor that runs the commands of a lane in a thread, and ends itself.

    It begins when it is made and not when it is called: no one calls it after the command that submitted it has ended,
    and Ray makes it again when its process has died.

    Args:
        name: Its name in the cluster.
        folder: Where the logs and exit statuses go.
        directory: The current folder of the commands.
        numbered: The commands with the numbers of their tasks.
    """

    def __init__(self, name: str, folder: str, directory: str, numbered: Sequence[tuple[int, Sequence[str]]]) -> None:
        self._arguments = Path(folder), Path(directory), numbered
        threading.Thread(target=self._run, args=(name,), daemon=True).start()

    def _run(self, name: str) -> None:
        try:
            run_lane(*self._arguments)
        finally:
            ray = import_module("ray")
            ray.kill(ray.get_actor(name, namespace=_NAMESPACE))


def answer(ray: Any, question: Mapping[str, Any]) -> Any:
    """Do what is asked, and return what is told."""
    names = question["names"]
    if question["what"] == "submit":
        given = {"lifetime": "detached", "namespace": _NAMESPACE, "max_restarts": -1, **question["needs"]}
        for name, lane in zip(names, question["lanes"], strict=True):
            actor = ray.remote(Lane).options(name=name, **given)
            actor.remote(name, question["folder"], question["directory"], lane)
        return [_find(ray, name) is not None for name in names]
    found = [_find(ray, name) for name in names]
    if question["what"] == "cancel":
        for actor in filter(None, found):
            ray.kill(actor)
    return [actor is not None for actor in found]


def _find(ray: Any, name: str) -> Any:
    with contextlib.suppress(ValueError):  # there is none, or it has ended
        return ray.get_actor(name, namespace=_NAMESPACE)
    return None


def main() -> None:
    """Answer the question that standard input has."""
    question = json.load(sys.stdin)
    ray = import_module("ray")
    ray.init(address=question["address"], namespace=_NAMESPACE, log_to_driver=False, logging_level="ERROR")
    sys.stdout.write(json.dumps(answer(ray, question)) + "\n")
    sys.stdout.flush()
    ray.shutdown()


if __name__ == "__main__":
    main()
