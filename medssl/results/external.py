"""The section ``external`` of a result as typed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medssl.results.scores import Scores, read_scores
from medssl.results.sections import read_section

__all__ = ["ExternalScores", "read_external"]


@dataclass(frozen=True, kw_only=True)
class ExternalScores:
    """The scores of a run on the images of another hospital.

    Attributes:
        directory: Folder of the images.
        dataset: Name of the plugin that listed them.
        images: Tested images.
        left_out: Images without a label of the run.
        groups: Their groups; ``None`` if not known.
        group_kind: The kind of group, for instance ``patient``.
        labels: Images by label of the run.
        seen: Images that were used for training or validation.
        samples_sha256: Checksum of their listing; ``None`` in results of earlier versions.
        content_sha256: Checksum of the files' contents; ``None`` if the dataset gives no files.
        warnings: Warnings for the reader.
        scores: Scores by evaluator and metric.
    """

    directory: Path
    dataset: str
    images: int
    left_out: int = 0
    groups: int | None = None
    group_kind: str | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    seen: int = 0
    samples_sha256: str | None = None
    content_sha256: str | None = None
    warnings: tuple[str, ...] = ()
    scores: Mapping[str, Scores] = field(default_factory=dict)


def read_external(values: Mapping[str, Any], file: Path) -> dict[str, ExternalScores]:
    """Read the section, by name of the external test set; empty if there is none.

    Args:
        values: Content of ``result.json``.
        file: Where the values come from, for the message.

    Raises:
        CheckpointError: An entry is missing or of the wrong type.
    """
    found = {}
    for name, section in read_section({"external": {}, **values}, "external", dict[str, dict[str, Any]], file).items():
        scores = read_scores(section, file)
        plain = {key: value for key, value in section.items() if key != "evaluations"}
        known = read_section({"external": plain}, "external", ExternalScores, file)
        found[name] = ExternalScores(**{**vars(known), "scores": scores})
    return found
