"""Fixtures that several test packages share."""

from __future__ import annotations

import gc
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A machine under load draws its examples slowly; that is no fault of a test.
settings.register_profile("medssl", parent=settings(), suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("medssl")

# Before torch is imported, here and in the processes that tests start: on two cores that other processes share, two
# threads wait for each other more than they work, and one thread gives the same numbers everywhere.
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection() -> None:
    """Do not search for garbage while the files are read: their modules and tests stay until the end."""
    gc.disable()


def pytest_collection_finish() -> None:
    """From here on, search only among what the tests make."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def own_configuration(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's own key and table of identifiers out of the tests, and those of the tests out of it."""
    os.environ["MEDSSL_CONFIG"] = str(tmp_path_factory.mktemp("configuration"))


_DRAWN = ("report", "test_hostile_texts.py")  # folder and file whose tests look at figures
_looked_at = True


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Draw figures only for tests that look at them: they are most of what a page costs."""
    global _looked_at  # noqa: PLW0603  (the fixtures of a module are made within the set-up of its first test)
    _looked_at = any(name in item.path.parts for name in _DRAWN)


@pytest.fixture(scope="session", autouse=True)
def figures_that_nobody_looks_at() -> Iterator[None]:
    """Write an empty picture in the place of a figure that no test looks at, and do not search its texts."""
    from matplotlib.figure import Figure

    draw, find = Figure.savefig, Figure.findobj

    def savefig(figure: Figure, file: Any, **options: Any) -> None:
        if _looked_at:
            draw(figure, file, **options)
        else:
            file.write('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>')

    def findobj(figure: Figure, *kind: Any) -> list[Any]:
        return find(figure, *kind) if _looked_at else []  # to find them, matplotlib makes every tick

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        patch.setattr(Figure, "findobj", findobj)
        yield


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Folder of one real dataset below MEDSSL_DATA, or a skip that says what is missing."""

    def find(name: str) -> Path:
        root = os.environ.get("MEDSSL_DATA")
        if not root:
            pytest.skip("MEDSSL_DATA is not set: no real images to test with")
        folder = Path(root) / name
        if not folder.is_dir():
            pytest.skip(f"MEDSSL_DATA has no folder {name}")
        return folder

    return find


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., Any]:
    """A function that waits until a condition is true, and returns what the condition returned.

    It fails after some seconds, with the text that ``said`` returns, or when a process that makes the condition true
    has ended.
    """

    def wait(
        condition: Callable[[], Any],
        said: Callable[[], str] = lambda: "",
        seconds: float = 300,
        process: subprocess.Popen[str] | None = None,
    ) -> Any:
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert process is None or process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end, f"the condition is still false after {seconds} s. {said()}"
            time.sleep(0.02)
        return found

    return wait
