"""The program that the tests start as ranks: ``python ranks.py JOB FOLDER``, with the variables of torchrun or without.

Without the variables it does the job alone, so the tests compare K processes with one.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medssl.conformance import toy
from medssl.conformance.methods import build_rig
from medssl.conformance.running import Subject
from medssl.contracts import Batch, Encode, Method, ViewSpec
from medssl.errors import MedsslError, TrainingError
from medssl.recipe.settings import TrainSettings
from medssl.train.loop.trainer import Trainer
from medssl.train.machine.device import Precision
from medssl.world.world import World, joined

SAMPLES, BATCH, EPOCHS = 22, 7, 3  # nine steps of four and three rows, or of 3 + 2 + 2


class Views:
    """Views that depend on seed, epoch and sample only, as those of a run do."""

    def __init__(self, spec: ViewSpec, dtype: torch.dtype) -> None:
        self.images, self.label = toy.stripes(SAMPLES, 0)
        self._spec, self._dtype = spec, dtype

    def __len__(self) -> int:
        return SAMPLES

    def start_epoch(self, epoch: int) -> None:
        pass  # the passes say all

    def __call__(self, positions: Tensor, passes: Tensor) -> tuple[Tensor, ...]:
        rows = [[view[at] for view in self._drawn(int(number))] for at, number in zip(positions, passes, strict=True)]
        views = (torch.stack(view).to(self._dtype) for view in zip(*rows, strict=True))
        return tuple(view.contiguous(memory_format=torch.channels_last) for view in views)

    def _drawn(self, number: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(number)
        sides = [max(4, round(toy.SIDE * group.scale)) for group in self._spec.groups for _ in range(group.count)]
        return [toy.draw_view(self.images, generator, side) for side in sides]

    def geometry(self, positions: Tensor, passes: Tensor) -> tuple[Tensor, ...] | None:
        if not self._spec.geometry:
            return None
        count = sum(group.count for group in self._spec.groups)
        return tuple(torch.eye(2, 3).expand(len(positions), 2, 3) for _ in range(count))


def methods() -> Iterator[tuple[str, type[Method]]]:
    """Every method of this repository that trains."""
    for entry in sorted(entry_points(group="medssl.methods"), key=lambda each: each.name):
        if entry.value.startswith("medssl_methods.") and (plugin := entry.load()).trains:
            yield entry.name, plugin


class Endless(Exception):
    """Ends a training as an interruption does, between two epochs."""


def train(
    plugin: type[Method],
    world: World,
    folder: Path,
    dtype: torch.dtype = torch.float64,
    stop: int = EPOCHS,
    dropout: float = 0.0,
    **settings: Any,
) -> dict[str, Any]:
    """Train on this rank: losses of the steps, gradients of the last one, the state afterwards, and the history.

    Args:
        plugin: The method.
        world: The ranks.
        folder: Of the states.
        dtype: Of everything.
        stop: Epochs after which to stop, of the three that the settings say.
        dropout: Of features.
        settings: Of the training.
    """
    rig = build_rig(Subject(plugin, plugin.Config()), samples=SAMPLES, batch_size=BATCH)
    network, method = rig.encoder.to(dtype), rig.method.to(dtype)
    if dropout:
        network = nn.Sequential(network, nn.Dropout(dropout))
    views = Views(method.views, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {"learning_rate": 0.02, "batch_size": BATCH, "epochs": EPOCHS, "validate_every": 1, "keep": "best"}
    trainer = Trainer(
        network,
        method,
        views,
        settings=TrainSettings(**(wanted | settings)),
        seed=0,
        device=torch.device("cpu"),
        precision=Precision(None, ""),
        groups=torch.arange(SAMPLES),
        directory=folder,
        fingerprint="test",
        y=toy.toy_truth(rig.kind, views.label) if method.uses_labels else None,
        labelled=torch.arange(0, SAMPLES, 2) if method.labelled_share else None,
        world=world,
    )
    losses: list[float] = []
    history: list[Any] = []

    def after_epoch(record: Any) -> None:
        if record.epoch + 1 == stop < EPOCHS:
            raise Endless

    def validate() -> dict[str, float]:
        assert world.first, "only rank 0 validates"
        return {"val_score": float(sum(weight.sum() for weight in network.parameters()))}

    with contextlib.suppress(Endless):
        history = trainer.fit(validate=validate, report=after_epoch, progress=lambda record: losses.append(record.loss))
    named = {"encoder": network, "method": method}
    weights = {f"{o}.{name}": weight for o, module in named.items() for name, weight in module.named_parameters()}
    return {
        "losses": losses,
        "gradients": {name: weight.grad.clone() for name, weight in weights.items() if weight.grad is not None},
        "state": {f"{o}.{name}": v.clone() for o, module in named.items() for name, v in module.state_dict().items()},
        "history": [{k: v for k, v in asdict(record).items() if "second" not in k} for record in history],
        "files": sorted(path.name for path in folder.iterdir()),
    }


def job_methods(world: World, folder: Path) -> dict[str, Any]:
    """Every method in float64, and its first epoch in float32."""
    return {
        f"{name} {str(dtype).removeprefix('torch.')}": train(plugin, world, folder / f"{name}{dtype}", dtype, epochs)
        for name, plugin in methods()
        for dtype, epochs in ((torch.float64, EPOCHS), (torch.float32, 1))
    }


class FewRows(Method):
    """Encodes a single row beside the batch, so some ranks have none; and rows in another order, with values beside."""

    def __init__(self, config: Any, encoder: nn.Module, task: Any) -> None:
        super().__init__(config, encoder, task)
        self.around = (Scaled(encoder),)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        first, second = batch.views
        order = torch.randperm(len(first), generator=batch.generator)
        scale = 1 + torch.rand(len(first), generator=batch.generator).to(first)
        (whole,) = encode((first[order],), self.around[0], beside=(scale,))
        one, other = encode((second[:1], first[2:4]))
        return (whole.square().mean() - 1).square() + (one.sum() - other.sum()).square()


class Scaled(nn.Module):
    """An encoder whose features are multiplied by a number for each image."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor, scale: Tensor) -> Tensor:
        features: Tensor = self.encoder(images)
        return features * scale[:, None]


