"""wandb: settings, curves, results and the page as a run of Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from medssl.contracts import FinishedRun, StartedRun, Tracker
from medssl_trackers._package import require

__all__ = ["WandB"]


class WandB(Tracker):
    """Logs a run to Weights & Biases, or to a folder that ``wandb sync`` uploads later."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            project: Name of the project.
            entity: User or team; empty: the default of the account.
            mode: ``offline`` sends nothing and is the default, because results of patients must not leave the house
                unasked; ``online`` sends to the server.
            encoder: Whether to upload ``encoder.safetensors``.
        """

        project: str = "medssl"
        entity: str = ""
        mode: Literal["offline", "online"] = "offline"
        encoder: bool = False

    def __init__(self, config: Any) -> None:
        """Check that wandb is installed.

        Raises:
            OptionError: It is not installed.
        """
        super().__init__(config)
        self._wandb: Any = require("wandb", "wandb")

    def start(self, run: StartedRun) -> None:
        """Begin the run, or continue that of the same name."""
        run.folder.mkdir(parents=True, exist_ok=True)
        run.folder.chmod(0o700)  # the package's own log names folders
        self._run: Any = self._wandb.init(
            project=self.config.project,
            entity=self.config.entity or None,
            mode=self.config.mode,
            name=run.name,
            id=run.name,
            group=run.study,
            resume="allow" if self.config.mode == "online" else None,
            dir=str(run.folder),
            config=dict(run.settings),
            settings=self._wandb.Settings(
                silent=True,
                console="off",
                save_code=False,
                disable_git=True,
                host="computer",  # no name of the computer, user or folder is sent
                x_disable_meta=True,
                x_disable_machine_info=True,
            ),
        )

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        self._run.log(dict(values), step=number)

    def finish(self, run: FinishedRun) -> None:
        """Log the results and keep ``result.json`` and the page."""
        self._run.summary.update({f"test/{name}": value for name, value in run.values.items()})
        for name, file in run.files.items():
            if name != "encoder" or self.config.encoder:
                self._run.save(str(file), base_path=str(file.parent), policy="now")
        self._run.finish()

    def fail(self, message: str) -> None:
        """Mark the run as failed."""
        self._run.summary["stopped"] = message
        self._run.finish(exit_code=1)
