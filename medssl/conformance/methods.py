"""Checks of the contract of methods, one loss at a time on toy views.

N samples, V views, F features.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from medssl.conformance import toy
from medssl.conformance.running import Check, NotBuiltError, Subject, require, without_global_draws
from medssl.contracts import Augmentation, Batch, Method, Task, ViewSpec
from medssl.recipe import options
from medssl.train.loop.batchnorm import JointEncode
from medssl.train.machine.device import Precision
from medssl.train.machine.small_maps import protect

__all__ = ["CHECKS", "TOTAL_STEPS", "Rig", "applies", "build_rig", "make_batch", "one_batch"]

TOTAL_STEPS = 100
_DEEP = 5  # number of convolutions of stride 2, as in a ResNet
_PRECISIONS = {"float32": Precision(None, ""), "bfloat16": Precision(torch.bfloat16, "")}


# ------------------------------------------------------------------------------------------------------------ the rig


@dataclass(frozen=True)
class Rig:
    """A method with a toy encoder; its ``encode`` processes one view after another."""

    method: Method
    encoder: nn.Module
    precision: Precision = _PRECISIONS["float32"]
    kind: str = "classes"

    def encode(
        self,
        views: Sequence[Tensor],
        encoder: nn.Module | None = None,
        *,
        dense: bool = False,
        beside: Sequence[Tensor] = (),
    ) -> tuple[Tensor, ...]:
        """Encode V tensors ``(N, 3, S, S)`` as the core does, in separate forwards."""
        network = self.encoder if encoder is None else encoder
        protect(network)
        forward: Any = network.dense if dense else network
        with self.precision.autocast():
            found = [forward(*inputs) for inputs in (zip(views, beside, strict=True) if beside else zip(views))]
        return tuple(features.float() for features in found)

    def loss(self, batch: Batch) -> Tensor:
        """Return the method's loss; a warning is an error."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return self.method(batch, self.encode)  # type: ignore[no-any-return]

    def state(self) -> dict[str, Tensor]:
        """Copy all state that is restored when a run continues."""
        both = {"encoder": self.encoder, "method": self.method}
        return {f"{o}.{name}": v.clone() for o, module in both.items() for name, v in module.state_dict().items()}


def build_rig(
    subject: Subject,
    *,
    seed: int = 0,
    feature_dim: int = toy.FEATURES,
    samples: int = 64,
    batch_size: int = 8,
    depth: int = 2,
    kind: str | None = None,
) -> Rig:
    """Build the method and a toy encoder from a seed, for the first kind of targets that it serves or for ``kind``.

    Raises:
        NotBuiltError: The constructor does not call that of :class:`medssl.contracts.Method`.
    """
    torch.manual_seed(seed)
    encoder = toy.encoder_for(subject.plugin, feature_dim, depth)
    task = Task(
        feature_dim=encoder.feature_dim,
        num_samples=samples,
        target=toy.target(kind or subject.plugin.targets[0]),
        image_size=toy.SIDE,
        batch_size=batch_size,
        total_steps=TOTAL_STEPS,
        load_encoder=lambda _: toy.ToyTeacher().eval(),
    )
    forgotten = "__init__() must begin with super().__init__(config, encoder, task), but does not call it"
    try:
        method: Method = subject.plugin(subject.config, encoder, task)
    except AttributeError as error:
        if "before Module.__init__() call" in str(error):  # torch's words, on the first submodule
            raise NotBuiltError(forgotten) from error
        raise
    if "_modules" not in vars(method):
        raise NotBuiltError(forgotten)
    return Rig(method.train(), encoder.train(), kind=task.target.kind)


def make_batch(method: Method, images: Tensor, y: Tensor, index: Tensor, seed: int, step: int = 0) -> Batch:
    """Draw the views of ``images[index]`` that a method requests, labelled with ``y[index]``."""
    side = images.shape[3]
    generator = torch.Generator().manual_seed(seed)
    sides = [max(4, round(side * group.scale)) for group in method.views.groups for _ in range(group.count)]
    whole = torch.eye(2, 3).expand(len(index), 2, 3)  # every view shows the whole image
    return Batch(
        views=tuple(toy.draw_view(images[index], generator, each) for each in sides),
        index=index,
        group=index.clone(),
        y=y[index] if method.uses_labels else None,
        generator=torch.Generator().manual_seed(seed),
        step=step,
        geometry=tuple(whole.clone() for _ in sides) if method.views.geometry else None,
    )


