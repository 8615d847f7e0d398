"""Check whether a change of the code changes results: compare small runs before and after it, bit by bit.

    python -m benchmarks.same_numbers record before.json
    python -m benchmarks.same_numbers compare before.json after.json
    python -m benchmarks.same_numbers check before.json         # record again, and compare

A recording is valid only for the machine and the libraries that it was made with. Do not add it to the repository.
Every run is started with the command line and read from its files, so the same script works before and after an
internal change. The table below holds the options. ``benchmarks.recorded`` holds the names of files and fields.

The script needs a system with ``fork``: each command is a process of its own that need not import the libraries again.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import math
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from benchmarks.recorded import RENAMED, identity, is_finished, read_arrays, read_run, read_summary, trained_epochs

__all__ = ["compare", "main", "record"]

ROOT = Path(__file__).resolve().parents[1]

# The commands. If an option is renamed, rename it here.

PLACE = ("--precision", "float32", "--device", "cpu")
SMALL = (*PLACE, "--image-size", "32", "--set", "evaluate.bootstrap=50")
NETWORK = ("--backbone", "resnet10t", "--set", "encoder.stem=standard")
TRAINING = (*NETWORK, "--epochs", "2", "--batch-size", "16", "--set", "train.validate_every=2")
PHANTOM = ("--dataset", "phantom", "--set", "dataset.patients_per_class=6", "--set", "dataset.images_per_patient=3")
TILES = ("--dataset", "folder", "--data-dir", "data/tiles", "--set", r"dataset.group_pattern=(P\d+)_")
CHESTS = ("--dataset", "csv", "--data-dir", "data/chests", "--set", "dataset.group_column=patient")
FINDINGS = ("--dataset", "medmnist", "--data-dir", "data", "--set", "dataset.name=chestmnist")
FINDING = (*FINDINGS, "--set", "dataset.finding=pneumonia")
KNN = ("--evaluator", "knn")
FINETUNE = ("--evaluator", "finetune", "--set", "evaluators.finetune.epochs=1", "--set",
            "evaluators.finetune.min_steps=4")  # fmt: skip
IN_TRAINING_MODE = ("--evaluator", "mlp_train_mode", "--set", "evaluators.mlp_train_mode.epochs=2", "--set",
                    "evaluators.mlp_train_mode.hold_epochs=1")  # fmt: skip
FROZEN = tuple(
    word
    for name in ("knn", "linear", "mlp", "calibration", "retrieval", "rank", "tsne")
    for word in ("--evaluator", name)
)


@dataclass(frozen=True)
class Command:
    """One call of the command line.

    Attributes:
        words: The arguments, beginning with the name of the command; ``{grouped}`` is that command's run directory.
        output: Folder for its runs, or its file; ``None``: a folder of its own. Commands with the same folder can share
            a pre-training.
        stopped: Whether to kill it after an epoch and to run the same command again.
        summary: Whether it prints the summary of a study.
    """

    words: tuple[str, ...]
    output: str | None = None
    stopped: bool = False
    summary: bool = False


def _run(method: str, *words: str, **options: Any) -> Command:
    return Command(("run", "--method", method, *SMALL, *TRAINING, *words), **options)


LONG = ("byol", *TILES, *KNN, "--epochs", "6", "--split", "grouped")
COMMANDS: Mapping[str, Command] = {
    # splits and targets
    "grouped": _run("dcl", *PHANTOM, *FROZEN),
    "random split": _run("supervised", *TILES, *KNN, *FINETUNE, "--split", "random", "--augmentation",
                         "histology_stain"),
    "official": _run("mocov2", *CHESTS, "--set", "dataset.part_column=part", "--augmentation", "xray", "--set",
                     "views.window_jitter=0.8"),
    "one finding": _run("nnclr", *FINDING, *KNN, "--set", "method.queue_length=32", "--augmentation", "ct_window"),
    "findings": _run("supervised", *FINDINGS, *KNN, "--evaluator", "linear", "--evaluator", "mlp", "--evaluator",
                     "calibration", *FINETUNE),
    "grades": _run("random", *TILES, *KNN, "--evaluator", "linear", "--set", "dataset.target=grades"),
    "folds": _run("random", *TILES, *KNN, "--split", "kfold", "--set", "split.folds=2", summary=True),
    "one grouped fold": _run("simsiam", *CHESTS, *KNN, "--split", "grouped-kfold", "--set", "split.folds=3", "--set",
                             "split.fold=1"),
    "one site left out": _run("random", *CHESTS[:-1], "dataset.group_column=site", *KNN, "--split", "loso", "--set",
                              "split.fold=1"),
    # label fractions with the encoder of `grouped`, and with one that is trained on labels
    "fewer labels": _run("dcl", *PHANTOM, *FROZEN, "--set", "split.label_fraction=0.5", output="grouped"),
    "fewer labels, supervised": _run("supervised", *PHANTOM, *KNN, "--set", "split.label_fraction=0.5"),
    # methods
    "small views": _run("swav", *PHANTOM, *KNN, "--set", "method.prototypes=20", "--set", "method.queue_length=32",
                        "--set", "method.queue_start=0.4"),
    "teacher": _run("mocov3", *PHANTOM, *KNN, "--augmentation", "natural", "--set", "views.solarise=0.2"),
    "teacher and small views": _run("dino", *TILES, *KNN, "--set", "train.optimizer=adamw"),
    "local views": _run("vicregl", *TILES, *KNN, "--set", "train.optimizer=lars", "--set", "train.warmup_epochs=1"),
    "patches": _run("mae", *PHANTOM, *KNN, "--backbone", "vit_tiny_patch16_224", "--set", "encoder.stem=auto"),
    "best epoch": _run("barlowtwins", *PHANTOM, *KNN, "--epochs", "3", "--set", "train.keep=best", "--set",
                       "train.validate_every=1", "--set", "train.batch_norm=joint", "--set", "encoder.stem=small",
                       "--seed", "3"),
    "from weights": _run("simclr", *TILES, *KNN, *IN_TRAINING_MODE, "--init", "{grouped}/encoder.safetensors"),
    # an interrupted run equals an uninterrupted one
    "straight": _run(*LONG),
    "resumed": _run(*LONG, stopped=True),
    # a study of four cells
    "study": Command(("bench", "--method", "dcl", "--baseline", "random", "--seeds", "2", *SMALL, *TRAINING, *PHANTOM,
                      *KNN), summary=True),
    # an existing encoder
    "evaluated": Command(("evaluate", "{grouped}", *SMALL, *PHANTOM, *KNN, "--evaluator", "retrieval")),
    "evaluated on others": Command(("evaluate", "{grouped}", *SMALL, *TILES, *FINETUNE)),
    "embedded": Command(("embed", "{grouped}", "data/tiles", *PLACE), output="embedded.npz"),
}  # fmt: skip
EQUAL = (("straight", "resumed"),)

# Recording.


def record(file: Path) -> dict[str, Any]:
    """Run every command, and write its numbers to ``file``.

    Returns:
        The content of the file.
    """
    # before torch is imported: with one thread, the order of additions is fixed
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NO_COLOR"), "1")
    os.environ.pop("MEDSSL_DATA", None)
    begun = time.perf_counter()
    _import_libraries()
    from benchmarks.small_images import draw_all

    runs: dict[str, dict[str, Any]] = {}
    places: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="same-numbers-") as name:
        work = Path(name)
        os.environ["MEDSSL_CACHE"] = str(work / "cache")
        draw_all(work / "data")
        for title, command in COMMANDS.items():
            start = time.perf_counter()
            found = _carry_out(title, command, work, places)
            runs |= found
            count = sum(map(len, found.values()))
            print(f"{title:26} {count:5} numbers {time.perf_counter() - start:6.1f} s", flush=True)
    recording = {"made with": _versions(), "runs": runs}
    file.write_text(json.dumps(recording, indent=1) + "\n", encoding="utf-8")
    print(f"{file}: {len(runs)} runs, {sum(map(len, runs.values()))} numbers, {time.perf_counter() - begun:.0f} s")
    for one, other in EQUAL:
        if differences := compare({one: runs[one]}, {one: runs[other]}):
            _print_table(differences)
            raise SystemExit(f"The run '{other}' must equal the run '{one}', but differs (table above).")
    return recording


def _carry_out(title: str, command: Command, work: Path, places: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the numbers of each run of a command by name; put the directory of a single run into ``places``."""
    output = work / "runs" / (command.output or title)
    there = set(output.glob("*"))
    words = [word.replace("{grouped}", places.get("grouped", "")) for word in command.words]
    words += ["--output", output.relative_to(work).as_posix()]
    words += ["--json"] if command.summary else []
    if command.stopped:
        _stop_after_an_epoch(words, work, output)
    said = _finish(_start(words, work), work)
    if output.is_file():
        return {title: read_arrays(output, "array")}
    made = {identity(folder): folder for folder in sorted(set(output.glob("*")) - there) if is_finished(folder)}
    if len(made) == 1:
        (folder,) = made.values()
        places[title] = folder.relative_to(work).as_posix()
        return {title: read_run(folder)}
    if not made:
        raise SystemExit(f"'{title}' has no finished run. Its messages:\n{(work / 'err').read_text(encoding='utf-8')}")
    found = {f"{title}: {key}": read_run(made[key]) for key in sorted(made)}
    return found | ({title: read_summary(said)} if command.summary else {})


