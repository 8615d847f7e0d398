"""The table of kinds: what sorts of plugins there are, and what each place needs to know about one.

Discovery, catalogue, recipe, command line, studies, conformance kit, scaffold and documentation loop over
:data:`KINDS`; none of them knows a kind by its name. A new kind is a file with its contract, a file with its checks,
and one entry here. Importing this module imports no contract, and so no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from medssl.errors import OptionError, did_you_mean

__all__ = ["DATASET", "EVALUATOR", "KINDS", "METHOD", "NONE", "Kind", "kind_named", "kind_words"]


#: The name that says that there is no plugin of a kind, where the kind has a stand-in.
NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of plugin.

    Attributes:
        name: The word for one: ``--NAME`` on the command line, and in messages.
        plural: The word for several: the section of the catalogue, ``medssl list PLURAL``, the key of a plan.
        group: Its entry-point group.
        contract: The class that its plugins extend, as ``module:Class``; imported when it is needed.
        checks: Modules with its checks, each with a tuple ``CHECKS`` and, where they are not for every plugin of the
            kind, a function ``applies(plugin) -> bool``.
        part: The part of a recipe that its choice belongs to; ``run``: to none, the recipe keeps it in ``others``.
        many: Whether a run takes several. A recipe holds a list of them under the plural, else one under the name.
        required: Whether a run needs one.
        reads_files: Whether its plugins read the user's files: they are checked over a folder, with the facts of the
            catalogue.
        stand_in: The class that is meant where a recipe says ``none``, as ``module:Class``; empty: ``none`` is no name.
    """

    name: str
    plural: str
    group: str
    contract: str
    checks: tuple[str, ...]
    part: Literal["data", "training", "evaluation", "run"]
    many: bool = False
    required: bool = True
    reads_files: bool = False
    stand_in: str = ""

    @property
    def section(self) -> str:
        """Its section of a recipe."""
        return self.plural if self.many else self.name

    @property
    def with_article(self) -> str:
        """``a method``, ``an evaluator``."""
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name}"

    def place_of_options(self, plugin: str) -> tuple[str, ...]:
        """Return where the options of a plugin are in a recipe: ``("method",)``, ``("evaluators", "linear")``."""
        return (self.section, plugin) if self.many else (self.section,)

    def load_contract(self) -> type[Any]:
        """Import the class that its plugins extend."""
        module, _, name = self.contract.partition(":")
        contract: type[Any] = getattr(import_module(module), name)
        return contract


KINDS: tuple[Kind, ...] = (
    Kind(
        name="method",
        plural="methods",
        group="medssl.methods",
        contract="medssl.contracts.methods:Method",
        checks=("medssl.conformance.methods", "medssl.conformance.devices", "medssl.conformance.training"),
        part="training",
        stand_in="medssl.contracts.methods:AsGiven",
    ),
    Kind(
        name="dataset",
        plural="datasets",
        group="medssl.datasets",
        contract="medssl.contracts.datasets:Dataset",
        checks=("medssl.conformance.datasets", "medssl.conformance.fetching"),
        part="data",
        reads_files=True,
    ),
    Kind(
        name="evaluator",
        plural="evaluators",
        group="medssl.evaluators",
        contract="medssl.contracts.evaluators:Evaluator",
        checks=("medssl.conformance.evaluators",),
        part="evaluation",
        many=True,
    ),
)

#: The kinds that the stages of a run are about.
METHOD, DATASET, EVALUATOR = KINDS[:3]


def kind_named(name: str) -> Kind:
    """Return a kind by its name.

    Raises:
        OptionError: There is no such kind.
    """
    for kind in KINDS:
        if kind.name == name:
            return kind
    names = [kind.name for kind in KINDS]
    raise OptionError(f"there is no kind of plugin '{name}'.{did_you_mean(name, names)} Kinds: {', '.join(names)}.")


def kind_words(*more: str) -> dict[str, str]:
    """Map every plural to its name, in the order of the table; ``more`` are the names of what is listed beside plugins.

    For instance ``{"methods": "method", ...}``.
    """
    return {**{kind.plural: kind.name for kind in KINDS}, **{f"{word}s": word for word in more}}
