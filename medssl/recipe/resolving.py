"""Turns layers of settings into a recipe: merges them, checks every value and freezes the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

from annotated_types import Ge, Lt

from medssl.catalog import Catalog
from medssl.contracts import Augmentation, EncoderCard
from medssl.contracts.kinds import DATASET, ENCODER, METHOD, RUN_KINDS, Kind
from medssl.errors import BreachError, OptionError, did_you_mean
from medssl.recipe import options
from medssl.recipe.choosing import Choice, choose, choose_many, name_in
from medssl.recipe.external import choose_external
from medssl.recipe.layers import SECTIONS, lay_over, normal_form, stack
from medssl.recipe.parts import DataRecipe, EvaluateRecipe, Recipe, TrainRecipe
from medssl.recipe.settings import PrecisionName, ViewSettings

__all__ = ["resolve", "resolve_data"]

_AUGMENTATION_FIELDS = tuple(option.name for option in fields(Augmentation))


@dataclass(frozen=True, kw_only=True)
class _Scalars:
    seed: Annotated[int, Ge(0), Lt(2**63)] = 0
    precision: PrecisionName = "auto"


def resolve(catalog: Catalog, layers: Sequence[Mapping[str, Any]]) -> Recipe:
    """Merge the user's layers with the catalogue's recipe, check every value, and freeze the result.

    Args:
        catalog: Provides recipes, augmentations and facts.
        layers: Nested values in the structure of a recipe file, weakest first (a recipe file, then command-line
            options). A plugin is a name, or a mapping of ``plugin`` (the name) and options. If a run takes several
            plugins of a kind, they are a list of these, or a mapping of options by name.

    Raises:
        OptionError: A key is unknown (the message names the closest), a value has the wrong type or is out of range, or
            a required plugin is not named.
        PluginError: See :func:`medssl.discovery.load_plugin`.
    """
    user = stack(layers)
    values = _over_the_catalogue(catalog, user, _names(catalog, user, RUN_KINDS))
    chosen = _choose(catalog, values, user, RUN_KINDS)
    card = _card_of(chosen[ENCODER])
    if card.image_size is not None and user.get("views", {}).get("image_size") is None:
        values["views"] = {**values.get("views", {}), "image_size": card.image_size}
    scalars = _scalars(values)
    sections: dict[str, Any] = {
        name: options.build(kind, values.get(name, {}), name) for name, kind in SECTIONS.items()
    }
    recipe = Recipe(
        base=_base(user),
        precision=scalars.precision,
        data=_data_part(catalog, values, chosen, scalars.seed),
        training=TrainRecipe(**_of("training", chosen), card=card, train=sections["train"]),
        evaluation=EvaluateRecipe(
            **_of("evaluation", chosen),
            evaluate=sections["evaluate"],
            external=choose_external(values.get("external", {}), values[DATASET.section], catalog),
        ),
        others=_of("run", chosen),
    )
    _refuse_leaked_labels(recipe)
    _refuse_open_hospitals(recipe)
    return recipe


def resolve_data(catalog: Catalog, layers: Sequence[Mapping[str, Any]]) -> DataRecipe:
    """Resolve the data part alone, as for a run. The other parts need not be complete and are not checked.

    Args:
        catalog: As for :func:`resolve`.
        layers: As for :func:`resolve`.

    Raises:
        OptionError: See :func:`resolve`, for the settings of this part.
        PluginError: See :func:`resolve`.
    """
    user = stack(layers)
    kinds = [kind for kind in RUN_KINDS if kind.part == "data"]
    values = _over_the_catalogue(catalog, user, _names(catalog, user, kinds))
    return _data_part(catalog, values, _choose(catalog, values, user, kinds), _scalars(values).seed)


def _refuse_leaked_labels(recipe: Recipe) -> None:
    if recipe.split.pretrain_seed is not None and recipe.method.plugin.uses_labels:
        raise OptionError(
            f"{recipe.method.name} learns from labels, and split.pretrain_seed would show it the labels of test "
            "images. This setting is only for methods without labels. Leave it out."
        )


def _refuse_open_hospitals(recipe: Recipe) -> None:
    if recipe.evaluate.closed and recipe.external:
        raise OptionError(
            "evaluate.closed keeps the test part closed, but an external test set was given too. Leave out "
            "--external, or open the test part."
        )


def _base(user: Mapping[str, Any]) -> str:
    return str(user.get("recipe") or "medssl")


def _names(catalog: Catalog, user: Mapping[str, Any], kinds: Sequence[Kind]) -> dict[Kind, str]:
    return {kind: name_in(kind, user, catalog.default(kind.name)) for kind in kinds if not kind.many}


def _card_of(choice: Any) -> EncoderCard:
    """Return the card of an encoder.

    Raises:
        MedsslError: The card's files are missing or cannot be read.
        OptionError: The encoder takes images of another number of channels.
    """
    card: EncoderCard = choice.plugin(choice.config, choice.facts).card
    if card.channels != 3:
        raise OptionError(
            f"the encoder '{choice.name}' takes images of {card.channels} channels. medssl gives every encoder three "
            "(grey images are repeated). Choose another encoder."
        )
    return card


def _over_the_catalogue(catalog: Catalog, user: Mapping[str, Any], named: Mapping[Kind, str]) -> dict[str, Any]:
    """Merge the user's settings into the catalogue's recipe for these plugins."""
    below = normal_form(catalog.recipe(_base(user), named.get(METHOD, ""), named.get(DATASET, "")))
    for kind, name in named.items():
        default = catalog.default(kind.name)
        if default and name != default and kind.section in below:  # its settings are those of the default
            section = below[kind.section]
            below[kind.section] = {key: section[key] for key in ("weights",) if key in section}
    for kind in RUN_KINDS:
        if kind.many:
            section = below.setdefault(kind.section, {})
            section.setdefault("*", [name for name in section if name != "*"])
    return lay_over(below, user)


def _choose(
    catalog: Catalog, values: Mapping[str, Any], user: Mapping[str, Any], kinds: Sequence[Kind]
) -> dict[Kind, Choice | tuple[Choice, ...] | None]:
    found: dict[Kind, Choice | tuple[Choice, ...] | None] = {}
    for kind in kinds:
        if kind.many:
            found[kind] = choose_many(kind, values, user, catalog)
        else:
            name = name_in(kind, values, catalog.default(kind.name))
            found[kind] = choose(kind.name, name, values.get(kind.section, {}), catalog) if name else None
    return found


def _of(part: str, chosen: Mapping[Kind, Any]) -> dict[str, Any]:
    return {kind.section: found for kind, found in chosen.items() if kind.part == part}


def _scalars(values: Mapping[str, Any]) -> _Scalars:
    return options.build(_Scalars, {key: values[key] for key in ("seed", "precision") if key in values}, "recipe")


def _data_part(catalog: Catalog, values: Mapping[str, Any], chosen: Mapping[Kind, Any], seed: int) -> DataRecipe:
    views, augmentation, overridden = _resolve_views(catalog, values, chosen[DATASET])
    return DataRecipe(
        **_of("data", chosen),
        split=options.build(SECTIONS["split"], values.get("split", {}), "split"),
        views=views,
        named_augmentation=augmentation,
        overridden=overridden,
        seed=seed,
    )


def _resolve_views(
    catalog: Catalog, values: Mapping[str, Any], dataset: Choice
) -> tuple[ViewSettings, Augmentation, dict[str, Any]]:
    """Return the settings, the augmentation (catalogue, then ``augmentation`` section), and fields set in ``views``."""
    section = values.get("views", {})
    known = {option.name for option in fields(ViewSettings)}
    every = [*known, *_AUGMENTATION_FIELDS]
    for key in section:
        if key not in every:
            raise OptionError(f"views has no option '{key}'.{did_you_mean(key, every)} Options: {', '.join(every)}.")
    given = {key: value for key, value in section.items() if key in known}
    name = given.get("augmentation") or dataset.plugin.augmentation_for(dataset.config)
    if not isinstance(name, str):
        raise BreachError(dataset.plugin, "augmentation_for()", [f"it must return a text, but returned {name!r:.80}"])
    settings = options.build(ViewSettings, {**given, "augmentation": name}, "views")
    drawn = {**catalog.augmentation(name), **values.get("augmentation", {})}
    set_by_user = {key: value for key, value in section.items() if key in _AUGMENTATION_FIELDS}
    checked = asdict(options.build(Augmentation, set_by_user, "views"))
    return settings, options.build(Augmentation, drawn, "augmentation"), {key: checked[key] for key in set_by_user}
