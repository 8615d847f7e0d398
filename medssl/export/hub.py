"""A folder as the Hugging Face hub wants it: weights that timm loads, their configuration, and a model card.

O outputs of the target.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from medssl.data.views.normalisation import statistics
from medssl.errors import OptionError
from medssl.export.documents.card import model_card
from medssl.export.documents.record import Record
from medssl.export.formats import exported_network
from medssl.export.model import TrainedModel
from medssl.io.files import write_atomic
from medssl.io.tensors import write_tensors

__all__ = ["export_hub"]

_STANDARD = """```python
import timm

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()  # on the hub: "hf-hub:NAME"
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
```"""
_SMALL = """The images of this run are smaller than 64 px, so the ResNet has a small stem: one 3 x 3 convolution of
stride 1 and no pooling after it. `timm.create_model` does not build such a stem. Replace it before you load
the weights:

```python
import timm, torch
from safetensors.torch import load_file

model = timm.create_model("BACKBONE", num_classes=CLASSES)
model.conv1 = torch.nn.Conv2d(3, model.bn1.num_features, 3, stride=1, padding=1, bias=False)
model.maxpool = torch.nn.Identity()
model.load_state_dict(load_file("model.safetensors"))
model.eval()
```"""


def export_hub(model: TrainedModel, folder: Path, record: Record, *, evaluator: str | None = None) -> list[Path]:
    """Write ``model.safetensors``, ``config.json`` and ``README.md``.

    Args:
        model: The run.
        folder: The folder; made if it does not exist.
        record: For the model card.
        evaluator: Name of a linear predictor that becomes timm's classifier; ``None``: the encoder alone.

    Returns:
        The written files.

    Raises:
        OptionError: The predictor is not a single linear layer, or the network has no place for a classifier.
        CheckpointError: A file cannot be written.
    """
    network = exported_network(model, evaluator)
    backbone, stem = model.encoder.header["backbone"], model.encoder.header.get("stem", "standard")
    built = _with_classifier(network.body, network.head, evaluator) if evaluator else network.body
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / name for name in ("model.safetensors", "config.json", "README.md")]
    write_tensors(written[0], built.state_dict(), {"format": "pt"})
    config = _config(model, built, evaluator)
    write_atomic(written[1], (json.dumps(config, indent=2) + "\n").encode())
    loading = _SMALL if stem == "small" else _STANDARD
    loading = loading.replace("BACKBONE", backbone).replace("CLASSES", str(config["num_classes"]))
    loading = loading.replace("FOLDER", folder.name) + "\n\n" + _about_output(model, evaluator)
    write_atomic(written[2], model_card(record, loading).encode())
    return written


def _with_classifier(body: nn.Module, head: nn.Module | None, evaluator: str) -> nn.Module:
    """Put the linear layer of a head into the place of timm's classifier."""
    if not (isinstance(head, nn.Sequential) and isinstance(linear := head[0], nn.Linear) and len(head) <= 2):
        raise OptionError(
            f"the predictor '{evaluator}' is not a single linear layer, so it cannot be timm's classifier. Export the "
            "encoder alone, or a linear predictor of the run."
        )
    network: Any = copy.deepcopy(body)
    network.reset_classifier(linear.out_features)
    place = network.get_classifier()
    if not isinstance(place, nn.Linear) or place.weight.shape != linear.weight.shape:
        raise OptionError("this network has no single linear classifier. Export the encoder alone.")
    if not bool(torch.isfinite(linear.bias).all()):
        raise OptionError("a class has no training image, so a linear classifier would have an infinite bias.")
    place.load_state_dict(linear.state_dict())
    found: nn.Module = network.eval()
    return found


def _config(model: TrainedModel, built: Any, evaluator: str | None) -> dict[str, Any]:
    """Return the configuration in the form that timm reads."""
    side = model.encoder.image_size
    expected = model.encoder.preprocessing
    scale, shift = (each.flatten() for each in statistics(expected, torch.device("cpu")))
    names = list(model.run.data.target.output_names)
    data = {
        "input_size": [3, side, side],
        "fixed_input_size": False,
        "interpolation": expected.interpolation,
        "crop_pct": expected.crop,
        "crop_mode": "squash" if expected.fit == "squash" else "center",
        "mean": [round(float(value), 4) for value in shift / scale],
        "std": [round(float(value), 4) for value in 1 / scale],
        "num_classes": len(names) if evaluator else 0,
        "first_conv": built.pretrained_cfg.get("first_conv"),
        "classifier": built.pretrained_cfg.get("classifier"),
        "license": "other",
    }
    architecture = model.encoder.header["backbone"].partition(".")[0]
    arguments: dict[str, Any] = {}
    if timm.is_model(architecture) and (timm.get_pretrained_cfg(architecture) or data).fixed_input_size:  # type: ignore[union-attr]
        arguments = {"img_size": side, "dynamic_img_size": True}
    return {
        "architecture": architecture,
        "num_classes": data["num_classes"],
        "num_features": model.encoder.feature_dim,
        **({"label_names": names} if evaluator else {}),
        **({"model_args": arguments} if arguments else {}),
        "pretrained_cfg": data,
        "medssl": {"stem": model.encoder.header.get("stem", "standard"), "recipe": model.run.values["recipe"]["hash"]},
    }


def _about_output(model: TrainedModel, evaluator: str | None) -> str:
    side = model.encoder.image_size
    into = (
        f"The input has {side} x {side} pixels: the short side resized, the centre cut. A grey image has three equal "
        "channels."
    )
    if evaluator is None:
        return f"{into} The output has {model.encoder.feature_dim} features and no classifier."
    kind, names = model.run.data.target.kind, ", ".join(model.run.data.target.output_names)
    last = {"findings": "Apply a sigmoid", "quantity": "It is the number itself"}.get(kind, "Apply a softmax")
    return f"{into} The output is for: {names}. {last}."