def job_variants(world: World, folder: Path) -> dict[str, Any]:
    """Settings that meet the exchange, on methods that differ in how they use the batch."""
    known = dict(methods())
    some = {name: known[name] for name in ("simclr", "byol", "mocov2", "mae", "ibot", "vicregl")}
    found = {name: train(plugin, world, folder / name) for name, plugin in some.items()}
    simclr = known["simclr"]
    return found | {
        "few rows": train(FewRows, world, folder / "few", batch_norm="joint"),
        "joint": train(simclr, world, folder / "joint", batch_norm="joint"),
        "adamw": train(simclr, world, folder / "adamw", optimizer="adamw", learning_rate=1e-3),
        "each": train(simclr, world, folder / "each", batch_norm_devices="each"),
        "dropout": train(simclr, world, folder / "dropout", dropout=0.5),
    }


def job_begin(world: World, folder: Path) -> dict[str, Any]:
    """The first epoch of a training in a folder that all jobs share."""
    return train(dict(methods())["mocov2"], world, folder.parent / "shared", stop=1)


def job_rest(world: World, folder: Path) -> dict[str, Any]:
    """The other epochs."""
    return train(dict(methods())["mocov2"], world, folder.parent / "shared")


def job_endless(world: World, folder: Path) -> dict[str, Any]:
    """A training that somebody will end."""
    return train(dict(methods())["simclr"], world, folder.parent / "shared", epochs=100_000)


def job_failing(world: World, folder: Path) -> None:
    """A rank that fails while another trains."""
    if world.rank == 1:
        raise TrainingError("the disk of this machine is full. Free some space.")
    job_endless(world, folder)


def job_alone(world: World, folder: Path) -> dict[str, Any]:
    """Rank 0 works alone for longer than the time-out."""
    del folder
    return {"heard": world.from_first(lambda: time.sleep(4) or {"score": 0.1})}


def job_small(world: World, folder: Path) -> dict[str, Any]:
    """A batch that is smaller than the number of ranks."""
    return train(dict(methods())["simclr"], world, folder, batch_size=2)


def main() -> None:
    """Do a job, and write what this rank found."""
    job, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    try:
        with joined("cpu") as world:
            found = globals()[f"job_{job}"](world, folder / ("alone" if not world.several else f"rank{world.rank}"))
            torch.save(found, folder / f"{job}-{world.size}-{world.rank}.pt")
    except MedsslError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
