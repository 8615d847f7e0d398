"""The record of a run, as documents read it: fields of ``result.json`` by name, and the statements made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from medssl.catalog import Catalog
from medssl.contracts.kinds import DATASET
from medssl.errors import OptionError, did_you_mean
from medssl.export.model import validation_loss
from medssl.results.directory import RunResult

__all__ = ["Record", "Stated"]


@dataclass(frozen=True)
class Stated:
    """A sentence about a run.

    Attributes:
        text: The sentence.
        fields: The fields of ``result.json`` that it states, with dots: ``data.split``.
    """

    text: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """The record of a run.

    Attributes:
        run: The result.
        evaluator: The predictor that the document is about, as the result names it.
        catalog: Facts about datasets.
    """

    run: RunResult
    evaluator: str
    catalog: Catalog

    @classmethod
    def of(cls, run: RunResult, catalog: Catalog, evaluator: str | None = None) -> Self:
        """Return the record for a predictor; ``None``: the one with the lowest loss on the validation part.

        Raises:
            OptionError: The run has no such predictor.
        """
        names = list(run.scores)
        if not names:
            raise OptionError(f"no evaluator of {run.path} predicts, so there are no scores to describe.")
        if evaluator is not None and evaluator not in names:
            raise OptionError(
                f"the run has no predictor '{evaluator}'.{did_you_mean(evaluator, names)} Predictors: "
                f"{', '.join(names)}."
            )
        return cls(run, evaluator or min(names, key=partial(validation_loss, run)), catalog)

    def value(self, field: str) -> Any:
        """Return the value of a field of ``result.json``.

        Raises:
            KeyError: The result has no such field.
        """
        found: Any = self.run.values
        for name in field.split("."):
            found = found[name]
        return found

    def get(self, field: str) -> Any:
        """Return the value of a field; ``None`` if the result does not have it."""
        try:
            return self.value(field)
        except (KeyError, TypeError):
            return None

    @property
    def scores(self) -> str:
        """The field with the scores of the predictor."""
        return f"evaluations.{self.evaluator}"

    @property
    def network(self) -> tuple[str, str]:
        """The name of the encoder's network, and its field; results of earlier versions have it in the recipe."""
        field = "encoder.name" if self.get("encoder.name") else "recipe.encoder.backbone"
        return str(self.value(field)), field

    @property
    def facts(self) -> Mapping[str, Any]:
        """The catalogue's entry of the dataset."""
        return self.catalog.entry(DATASET.name, self.run.dataset)
