"""mlflow: settings, curves, results and the page as a run of MLflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medssl.contracts import FinishedRun, StartedRun, Tracker
from medssl_trackers._package import require

__all__ = ["MLflow"]

_PARAMETERS = 100  # MLflow takes at most 100 in one call
_LONGEST = 500  # characters of a parameter's value, for servers before MLflow 2.10


class MLflow(Tracker):
    """Logs a run to an MLflow server or folder; a continued run continues its run of MLflow."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            uri: Address of the server, or a folder; empty: ``MLFLOW_TRACKING_URI``, else MLflow's default.
            experiment: Name of the experiment.
            encoder: Whether to upload ``encoder.safetensors``.
        """

        uri: str = ""
        experiment: str = "medssl"
        encoder: bool = False

    def __init__(self, config: Any) -> None:
        """Check that MLflow is installed.

        Raises:
            OptionError: It is not installed.
        """
        super().__init__(config)
        require("mlflow", "mlflow")

    def start(self, run: StartedRun) -> None:
        """Create the run of MLflow, or find that of the part before the interruption."""
        from mlflow import MlflowClient  # noqa: PLC0415  (slow to import)

        self._client: Any = MlflowClient(tracking_uri=self.config.uri or None)
        known = run.folder / "run-id.txt"
        if run.first_epoch and known.is_file():
            self._id = known.read_text(encoding="utf-8").strip()
            self._client.update_run(self._id, status="RUNNING")
            return
        found = self._client.get_experiment_by_name(self.config.experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(self.config.experiment)
        self._id = self._client.create_run(experiment, run_name=run.name, tags={"study": run.study}).info.run_id
        run.folder.mkdir(parents=True, exist_ok=True)
        known.write_text(self._id, encoding="utf-8")
        self._log_settings(run.settings)

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self._client.log_metric(self._id, _allowed(name), value, step=number)

    def finish(self, run: FinishedRun) -> None:
        """Log the results and upload ``result.json`` and the page."""
        for name, value in run.values.items():
            self._client.log_metric(self._id, _allowed(f"test/{name}"), value)
        for name, file in run.files.items():
            if name != "encoder" or self.config.encoder:
                self._client.log_artifact(self._id, str(file))
        self._client.set_terminated(self._id, "FINISHED")

    def fail(self, message: str) -> None:
        """Mark the run as failed."""
        self._client.set_tag(self._id, "stopped", message)
        self._client.set_terminated(self._id, "FAILED")

    def _log_settings(self, settings: Mapping[str, Any]) -> None:
        from mlflow.entities import Param  # noqa: PLC0415

        every = [Param(_allowed(key), str(value)[:_LONGEST]) for key, value in settings.items()]
        for start in range(0, len(every), _PARAMETERS):
            self._client.log_batch(self._id, params=every[start : start + _PARAMETERS])


def _allowed(name: str) -> str:
    """Replace the characters that MLflow does not take in a name."""
    return re.sub(r"[^\w\-. /]", "_", name)
