"""iBOT: DINO's loss on class tokens, and the same loss on patches that are hidden from the student.

Zhou et al., iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022, arXiv 2111.07832, equations 2 and 3; DINOv2
(arXiv 2304.07193) uses the same two losses. A teacher, a moving average of the student, sees two whole views. In the
student's views blocks of patches are replaced by a learned token, and for each the student predicts how the teacher
assigns the patch to prototypes. Class tokens are compared across the views, patches within a view. Both share one head.
Centring and a low temperature of the teacher prevent collapse, with a centre of their own for each kind of token.

It uses lightly's ``DINOLoss`` and ``IBOTPatchLoss``, and the head of ``dino``. It works with timm's plain vision
transformers with a class token. The paper's ten small views are left out, which costs some accuracy and saves most of
the time. With few patches, blocks are few: ``--image-size 64 --backbone vit_tiny_patch16_224`` gives 16 patches.

N samples, T patches in a grid of h x w, K prototypes, F features.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Le
from lightly.loss.dino_loss import DINOLoss
from lightly.loss.ibot_loss import IBOTPatchLoss
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from medssl.contracts import (
    Batch,
    Encode,
    Fraction,
    Method,
    NonNegative,
    Positive,
    PositiveInt,
    Task,
    ViewGroup,
    ViewSpec,
)
from medssl.errors import OptionError
from medssl.tools import Teacher, cosine_momentum
from medssl_methods._masks import draw_masks
from medssl_methods.dino import Head

__all__ = ["IBOT"]

_TRIES = 40  # blocks that are tried for one image
_Share = Annotated[float, Ge(0), Le(1)]


class _Tokens(nn.Module):
    """A transformer with some patches hidden: images ``(N, C, H, W)`` to tokens ``(N, extra + T, F)``."""

    def __init__(self, vit: VisionTransformer, token: nn.Parameter | None) -> None:
        super().__init__()
        self.vit, self.token = vit, token

    def forward(self, images: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Replace the patches ``hidden``, ``(N, h, w)`` bool, by the token; ``None``: none."""
        x = self.vit.patch_embed(images)
        if hidden is not None and self.token is not None:
            hidden = hidden if x.ndim == 4 else hidden.flatten(1)
            x = torch.where(hidden[..., None], self.token.to(x.dtype), x)
        x = self.vit.norm_pre(self.vit._pos_embed(x))
        tokens: Tensor = self.vit.norm(self.vit.blocks(x))
        return tokens