def one_batch(rig: Rig, n: int = 8, *, seed: int = 0, step: int = 0, scale: float = 1.0) -> Batch:
    """Draw a batch of n toy images, ``scale`` times the toy side."""
    images, label = toy.stripes(n, seed, side=round(scale * toy.SIDE))
    return make_batch(rig.method, images, toy.toy_truth(rig.kind, label), torch.arange(n), seed, step)


def _step(rig: Rig, step: int) -> float:
    """Take one plain gradient step, as the trainer does."""
    loss = rig.loss(one_batch(rig, seed=step, step=step))
    require(bool(loss.isfinite().all()), f"the loss must stay finite, but became {loss.item()} at step {step}")
    torch.autograd.backward(loss)
    for module in (rig.encoder, rig.method):
        for weight in module.parameters():
            if weight.grad is not None:
                weight.data.sub_(0.01 * weight.grad)
                weight.grad = None
    rig.method.after_step(step + 1, TOTAL_STEPS)
    return loss.item()


def _first_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> str:
    return next((name for name, value in one.items() if not torch.equal(value, other[name])), "")


# --------------------------------------------------------------------------------------------------------- one loss


def check_can_be_built(subject: Subject) -> None:
    """The constructor calls ``super().__init__(config, encoder, task)`` first and builds its heads on any encoder."""
    build_rig(subject)


def check_views_can_be_drawn(subject: Subject) -> None:
    """``views`` is a ViewSpec with at least one view, sizes above zero, and existing augmentation fields."""
    views = build_rig(subject).method.views
    require(isinstance(views, ViewSpec), f"views must be a ViewSpec, but is {views!r}")
    require(views.count > 0, "views must contain at least one view, but contains none")
    for group in views.groups:
        require(0 < group.scale <= 1, f"the scale of a view must be above 0 and at most 1, but is {group.scale}")
        options.build(Augmentation, group.augment, "ViewGroup.augment")


def check_loss_is_a_finite_scalar(subject: Subject) -> None:
    """A loss is one finite float32 number: for two and for eight samples, small and large views, in any precision."""
    for name, precision in _PRECISIONS.items():
        for n, scale in ((2, 1.0), (3, 1.0), (8, 1.0), (4, 1.5)):
            rig = build_rig(subject, batch_size=n)
            batch = one_batch(rig, n, scale=scale)
            loss = replace(rig, precision=precision).loss(batch)
            seen = f"for {n} samples of {batch.views[0].shape[3]} px in {name} it is"
            require(loss.shape == (), f"loss() must return a scalar, but {seen} of shape {tuple(loss.shape)}")
            require(loss.dtype == torch.float32, f"loss() must return float32, but {seen} {loss.dtype}")
            require(bool(torch.isfinite(loss)), f"loss() must be finite, but {seen} {loss.item()}")


def check_loss_serves_every_target(subject: Subject) -> None:
    """With labels of each kind in ``targets`` the loss is finite, also where few or none are known."""
    for kind in subject.plugin.targets if subject.plugin.uses_labels else ():
        rig = build_rig(subject, kind=kind)
        batch = one_batch(rig)
        assert batch.y is not None  # nosec B101 # for the type checker (uses_labels)
        some, none = batch.y.clone(), batch.y.clone()
        unknown = -1 if batch.y.dtype == torch.int64 else torch.nan
        some[::2], none[:] = unknown, unknown
        for words, y in (("all", batch.y), ("half", some), ("none", none)):
            loss = rig.loss(replace(batch, y=y))
            finite = bool(loss.isfinite())
            require(finite, f"loss() must be finite for {kind} of which {words} are known, but is {loss.item()}")


