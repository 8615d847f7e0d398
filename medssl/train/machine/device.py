"""Chooses device, precision and memory layout, and states the reasons for the run's record."""

from __future__ import annotations

import contextlib
import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import nn

from medssl.errors import OptionError, did_you_mean

__all__ = [
    "Layout",
    "Precision",
    "choose_device",
    "choose_layout",
    "choose_precision",
    "describe_environment",
    "native_bfloat16",
]

_DEVICES = ("auto", "cpu", "cuda", "mps")
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_PACKAGES = ("torch", "torchvision", "lightly", "timm", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Precision:
    """The number format of the encoder's matrix products and convolutions. Losses always use float32.

    Attributes:
        dtype: bfloat16 or float16 under autocast; ``None``: float32 throughout.
        reason: Why this format was chosen, for the run's record.
        device_type: ``cpu``, ``cuda`` or ``mps``.
    """

    dtype: torch.dtype | None
    reason: str
    device_type: str = "cpu"

    @property
    def name(self) -> str:
        """``float32``, ``bfloat16`` or ``float16``."""
        return "float32" if self.dtype is None else str(self.dtype).removeprefix("torch.")

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return the context in which the encoder runs."""
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device_type, dtype=self.dtype)

    def full(self) -> contextlib.AbstractContextManager[object]:
        """Return the context in which losses and heads run, with autocast off."""
        return torch.autocast(self.device_type, enabled=False)

    def scaler(self) -> torch.amp.GradScaler:
        """Return a new loss scaler, which does nothing unless the precision is float16 on CUDA.

        Only the range of float16 is so small that gradients vanish without scaling.
        """
        needed = self.dtype == torch.float16 and self.device_type == "cuda"
        return torch.amp.GradScaler(self.device_type, enabled=needed)


@dataclass(frozen=True)
class Layout:
    """The memory order of pixels and channels.

    Attributes:
        memory_format: Channels last (N, H, W, C in memory) or contiguous (N, C, H, W).
        reason: Why this layout was chosen, for the run's record.
    """

    memory_format: torch.memory_format
    reason: str

    @property
    def name(self) -> str:
        """``channels_last`` or ``contiguous``."""
        return str(self.memory_format).removeprefix("torch.").removesuffix("_format")

    def apply(self, module: nn.Module, device: torch.device) -> None:
        """Move a module to the device and its convolution weights to this layout, in place."""
        module.to(device)
        module.to(memory_format=self.memory_format)


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of this name.

    Args:
        name: ``auto`` (CUDA, else Apple's MPS, else the CPU), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        OptionError: The name is unknown, or this machine has no such device.
    """
    kind, _, number = name.partition(":")
    if kind not in _DEVICES or (number and not (kind == "cuda" and number.isdecimal())):
        raise OptionError(
            f"no device named '{name}'.{did_you_mean(kind, _DEVICES)} "
            "Devices are auto, cpu, cuda, cuda:N (number of the GPU, from 0) and mps. Leave out --device for the best "
            "one."
        )
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    _require_present(kind, int(number or 0))
    return torch.device(f"{kind}:{number}" if number else kind)


def _require_present(kind: str, number: int) -> None:
    if kind == "mps" and not torch.backends.mps.is_available():
        raise OptionError("PyTorch finds no Apple GPU. MPS is not available on this machine. Use --device cpu or auto.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise OptionError(
            f"PyTorch finds no CUDA GPU. The installed version is {torch.__version__}; a GPU needs its driver and a "
            "build of PyTorch with CUDA. Use --device cpu or auto."
        )
    if kind == "cuda" and number >= torch.cuda.device_count():
        raise OptionError(
            f"GPU number {number} does not exist. This machine has {torch.cuda.device_count()}, numbered from 0. "
            "Give a smaller number, or --device cuda."
        )


def choose_precision(name: str, device: torch.device) -> Precision:
    """Choose the encoder's number format.

    ``auto`` is bfloat16 if the hardware multiplies it natively, float16 with loss scaling on GPUs that support only
    float16, and float32 otherwise, because emulated bfloat16 is slower than float32.

    Args:
        name: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        device: Where the encoder will run.

    Raises:
        OptionError: The name is unknown, or float16 is requested without CUDA.
    """
    known = ("auto", "float32", *_DTYPES)
    if name not in known:
        raise OptionError(f"no precision named '{name}'.{did_you_mean(name, known)} Precisions are {', '.join(known)}.")
    if name == "auto":
        return _best_precision(device)
    if name == "float16" and device.type != "cuda":
        raise OptionError(
            f"float16 cannot be used on {device.type}. Its range is too small to train without loss scaling, which "
            "only CUDA has. Use bfloat16 or float32."
        )
    reason = "as requested"
    if name == "bfloat16" and device.type == "cpu" and native_bfloat16() is None:
        reason += "; this processor has no bfloat16 instructions and is slower than in float32"
    return Precision(_DTYPES.get(name), reason, device.type)


def _best_precision(device: torch.device) -> Precision:
    if device.type == "cuda":
        gpu = torch.cuda.get_device_name(device)
        major, minor = torch.cuda.get_device_capability(device)
        if major >= 8:
            return Precision(torch.bfloat16, f"{gpu} has bfloat16 tensor cores", "cuda")
        if major == 7:
            return Precision(torch.float16, f"{gpu} has float16 tensor cores but no bfloat16", "cuda")
        return Precision(None, f"{gpu} (compute capability {major}.{minor}) has no tensor cores", "cuda")
    if device.type == "mps":
        return Precision(None, "reduced precision has not been measured on Apple GPUs", "mps")
    if instructions := native_bfloat16():
        return Precision(torch.bfloat16, f"the processor has {instructions}", "cpu")
    return Precision(None, "the processor has no bfloat16 instructions (avx512_bf16 or amx_bf16)", "cpu")


def native_bfloat16() -> str | None:
    """Return the processor's instructions for bfloat16 products, best first, or ``None`` if they are emulated.

    The check in ``mkldnn`` cannot be used: it returns true on every AVX-512 processor, even without native bfloat16.
    """
    if hasattr(torch.cpu, "get_capabilities"):  # also on Windows; PyTorch 2.8 lacks it
        flags = {name for name, present in torch.cpu.get_capabilities().items() if present is True}
    else:
        flags = set(_read_cpuinfo().get("flags", "").split())
    return next((name for name in ("amx_bf16", "avx512_bf16") if name in flags), None)


def _read_cpuinfo(path: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Read the entries of the first processor; empty if the file does not exist."""
    try:
        block = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def choose_layout(device: torch.device) -> Layout:
    """Choose the memory layout of images and convolution weights.

    Measured in float32 on two cores with AVX2 (``benchmarks/pretraining.py``): for ResNet-50 at 224 px, channels last
    takes 11 % less time. For ResNet-18 at 64 px the two differ by at most 6 %, in either direction.
    """
    if device.type == "mps":
        return Layout(torch.contiguous_format, "channels_last has not been measured on Apple GPUs")
    if device.type == "cuda":
        return Layout(
            torch.channels_last, "tensor cores use this layout; the other one would be converted at each layer"
        )
    return Layout(torch.channels_last, "as fast or faster in oneDNN's convolutions and in BatchNorm (measured)")


def describe_environment() -> dict[str, object]:
    """Describe software and hardware for the run's record, without importing the packages that it lists."""
    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": _read_cpuinfo().get("model name") or platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpus,
        "cuda": torch.version.cuda if gpus else None,
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