class IBOT(Method):
    """iBOT: two views, a momentum teacher, and losses on class tokens and on hidden patches."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            student_temperature: Divisor of the student's cosines.
            teacher_temperature: Divisor of the teacher's cosines, after the warm-up.
            warmup_temperature: Divisor of the teacher's cosines at the first step; it rises linearly.
            warmup: Fraction of the run in which it rises.
            momentum: Momentum of the teacher after the first step; it rises to 1 along half a cosine.
            center_momentum: Momentum of the running centres.
            frozen_start: Fraction of the run in which the prototypes keep their initial values.
            masked: Share of the views in which patches are hidden.
            least_hidden: Smallest share of the patches that is hidden in such a view.
            most_hidden: Largest share.
            patch_weight: Weight of the loss on patches.
            prototypes: K, number of prototypes.
            hidden_dim: Width of the head's hidden layers; ``None``: four times the encoder's features, 2048 at most.
            bottleneck_dim: Dimension of the prototypes.
        """

        student_temperature: Positive = 0.1  # iBOT sec. 4
        teacher_temperature: Positive = 0.07  # iBOT sec. 4
        warmup_temperature: Positive = 0.04  # iBOT sec. 4
        warmup: Fraction = 0.1  # as dino
        momentum: Fraction = 0.996  # iBOT sec. 4
        center_momentum: Fraction = 0.9  # iBOT sec. 4
        frozen_start: Fraction = 0.01  # as dino
        masked: _Share = 0.5  # iBOT sec. 4
        least_hidden: Fraction = 0.1  # iBOT sec. 4
        most_hidden: Fraction = 0.5  # iBOT sec. 4
        patch_weight: NonNegative = 1.0  # iBOT sec. 3.2: the losses are summed without scaling
        prototypes: PositiveInt = 2048  # as dino; 8192 in the paper
        hidden_dim: PositiveInt | None = None  # as dino
        bottleneck_dim: PositiveInt = 256  # the authors' code

    transformer_only: ClassVar[bool] = True
    views = ViewSpec((ViewGroup(count=2, augment={"crop_scale": (0.32, 1.0)}),))  # the authors' code

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        vit = _plain_transformer(encoder)
        if config.least_hidden > config.most_hidden:
            raise OptionError("method.least_hidden is above method.most_hidden. Give a smaller value.")
        height, width = vit.patch_embed.patch_size
        self.patch = (int(height), int(width))
        hidden = config.hidden_dim or min(2048, 4 * vit.embed_dim)
        self.head = Head(vit.embed_dim, hidden, config.bottleneck_dim, config.prototypes, batch_norm=False)
        self.teacher = Teacher(encoder, self.head)
        self.token = nn.Parameter(0.02 * torch.randn(vit.embed_dim))
        copied = _plain_transformer(self.teacher.encoder)
        self._student, self._teacher = (_Tokens(vit, self.token),), (_Tokens(copied, None),)  # not registered twice
        temperature, momentum = config.student_temperature, config.center_momentum
        self.tokens = DINOLoss(config.prototypes, student_temp=temperature, center_momentum=momentum)
        self.patches = IBOTPatchLoss(config.prototypes, student_temp=temperature, center_momentum=momentum)
        self._thawed = round(config.frozen_start * task.total_steps)  # steps
        self._warm = max(1, round(config.warmup * task.total_steps))  # steps
        self._extra = int(vit.num_prefix_tokens)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the loss on class tokens plus that on hidden patches, and update both centres."""
        config, views = self.config, batch.views
        self.head.prototypes.requires_grad_(batch.step >= self._thawed)
        start, end = config.warmup_temperature, config.teacher_temperature
        temperature = start + (end - start) * min(1.0, batch.step / self._warm)
        grid = (views[0].shape[2] // self.patch[0], views[0].shape[3] // self.patch[1])
        masks = [self._draw(batch, grid) for _ in views]
        with torch.no_grad():
            wanted = [*encode(views, self._teacher[0])]  # (N, extra + T, F) each
        student = self._student[0]
        found: list[Tensor] = []
        for view, mask in zip(views, masks, strict=True):
            found += encode((view,), student, beside=(mask,))
        with torch.no_grad():
            targets = [self.teacher.heads(tokens[:, 0]) for tokens in wanted]
        answers = [self.head(tokens[:, 0]) for tokens in found]
        total: Tensor = self.tokens(targets, answers, teacher_temp=temperature)
        hidden = torch.cat(masks)
        if config.patch_weight and bool(hidden.any()):
            rows = hidden.flatten(1)
            with torch.no_grad():
                target = self.teacher.heads(torch.cat(wanted)[:, self._extra :][rows])
            answer = self.head(torch.cat(found)[:, self._extra :][rows])
            total = total + config.patch_weight * self.patches(target, answer, hidden, temperature)
        return total

    def _draw(self, batch: Batch, grid: tuple[int, int]) -> Tensor:
        config, view = self.config, batch.views[0]
        where = batch.generator.device
        draws = torch.rand(len(view), 2 + 4 * _TRIES, generator=batch.generator, device=where)
        shares = config.least_hidden + (config.most_hidden - config.least_hidden) * draws[:, 1]
        shares = torch.where(draws[:, 0] < config.masked, shares, 0.0)
        return draw_masks(shares.cpu(), draws[:, 2:].view(-1, _TRIES, 4).cpu(), grid).to(view.device)

    def after_step(self, step: int, total_steps: int) -> None:
        """Update the teacher."""
        self.teacher.update(cosine_momentum(step, total_steps, self.config.momentum))


def _plain_transformer(encoder: nn.Module) -> VisionTransformer:
    """Return the transformer in an encoder.

    Raises:
        OptionError: The encoder is no plain vision transformer with a class token.
    """
    vit: Any = getattr(encoder, "network", encoder)
    plain = isinstance(vit, VisionTransformer) and isinstance(vit.patch_embed, PatchEmbed)
    if not plain or getattr(vit, "cls_token", None) is None:
        raise OptionError(
            "iBOT needs a plain vision transformer with a class token, whose patches can be hidden. Give "
            "--backbone vit_tiny_patch16_224 or another vit_* or deit_* model of timm."
        )
    found: VisionTransformer = vit
    return found
