"""The training loop, in which an interrupted and continued run equals an uninterrupted one.

All randomness is derived from (seed, epoch) or (seed, step), so a saved state contains no random state. It is written
only between epochs. n samples, V views, N samples per step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from medssl.contracts import Batch, Method
from medssl.contracts.crossing.methods import loss_problems, state_problems
from medssl.errors import BreachError, TrainingError, counted
from medssl.io.files import write_atomic
from medssl.recipe.settings import TrainSettings
from medssl.tools.measures import effective_rank, feature_std
from medssl.tools.training import warmup_cosine
from medssl.train.loop.batchnorm import JointEncode
from medssl.train.loop.optim import build_optimizer, peak_learning_rate
from medssl.train.loop.order import Order, Step
from medssl.train.loop.records import EpochRecord, StepRecord
from medssl.train.loop.seeding import derive_seed
from medssl.train.loop.selection import BestEpoch
from medssl.train.loop.states import States
from medssl.train.machine.device import Precision, choose_layout
from medssl.world import ALONE, World
from medssl.world.collectives import average, broadcast, own_slice, running_statistics
from medssl.world.rows import GlobalViews

__all__ = ["EpochRecord", "StepRecord", "Trainer", "ViewSource"]

_CHECK_EVERY = 20  # steps between two checks of the loss on a GPU, because each check waits for the device
_LARGEST_WEIGHT = torch.finfo(
    torch.float16
).max  # 65,504: larger values are infinite in float16, which mixed precision may use
_SAVING_SHARE = 0.05  # share of the time: 90 MB of ResNet-18 took 0.5 to 2 s to write; an epoch may be as short


class ViewSource(Protocol):
    """Source of the views, which depend only on the epoch and the sample."""

    def start_epoch(self, epoch: int) -> None:
        """Draw this epoch's augmentations."""

    def __call__(self, positions: Tensor, passes: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return V tensors ``(N, 3, S, S)`` of the samples at ``positions``, ``(N,)`` int64 on the processor.

        ``passes``, ``(N,)``, are the numbers of the augmentations that the samples have instead of the epoch's.
        """

    def geometry(self, positions: Tensor, passes: Tensor | None = None) -> tuple[Tensor, ...] | None:
        """Return the geometry of those views (:attr:`medssl.contracts.Batch.geometry`); ``None`` if not requested."""

    def __len__(self) -> int:
        """N."""


class Trainer:
    """Trains an encoder with a method.

    Args:
        encoder: Trained in place; moved to the device and its layout.
        method: Trained in place; moved to the device.
        views: Views of the training part.
        settings: Epochs, batch size, optimizer and so on.
        seed: Seed of the order of samples, of the method's random draws and of dropout.
        device: Device to compute on.
        precision: Precision of the encoder.
        groups: ``(n,)`` int64, equal within a group.
        directory: Directory for ``history.jsonl`` and ``state.pt``.
        fingerprint: Key of everything that determines the result; a state with another key is refused.
        y: What the samples are labelled with, as ``Batch.y``; passed to a method that uses labels.
        labelled: ``(m,)`` int64, the positions of the samples with a known label, with at least two of them, if the
            method draws a share of its batches from these.
        world: The ranks that train together, each with a trainer of the same arguments. Each makes the views of its
            share of a batch and encodes it; only rank 0 reads and writes the directory, validates and reports.

    Raises:
        TrainingError: There are fewer samples than one batch needs, or the method needs labels and none are given.
    """

    def __init__(
        self,
        encoder: nn.Module,
        method: Method,
        views: ViewSource,
        *,
        settings: TrainSettings,
        seed: int,
        device: torch.device,
        precision: Precision,
        groups: Tensor,
        directory: Path,
        fingerprint: str,
        y: Tensor | None = None,
        labelled: Tensor | None = None,
        world: World = ALONE,
    ) -> None:
        if len(views) < settings.batch_size:
            raise TrainingError(
                f"a batch of {settings.batch_size} is larger than the training part. It has "
                f"{counted(len(views), 'image')}. Give a smaller --batch-size, for instance "
                f"{max(2, len(views) // 4)}, or more images."
            )
        if method.uses_labels and y is None:
            raise TrainingError(f"{type(method).__name__} learns from labels. None were given. Use a labelled dataset.")
        share = 0.0 if labelled is None else method.labelled_share
        self._order = Order(len(views), settings.batch_size, seed, labelled, share)
        if world.several:
            _require_shares(settings, self._order.batch_size, world.size)
        layout = choose_layout(device)
        for module in (encoder, method):
            layout.apply(module, device)
        self._encoder, self._method, self._views, self._settings = encoder, method, views, settings
        self._seed, self._device, self._precision = seed, device, precision
        self._groups = groups.to(device)
        self._y = y.to(device) if method.uses_labels and y is not None else None
        self._states, self._history = States(directory), directory / "history.jsonl"
        self._fingerprint, self._world = fingerprint, world
        self._encode = JointEncode(
            encoder,
            precision,
            settings.batch_norm,
            compiled=settings.compile,
            world=world,
            over_ranks=settings.batch_norm_devices == "all",
        )
        self._optimizer = build_optimizer([encoder, method], settings)
        self._best = BestEpoch(encoder) if settings.keep == "best" else None
        self._scaler = precision.scaler()
        self._generator = torch.Generator(device)
        self._steps = self._order.steps
        self._total = self._steps * settings.epochs
        self._check_every = 1 if device.type == "cpu" else _CHECK_EVERY
        self._saved_at, self._saving = 0.0, 0.0

    def fit(
        self,
        validate: Callable[[], Mapping[str, float]] | None = None,
        report: Callable[[EpochRecord], None] | None = None,
        progress: Callable[[StepRecord], None] | None = None,
        resumed: Callable[[int], None] | None = None,
    ) -> list[EpochRecord]:
        """Train until the last epoch; continue from the state that an earlier call saved.

        Args:
            validate: Called every ``train.validate_every`` epochs and after the last, with the encoder in evaluation
                mode and without gradients.
            report: Called after each epoch, when its line is in the history.
            progress: Called after each step; on a GPU after every few steps, because reading the loss waits for the
                device.
            resumed: Called with the number of finished epochs, if an earlier call saved some.

        Returns:
            One record per epoch, including those of earlier calls.

        Raises:
            TrainingError: The loss or a weight is no longer finite, or a weight is above 65,504; the message says when.
            CheckpointError: The state in the directory belongs to another recipe, is damaged, or cannot be written.
        """
        if self._best is not None and (validate is None or not self._settings.validate_every):
            raise TrainingError(
                "there is no best epoch without validations. train.keep=best keeps the epoch with the best "
                "validation score, so validation must be on. Set train.validate_every above 0 and use a quick "
                "evaluator, or set train.keep=last."
            )
        if problems := state_problems(self._method.state_dict()):
            raise BreachError(type(self._method), "state_dict()", problems)
        history = self._resume()
        if history and resumed is not None:
            resumed(len(history))
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            for epoch in range(len(history), self._settings.epochs):
                record = self._train_epoch(epoch, progress)
                if validate is not None and self._is_validated(epoch):
                    record = replace(record, validation=self._world.from_first(partial(self._validate, validate)))
                    if self._best is not None:
                        self._best.see(record.validation)
                history.append(record)
                if self._world.first:
                    self._save(history)
                if report is not None:
                    report(record)
        if self._best is not None:
            self._best.restore()
        return history

    def _train_epoch(self, epoch: int, progress: Callable[[StepRecord], None] | None) -> EpochRecord:
        torch.manual_seed(derive_seed(self._seed, "epoch", epoch))  # for dropout and similar layers
        start, images = time.perf_counter(), 0
        self._encoder.train()
        self._method.train()
        self._views.start_epoch(epoch)
        losses = torch.zeros(self._steps, device=self._device)
        for i in range(self._steps):
            step = epoch * self._steps + i
            rate = self._set_learning_rate(step)
            batch = self._load(self._order.at(step), step)
            with self._precision.full():
                loss = self._method(batch, self._encode)
            self._require_loss(loss)
            losses[i] = loss.detach()
            looked = (i + 1) % self._check_every == 0 or i + 1 == self._steps
            if looked:
                self._require_finite(losses[: i + 1], epoch)
            self._update(loss)
            self._method.after_step(step + 1, self._total)
            images += sum(len(view) for view in batch.views)
            if progress is not None and looked:
                progress(self._describe_step(epoch, step, float(losses[i]), rate))
        self._require_sound_weights(epoch)
        if self._world.several and self._settings.batch_norm_devices == "each":
            average(running_statistics((self._encoder, self._method)))
        mean = float(losses.cpu().double().mean())
        seconds = time.perf_counter() - start
        features = self._encode.latest
        return EpochRecord(
            epoch=epoch,
            loss=mean,
            learning_rate=rate,
            images=images,
            seconds=seconds,
            images_per_second=images / seconds,
            feature_std=None if features is None else feature_std(features),
            effective_rank=None if features is None else effective_rank(features),
        )

    # ------------------------------------------------------------------------------------------------------ one step

    def _learning_rate(self, step: int) -> float:
        warmup = round(self._settings.warmup_epochs * self._steps)
        return peak_learning_rate(self._settings) * warmup_cosine(step, self._total, warmup, self._settings.schedule)

    def _set_learning_rate(self, step: int) -> float:
        rate = self._learning_rate(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        return rate

    def _load(self, drawn: Step, step: int) -> Batch:
        index = drawn.positions.to(self._device, non_blocking=True)
        return Batch(
            views=self._make_views(drawn),
            index=index,
            group=self._groups[index],
            y=None if self._y is None else self._y[index],
            generator=self._generator.manual_seed(derive_seed(self._seed, "step", step)),
            step=step,
            geometry=self._views.geometry(drawn.positions, drawn.passes),
        )

    def _make_views(self, drawn: Step) -> tuple[Tensor, ...]:
        """Make the views, of several ranks each those of its share."""
        if not self._world.several:
            return self._views(drawn.positions, drawn.passes)
        rows = len(drawn.positions)
        own = own_slice(rows)
        return tuple(GlobalViews(view, rows) for view in self._views(drawn.positions[own], drawn.passes[own]))

    def _update(self, loss: Tensor) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        try:
            torch.autograd.backward(self._scaler.scale(loss))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # loss() called backward() itself, or changed in place what the gradient needs
            said = " ".join(str(error).split())
            raise BreachError(
                type(self._method), "loss()", [f"the gradient of the result cannot be computed ({said:.300})"]
            ) from error
        if self._world.several:
            weights = (weight for group in self._optimizer.param_groups for weight in group["params"])
            average(weight.grad for weight in weights if weight.grad is not None)
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def _describe_step(self, epoch: int, step: int, loss: float, rate: float) -> StepRecord:
        return StepRecord(epoch=epoch, step=step, total_steps=self._total, loss=loss, learning_rate=rate)

    def _require_loss(self, loss: object) -> None:
        if problems := loss_problems(loss, self._device):
            raise BreachError(type(self._method), "loss()", problems)

    def _require_finite(self, losses: Tensor, epoch: int) -> None:
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            i = int(bad[0])
            step = epoch * self._steps + i
            raise TrainingError(
                f"the loss became {float(losses[i])} at step {step} (epoch {epoch}), at a learning rate of "
                f"{self._learning_rate(step):.4g}. {self._advice()}"
            )

    def _require_sound_weights(self, epoch: int) -> None:
        """Find broken weights before they are saved; the loss does not show them, because BatchNorm rescales."""
        for module in (self._encoder, self._method):
            for name, value in module.named_parameters():
                largest = float(value.detach().abs().max()) if value.numel() else 0.0
                if not largest <= _LARGEST_WEIGHT:  # true for NaN too
                    what = f"are as large as {largest:.3g}" if math.isfinite(largest) else "are no longer finite"
                    raise TrainingError(f"the weights {name} {what} at the end of epoch {epoch}. {self._advice()}")

    def _advice(self) -> str:
        precision = "" if self._precision.dtype is None else ", or --precision float32"
        return (
            "Training cannot continue from there; the last good state is kept. "
            f"Try a lower --learning-rate, --set train.warmup_epochs=5{precision}."
        )

    # ----------------------------------------------------------------------------------------- validation and resume

    def _is_validated(self, epoch: int) -> bool:
        every = self._settings.validate_every
        return every > 0 and ((epoch + 1) % every == 0 or epoch + 1 == self._settings.epochs)

    def _validate(self, validate: Callable[[], Mapping[str, float]]) -> dict[str, float]:
        self._encoder.eval()
        with torch.no_grad():
            return {name: float(value) for name, value in validate().items()}

    def _save(self, history: list[EpochRecord]) -> None:
        """Write the history, and the state unless it was written recently; resuming cuts the history to the state."""
        self._write_history(history)
        now = time.perf_counter()
        if len(history) < self._settings.epochs and (now - self._saved_at) * _SAVING_SHARE < self._saving:
            return
        self._states.save(self._describe(history))
        self._saved_at = time.perf_counter()
        self._saving = self._saved_at - now

    def _describe(self, history: list[EpochRecord]) -> dict[str, Any]:
        return {
            "best": self._best.state_dict() if self._best is not None else None,
            "fingerprint": self._fingerprint,
            "encoder": self._encoder.state_dict(),
            "method": self._method.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "history": [asdict(record) for record in history],
        }

    def _resume(self) -> list[EpochRecord]:
        """Restore the last saved state, and the history up to it; all ranks begin with the values of rank 0."""
        history: list[EpochRecord] = []
        if self._world.first:
            history = self._states.restore(self._fingerprint, self._restore) or []
            self._write_history(history)
        if self._world.several:
            history = self._restore(broadcast(self._describe(history), self._device))
        return history

    def _write_history(self, history: list[EpochRecord]) -> None:
        write_atomic(self._history, "".join(record.to_json() for record in history).encode())

    def _restore(self, state: Mapping[str, Any]) -> list[EpochRecord]:
        self._encoder.load_state_dict(state["encoder"])
        self._method.load_state_dict(state["method"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if self._best is not None:
            self._best.load_state_dict(state["best"])
        return [EpochRecord(**record) for record in state["history"]]


def _require_shares(settings: TrainSettings, batch: int, devices: int) -> None:
    if batch < devices:
        raise TrainingError(
            f"a batch of {batch} images cannot be divided among {devices} devices. Each needs one at least. Give a "
            "larger --batch-size, or more labels, or fewer devices."
        )
    if settings.compile:
        raise TrainingError(
            "train.compile is on, but several devices train together. A compiled encoder cannot exchange statistics. "
            "Set train.compile=false, or train on one device."
        )
