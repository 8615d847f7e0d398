"""The operations that make a random view of an image, one file each, in the order of application."""

from medssl.contracts import Augmentation
from medssl.data.views.operation import Operation, Scene
from medssl.data.views.ops.blur import Blur
from medssl.data.views.ops.crop import Crop
from medssl.data.views.ops.gamma import Gamma
from medssl.data.views.ops.greyscale import Greyscale
from medssl.data.views.ops.jitter import Jitter
from medssl.data.views.ops.noise import Noise
from medssl.data.views.ops.rotation import Rotation
from medssl.data.views.ops.solarise import Solarise
from medssl.data.views.ops.stain import Stain
from medssl.data.views.ops.symmetry import Symmetry
from medssl.data.views.ops.window import Window

__all__ = ["OPERATIONS", "operations_of"]

#: The order is that of the fields of :class:`medssl.contracts.Augmentation`.
OPERATIONS: tuple[type[Operation], ...] = (
    Crop,
    Window,
    Rotation,
    Symmetry,
    Gamma,
    Stain,
    Jitter,
    Greyscale,
    Blur,
    Solarise,
    Noise,
)


def operations_of(augmentation: Augmentation, scene: Scene) -> tuple[Operation, ...]:
    """Return the operations of a recipe that can change a pixel of these views, in the order of their application."""
    colourless = scene.pixels.channels != 3
    found = [kind.of(augmentation, scene) for kind in OPERATIONS if not (kind.coloured and colourless)]
    return tuple(operation for operation in found if operation is not None)