def check_gradients_reach_the_encoder(subject: Subject) -> None:
    """Training must change the encoder, and every gradient must be finite, in any precision."""
    for name, precision in _PRECISIONS.items():
        rig = build_rig(subject)
        torch.autograd.backward(replace(rig, precision=precision).loss(one_batch(rig)))
        gradients = {n: p.grad for n, p in rig.encoder.named_parameters() if p.grad is not None}
        require(bool(gradients), "loss() must use the output of encode(), but no gradient reaches the encoder")
        moved = any(bool(gradient.abs().sum() > 0) for gradient in gradients.values())
        require(moved, f"training must change the encoder, but in {name} all of its gradients are zero")
        gradients |= {n: p.grad for n, p in rig.method.named_parameters() if p.grad is not None}
        wrong = [n for n, gradient in gradients.items() if not bool(gradient.isfinite().all())]
        require(not wrong, f"gradients must be finite, but in {name} those of {', '.join(wrong[:3])} are not")


def check_maps_of_one_pixel_are_trained_on(subject: Subject) -> None:
    """For small images, whose last maps have one pixel, loss and gradients are finite and agree in every precision.

    All views of 16 px images end in one pixel; of 32 px images, the views of half the side. The norms of gradients must
    agree within a factor of ten, far above rounding. A wrongly computed gradient differs by many powers of ten.
    """
    for side in (16, 32):
        sizes = {}
        for name, precision in _PRECISIONS.items():
            rig = replace(build_rig(subject, depth=_DEEP), precision=precision)
            loss = rig.loss(one_batch(rig, scale=side / toy.SIDE))
            seen = f"for images of {side} px in {name}"
            require(bool(loss.isfinite()), f"loss() must be finite, but {seen}, with maps of one pixel, it is {loss}")
            torch.autograd.backward(loss)
            gradients = [p.grad.flatten() for p in rig.encoder.parameters() if p.grad is not None]
            sizes[name] = float(torch.cat(gradients).norm())
            require(
                math.isfinite(sizes[name]), f"gradients must be finite, but {seen}, with maps of one pixel, are not"
            )
        small, large = sorted(sizes.values())
        text = f"gradients must not depend on the precision, but for images of {side} px their norms are"
        require(large <= 10 * small + 1e-3, f"{text} {', '.join(f'{v:.3g} in {k}' for k, v in sizes.items())}")


def check_what_is_not_trained_asks_for_no_gradient(subject: Subject) -> None:
    """A weight without gradient at the first and the last step must have ``requires_grad`` off, like a teacher's."""
    rig = build_rig(subject)
    for step in (0, TOTAL_STEPS - 1):  # some weights may be frozen at first
        torch.autograd.backward(rig.loss(one_batch(rig, step=step)))
    idle = [name for name, weight in rig.method.named_parameters() if weight.requires_grad and weight.grad is None]
    require(
        not idle, f"weights without a gradient must have requires_grad off, but these do not: {', '.join(idle[:3])}"
    )


def check_heads_fit_any_encoder(subject: Subject) -> None:
    """Heads are built from ``task.feature_dim`` and work with any value of it."""
    for feature_dim in (24, 80):
        rig = build_rig(subject, feature_dim=feature_dim)
        loss = rig.loss(one_batch(rig))
        require(bool(loss.isfinite()), f"loss() must be finite for {feature_dim} features too, but is {loss.item()}")


def check_leaves_the_batch_alone(subject: Subject) -> None:
    """A loss does not change its batch, because the views may be used elsewhere."""
    rig = build_rig(subject)
    batch = one_batch(rig)
    before = copy.deepcopy(batch.views), batch.index.clone(), batch.group.clone()
    rig.loss(batch)
    same = all(map(torch.equal, batch.views, before[0]))
    require(same, "loss() must not change the views, but did")
    require(torch.equal(batch.index, before[1]) and torch.equal(batch.group, before[2]), "loss() changed the batch")


# --------------------------------------------------------------------------------------------------- what is repeated


def check_draws_only_from_the_batch_generator(subject: Subject) -> None:
    """All random numbers come from ``batch.generator``; a continued run cannot repeat others."""
    rig = build_rig(subject)
    with without_global_draws("loss() and after_step()", "batch.generator"):
        rig.loss(one_batch(rig))
        rig.method.after_step(1, TOTAL_STEPS)


