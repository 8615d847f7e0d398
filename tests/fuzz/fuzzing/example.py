"""A finished run, whose files are then damaged."""

from __future__ import annotations

import functools
import os
from pathlib import Path

#: Small enough for seconds: the untrained network of a few hundred thousand weights, 96 images of 16 px.
_QUICK = (
    *("--method", "random", "--dataset", "phantom", "--image-size", "16", "--backbone", "test_resnet"),
    *(
        "--set",
        "encoder.stem=standard",
        "--set",
        "evaluate.bootstrap=50",
        "--evaluator",
        "knn",
        "--evaluator",
        "linear",
    ),
)


@functools.cache
def example_run() -> Path:
    """Return the folder of the run that ``MEDSSL_FUZZ_RUN`` names, or make one there.

    Raises:
        RuntimeError: It cannot be made.
    """
    folder = Path(os.environ["MEDSSL_FUZZ_RUN"])
    if not list(folder.glob("*/result.json")):
        from click.testing import CliRunner

        from medssl.cli import main

        outcome = CliRunner().invoke(main, ["run", *_QUICK, "--output", str(folder)])
        if outcome.exit_code:
            raise RuntimeError(f"the run to damage cannot be made: {outcome.output}")
    (found,) = folder.glob("*/result.json")
    return found.parent