def _stop_after_an_epoch(words: Sequence[str], work: Path, output: Path) -> None:
    process = _start(words, work)
    while process.is_alive():
        for folder in output.glob("*"):
            if trained_epochs(folder):
                process.kill()
                process.join()
                break
        time.sleep(0.005)
    if any(is_finished(folder) for folder in output.glob("*")) or not any(output.glob("*")):
        raise SystemExit(f"The run was not stopped in time. Messages:\n{(work / 'err').read_text(encoding='utf-8')}")


def _start(words: Sequence[str], work: Path) -> BaseProcess:
    """Start ``medssl`` with these arguments in a process of its own, which already has the libraries."""
    process = multiprocessing.get_context("fork").Process(target=_medssl, args=(words, work))
    process.start()
    return process


def _finish(process: BaseProcess, work: Path) -> str:
    """Wait for a command and return what it printed."""
    process.join()
    if process.exitcode:
        said = (work / "err").read_text(encoding="utf-8")
        raise SystemExit(f"medssl ended with the exit code {process.exitcode}. Its messages:\n{said}")
    return (work / "out").read_text(encoding="utf-8")


def _medssl(words: Sequence[str], work: Path) -> None:
    """Run the installed console script."""
    os.chdir(work)
    for name, stream in (("out", 1), ("err", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    print("medssl", *words, file=sys.stderr, flush=True)
    sys.path.pop(0)  # the folder where this script was started: its medssl may not be the installed one
    sys.argv = ["medssl", *words]
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="medssl")
    sys.exit(script.load()())


def _import_libraries() -> None:
    """Import the libraries that every run needs once, but nothing of medssl."""
    for name in ("numpy", "torch", "torchvision", "timm", "sklearn.linear_model", "scipy.stats", "safetensors.torch"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _versions() -> dict[str, str]:
    names = ("torch", "torchvision", "timm", "lightly", "numpy", "scikit-learn", "pillow")
    called = subprocess.run(
        ["git", "describe", "--always", "--dirty"], check=False, cwd=ROOT, capture_output=True, text=True
    )
    return {
        "commit": called.stdout.strip(),
        "machine": f"{platform.platform()} {platform.processor()}",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }


# Comparing.


MISSING = "missing"


@dataclass(frozen=True)
class Difference:
    """One number that has changed, or :data:`MISSING`."""

    run: str
    key: str
    old: Any
    new: Any


def compare(old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> list[Difference]:
    """Return each number of the old runs that has changed or is missing; additional numbers do not count.

    Args:
        old: Numbers by key, by run.
        new: Numbers by key, by run.
    """
    return [
        Difference(run, key, value, now)
        for run, numbers in old.items()
        for key, value in numbers.items()
        if not _equal(value, now := new.get(run, {}).get(_renamed(key), MISSING))
    ]


def _equal(old: Any, new: Any) -> bool:
    both_undefined = all(isinstance(value, float) and math.isnan(value) for value in (old, new))
    return bool(old == new) or both_undefined


def _renamed(key: str) -> str:
    return next((name + key.removeprefix(was) for was, name in RENAMED.items() if key.startswith(was)), key)


def _report(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Print the differences between two recordings, and return whether they are equal."""
    for key, value in old["made with"].items():
        if key != "commit" and value != (now := new["made with"].get(key)):
            print(f"note: different {key}: {value}, now {now}. Numbers from one machine can be compared.")
    differences = compare(old["runs"], new["runs"])
    more = {(run, key) for run, numbers in new["runs"].items() for key in numbers}
    more -= {(run, _renamed(key)) for run, numbers in old["runs"].items() for key in numbers}
    if more:
        print(f"note: {len(more)} additional number{'s' * (len(more) > 1)}, the first is {min(more)}")
    _print_table(differences)
    of = f"of {sum(map(len, old['runs'].values()))} numbers of {len(old['runs'])} runs"
    print(f"{len(differences)} {of} differ" if differences else f"equal: all {of}")
    return not differences


def _print_table(differences: Sequence[Difference]) -> None:
    if not differences:
        return
    rows = [("run", "key", "old", "new"), *((d.run, d.key, f"{d.old!s:.24}", f"{d.new!s:.24}") for d in differences)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("record", help="do the runs and write their numbers").add_argument("file", type=Path)
    two = actions.add_parser("compare", help="compare two recordings; 1 if they differ")
    two.add_argument("old", type=Path)
    two.add_argument("new", type=Path)
    actions.add_parser("check", help="record again and compare; 1 if they differ").add_argument("file", type=Path)
    given = parser.parse_args()
    if given.action == "record":
        return 0 if record(given.file) else 1
    old = json.loads((given.old if given.action == "compare" else given.file).read_text(encoding="utf-8"))
    if given.action == "compare":
        return 0 if _report(old, json.loads(given.new.read_text(encoding="utf-8"))) else 1
    with tempfile.TemporaryDirectory() as folder:
        return 0 if _report(old, record(Path(folder) / "now.json")) else 1


if __name__ == "__main__":
    sys.exit(main())
