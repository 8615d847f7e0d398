"""Exports the network of a run to ONNX, and compares it with PyTorch on real images.

n images, S side length of an image in pixels.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medssl.errors import CheckpointError, OptionError
from medssl.export.formats import ExportedNetwork, exported_network, real_images
from medssl.export.model import TrainedModel
from medssl.io.files import require_writable, write_atomic

__all__ = ["OnnxCheck", "export_onnx"]

_OPSET = 20  # onnxruntime 1.17 (2024) and later; PyTorch's exporter writes it without a conversion
_TOLERANCE = 1e-4
_CHECKED, _CALIBRATED = 32, 96  # images: for the comparison, and to measure the ranges of int8
_INPUT, _FEATURES, _PREDICTIONS = "images", "features", "predictions"


@dataclass(frozen=True, kw_only=True)
class OnnxCheck:
    """The comparison of an exported file with PyTorch.

    Attributes:
        file: Name of the file.
        opset: Version of the set of operators.
        images: Number of real images.
        max_difference: Largest difference of any output.
        mean_difference: Mean difference.
        other_decisions: Images for which another output is the largest; ``None`` without a head or with one output.
        megabytes: Size of the file.
    """

    file: str
    opset: int
    images: int
    max_difference: float
    mean_difference: float
    other_decisions: int | None
    megabytes: float


def export_onnx(
    model: TrainedModel, file: Path, *, evaluator: str | None = None, images: Sequence[Path] = (), int8: bool = False
) -> list[OnnxCheck]:
    """Write an ONNX file, and with ``int8`` a second one with 8-bit weights and activations.

    The input ``images`` is ``(N, 3, S, S)`` float32 with values from 0 to 1, for any N; the file includes the
    normalisation, but not the reading and resizing of images. Beside the file, a JSON file says what was compared.

    Args:
        model: The run.
        file: The file to write.
        evaluator: Name of a predictor; ``None``: the encoder alone.
        images: Real images for the comparison; empty: those of the run's test part.
        int8: Also write ``<name>_int8.onnx``, calibrated on training images.

    Returns:
        The comparison of each file.

    Raises:
        OptionError: The extra ``onnx`` is not installed, or the predictor has no form of standard layers.
        CheckpointError: The file cannot be written, or differs from PyTorch by more than 1e-4.
    """
    _require_extra()
    require_writable(file)
    network = exported_network(model, evaluator)
    shown = real_images(model, images, _CHECKED)
    _write(network, shown[:2], file, model, evaluator)
    with torch.no_grad():
        expected = network(shown).numpy()
    checks = [_compare(file, shown, expected, evaluator)]
    if checks[0].max_difference > _TOLERANCE:
        raise CheckpointError(
            f"{file} differs from PyTorch by {checks[0].max_difference:.2g} on {len(shown)} images, more than "
            f"{_TOLERANCE:g}. The file is kept for inspection; do not use it."
        )
    if int8:
        small = file.with_name(f"{file.stem}_int8{file.suffix}")
        _quantise(file, small, real_images(model, images, _CALIBRATED, part="train"))
        checks.append(_compare(small, shown, expected, evaluator))
    recipe = model.run.values["recipe"]["hash"]
    said = {"recipe": recipe, "predictor": evaluator, "checks": [asdict(check) for check in checks]}
    text = json.dumps(said, indent=2)
    write_atomic(file.with_suffix(".json"), text.encode() + b"\n")
    return checks


def _require_extra() -> None:
    try:
        import onnx  # noqa: F401, PLC0415  (an extra, only used here)
        import onnxruntime  # noqa: F401, PLC0415
        import onnxscript  # noqa: F401, PLC0415
    except ImportError as error:
        raise OptionError(
            f"the ONNX export needs the package '{error.name}', which is not installed. Install the extra: pip install "
            '"medssl[onnx]".'
        ) from error


def _write(network: ExportedNetwork, example: Tensor, file: Path, model: TrainedModel, evaluator: str | None) -> None:
    import onnx  # noqa: PLC0415

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    output = _FEATURES if evaluator is None else _PREDICTIONS
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=_OPSET,
                input_names=[_INPUT],
                output_names=[output],
                dynamic_shapes={"images": {0: torch.export.Dim("N", min=1, max=4096)}},
            )
    except Exception as error:  # the exporter raises errors of many classes
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise OptionError(
            f"this network has no ONNX form that PyTorch can write: {cause}. Export another backbone or predictor."
        ) from error
    proto: Any = program.model_proto  # type: ignore[union-attr]  # with dynamo there is a program
    facts = {
        "medssl_recipe": str(model.run.values["recipe"]["hash"]),
        "outputs": json.dumps(list(model.run.data.target.output_names) if evaluator else []),
        "input": f"(N, 3, {model.encoder.image_size}, {model.encoder.image_size}), RGB from 0 to 1; resize the short "
        "side to this size and cut the centre; a grey image has three equal channels",
        "mean": json.dumps(list(model.encoder.preprocessing.mean)),
        "std": json.dumps(list(model.encoder.preprocessing.std)),
    }
    for key, value in facts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.functions):
        part.ClearField("metadata_props")  # the exporter writes stack traces with folders of this computer
    onnx.checker.check_model(proto)
    write_atomic(file, proto.SerializeToString())


def _run(file: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    import onnxruntime  # noqa: PLC0415

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {_INPUT: images})[0])


def _compare(file: Path, images: Tensor, expected: NDArray[np.float32], evaluator: str | None) -> OnnxCheck:
    """Compare all images at once, and the first one alone."""
    import onnx  # noqa: PLC0415

    found = _run(file, images.numpy())
    alone = _run(file, images[:1].numpy())
    difference = np.abs(np.concatenate([found, alone]) - np.concatenate([expected, expected[:1]]))
    decided = evaluator is not None and expected.shape[1] > 1
    opset = next(each.version for each in onnx.load(file).opset_import if each.domain == "")
    return OnnxCheck(
        file=file.name,
        opset=int(opset),
        images=len(images),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        other_decisions=int((found.argmax(1) != expected.argmax(1)).sum()) if decided else None,
        megabytes=round(file.stat().st_size / 1e6, 2),
    )


def _quantise(file: Path, small: Path, images: Tensor) -> None:
    """Write a copy with 8-bit weights and activations, whose ranges are measured on real images."""
    from onnxruntime.quantization import QuantFormat, QuantType, quant_pre_process, quantize_static  # noqa: PLC0415

    batches = iter([{_INPUT: part.numpy()} for part in torch.split(images, 16)])

    class Reader:  # the package accepts any object with this method
        def get_next(self) -> Any:
            return next(batches, None)

    reader: Any = Reader()  # its base class is not used, since without the extra it has no type
    prepared = file.with_name(f".{file.stem}.prepared.onnx")
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # the package gives advice there
    try:
        quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(small),
            reader,
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
        )
    finally:
        logging.root.setLevel(level)
        prepared.unlink(missing_ok=True)
