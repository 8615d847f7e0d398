"""An encoder as it is given, frozen: ``--init FILE``, or what ``medssl evaluate FILE`` names.

For an encoder that was trained elsewhere: on other images, by another program, in an earlier run. Nothing is trained,
so the result tells of the encoder alone. The images that it was trained on are not known here: where images of the
test part were among them, the result is too good.
"""

from __future__ import annotations

from typing import ClassVar

from medssl_methods._untrained import Untrained

__all__ = ["Frozen"]


class Frozen(Untrained):
    """Leaves the encoder at the weights that it starts from."""

    needs_weights: ClassVar[bool] = True