def check_equal_seeds_give_equal_losses(subject: Subject) -> None:
    """The same seed gives the same heads, the same losses and the same weights after some steps."""
    rigs = [build_rig(subject) for _ in range(2)]
    first, second = ([_step(rig, step) for step in range(3)] for rig in rigs)
    require(first == second, f"equal seeds must give equal losses, but two runs gave {first} and {second}")
    different = _first_difference(rigs[0].state(), rigs[1].state())
    require(not different, f"equal seeds must give equal weights, but {different} differs after 3 steps")


def check_state_survives_a_resume(subject: Subject) -> None:
    """All state between steps is in the method's state_dict, so that a continued run equals an uninterrupted one.

    The restored method is built with another seed, so only its state_dict can make it equal.
    """
    straight = build_rig(subject)
    for step in range(2):
        _step(straight, step)
    resumed = build_rig(subject, seed=1)
    resumed.encoder.load_state_dict(straight.encoder.state_dict())
    resumed.method.load_state_dict(straight.method.state_dict())
    for step in (2, 3):
        one, other = _step(straight, step), _step(resumed, step)
        text = f"a continued run must equal an uninterrupted one, but its loss is {other} instead of {one}"
        require(one == other, f"{text}: some state is not a parameter, buffer or submodule")
    different = _first_difference(straight.state(), resumed.state())
    require(
        not different, f"a continued run must equal an uninterrupted one, but {different} differs after two more steps"
    )


def check_after_step_can_be_repeated(subject: Subject) -> None:
    """``after_step`` depends only on the state and its two arguments, at the first and at the last step."""
    for step, total in ((1, TOTAL_STEPS), (TOTAL_STEPS, TOTAL_STEPS), (1, 1)):
        rig = build_rig(subject)
        _step(rig, 0)
        repeated = copy.deepcopy(rig)
        rig.method.after_step(step, total)
        repeated.method.after_step(step, total)
        where = f"after_step({step}, {total})"
        different = _first_difference(rig.state(), repeated.state())
        require(
            not different, f"{where} must give the same result each time, but {different} differs between two calls"
        )
        broken = [n for n, v in rig.state().items() if v.is_floating_point() and not bool(v.isfinite().all())]
        require(not broken, f"{where} must leave finite weights, but {', '.join(broken[:3])} are not")
        grown = [name for name, value in rig.method.named_buffers() if value.requires_grad]
        require(not grown, f"{where} must work without gradients, but {', '.join(grown[:3])} kept one")


def check_joint_forward_changes_nothing(subject: Subject) -> None:
    """Encoding all views in one forward, as the core does, gives the loss and the statistics of separate forwards."""
    separate, joint = build_rig(subject), build_rig(subject)
    one = separate.loss(one_batch(separate))
    other = joint.method(one_batch(joint), JointEncode(joint.encoder, joint.precision))
    close = torch.allclose(one, other, rtol=1e-3, atol=1e-5)
    require(
        close, f"one forward for all views must give the loss of separate forwards, {one.item()}, not {other.item()}"
    )
    for name, value in separate.state().items():
        same = torch.allclose(value.double(), joint.state()[name].double(), rtol=1e-3, atol=1e-5)
        require(same, f"one forward for all views must give the state of separate forwards, but {name} differs")


def applies(plugin: type[Any]) -> bool:
    """Whether the checks apply: a method that does not train has no loss to check."""
    return bool(plugin.trains)


CHECKS: tuple[Check, ...] = (
    check_can_be_built,
    check_views_can_be_drawn,
    check_loss_is_a_finite_scalar,
    check_loss_serves_every_target,
    check_gradients_reach_the_encoder,
    check_maps_of_one_pixel_are_trained_on,
    check_what_is_not_trained_asks_for_no_gradient,
    check_heads_fit_any_encoder,
    check_leaves_the_batch_alone,
    check_draws_only_from_the_batch_generator,
    check_equal_seeds_give_equal_losses,
    check_state_survives_a_resume,
    check_after_step_can_be_repeated,
    check_joint_forward_changes_nothing,
)
