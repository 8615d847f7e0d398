"""The table of all kinds of plugins, with the facts that other modules need about each kind.

Discovery, catalogue, recipe, command line, studies, conformance kit, scaffold and documentation loop over
:data:`KINDS`; none of them contains the name of a kind. A new kind is a file with its contract, a file with its checks,
and one entry here. Importing this module does not import any contract or torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from medssl.errors import OptionError, did_you_mean

__all__ = [
    "DATASET",
    "ENCODER",
    "EVALUATOR",
    "KINDS",
    "LAUNCHER",
    "METHOD",
    "NONE",
    "READER",
    "RUN_KINDS",
    "TRACKER",
    "Kind",
    "kind_named",
    "kind_words",
]


#: The name for "no plugin of this kind", if the kind has a stand-in.
NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of plugin.

    Attributes:
        name: The word for one: ``--NAME`` on the command line, and in messages.
        plural: The word for several: the section of the catalogue, ``medssl list PLURAL``, the key of a plan.
        group: Its entry-point group.
        contract: The class that its plugins extend, as ``module:Class``; imported when it is needed.
        checks: Modules with its checks. Each has a tuple ``CHECKS`` and, if they do not apply to every plugin of the
            kind, a function ``applies(plugin) -> bool``.
        part: The part of a recipe with its choice; ``run``: no part, the recipe has it in ``others``; ``study``: it is
            of a study, and no recipe has it.
        many: Whether a run can have several. A recipe has a list of them under the plural, else one under the name.
        required: Whether a run needs one.
        reads_files: Whether its plugins read the user's files; then they are checked on a folder, with the facts of the
            catalogue.
        stand_in: The class for ``none`` in a recipe, as ``module:Class``; empty: ``none`` is not allowed.
    """

    name: str
    plural: str
    group: str
    contract: str
    checks: tuple[str, ...]
    part: Literal["data", "training", "evaluation", "run", "study"]
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
        """Return the position of a plugin's options in a recipe: ``("method",)``, ``("evaluators", "linear")``."""
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
        name="encoder",
        plural="encoders",
        group="medssl.encoders",
        contract="medssl.contracts.encoders:EncoderPlugin",
        checks=("medssl.conformance.encoders",),
        part="training",
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
    Kind(
        name="reader",
        plural="readers",
        group="medssl.readers",
        contract="medssl.contracts.readers:Reader",
        checks=("medssl.conformance.readers",),
        part="data",
        many=True,
        required=False,
    ),
    Kind(
        name="tracker",
        plural="trackers",
        group="medssl.trackers",
        contract="medssl.contracts.trackers:Tracker",
        checks=("medssl.conformance.trackers",),
        part="run",
        many=True,
        required=False,
    ),
    Kind(
        name="launcher",
        plural="launchers",
        group="medssl.launchers",
        contract="medssl.contracts.launchers:Launcher",
        checks=("medssl.conformance.launchers",),
        part="study",
        required=False,
    ),
)

#: The kinds that a recipe names.
RUN_KINDS: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind.part != "study")

#: The kinds that the stages of a run use.
METHOD, DATASET, ENCODER, EVALUATOR, READER, TRACKER = KINDS[:6]
#: Where the cells of a study run.
LAUNCHER = KINDS[6]


def kind_named(name: str) -> Kind:
    """Return a kind by its name.

    Raises:
        OptionError: The kind does not exist.
    """
    for kind in KINDS:
        if kind.name == name:
            return kind
    names = [kind.name for kind in KINDS]
    raise OptionError(
        f"the kind of plugin '{name}' does not exist.{did_you_mean(name, names)} Kinds: {', '.join(names)}."
    )


def kind_words(*more: str) -> dict[str, str]:
    """Map every plural to its name, in the order of the table; ``more`` are further names in listings.

    For instance ``{"methods": "method", ...}``.
    """
    return {**{kind.plural: kind.name for kind in KINDS}, **{f"{word}s": word for word in more}}
