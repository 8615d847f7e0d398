"""The positive one of two classes: the user's choice, else the one that is not named like a healthy image."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

from medssl.contracts import Classes, Target
from medssl.errors import OptionError

__all__ = ["likely_positive", "with_positive"]

_LOGGER = logging.getLogger("medssl")
# ours, from the class names of the catalogue's datasets and of tables like theirs
_WITHOUT = re.compile(
    r"(not|no|non|without) .*|(normals?|healthy|benign|controls?|negative)( .*)?|no|none|absent|neg|uninfected"
)


def with_positive(target: Target, name: str | None) -> Target:
    """Return the target with its positive class; another target than two classes has none.

    Args:
        target: The target of a dataset.
        name: The user's choice; ``None``: the likely one, which is said if it is not the second class.

    Raises:
        OptionError: The target has no class of this name, or not two classes.
    """
    if not isinstance(target, Classes) or target.kind != "classes" or target.outputs != 2:
        if name is None:
            return target
        raise OptionError(
            f"evaluate.positive is '{name}', but this target has {target.outputs} {target.kind}. Only a target of two "
            "classes has a positive one; with more, each is scored against the rest. Leave the setting out."
        )
    if name is not None and name not in target.names:
        known = " and ".join(f"'{each}'" for each in target.names)
        raise OptionError(f"evaluate.positive is '{name}', which is no class of this dataset. Its classes are {known}.")
    if name is None and target.positive is None and (likely := likely_positive(target.names)) is not None:
        _LOGGER.warning(
            "the positive class is '%s', because '%s' reads like the class without the disease; --set "
            "evaluate.positive=NAME chooses",
            likely,
            target.names[1],
        )
        name = likely
    return target if name is None else replace(target, positive=name)


def likely_positive(names: tuple[str, ...]) -> str | None:
    """Return the first of two classes if only the second is named like one without the disease; else ``None``."""
    first, second = (bool(_WITHOUT.fullmatch(re.sub(r"[\W_\d]+", " ", name.casefold()).strip())) for name in names)
    return names[0] if second and not first else None
