"""MAE: three quarters of an image are hidden from a vision transformer, and a small decoder reconstructs them.

He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, arXiv 2111.06377. The encoder processes only the
visible patches, which makes it cheap. The decoder is dropped after training. It gets the tokens of visible patches, and
a mask token at every other place, and predicts the pixels of each patch. The loss is the mean squared error on hidden
patches, each normalised by its own mean and variance.

It works with timm's plain vision transformers (``vit_*``, ``deit_*``). The number of patches depends on the image size:
``--image-size 64 --backbone vit_tiny_patch16_224`` gives only 16. It uses one view, cropped and flipped; colours are
not changed, because the task needs no other augmentation (table 1e). The decoder is half as wide as the encoder, as for
the paper's ViT-L, and runs in the encoder's precision. MAE needs many epochs, and is better fine-tuned than frozen
(sec. 4.2).

N samples, T patches of P pixels (all channels), K of them visible, F features.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt, Lt
from timm.layers.patch_embed import PatchEmbed
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.contracts import Batch, Encode, Method, PositiveInt, Task, ViewGroup, ViewSpec
from medssl.errors import OptionError

__all__ = ["MAE", "Decoder"]

_HEAD = 32  # width of an attention head in the decoder (the authors' code: 512 in 16 heads)


class Decoder(nn.Module):
    """Predicts the pixels of all patches from the tokens of the visible ones.

    Args:
        feature_dim: F.
        width: Width of the decoder; a multiple of 32.
        depth: Number of blocks.
        pixels: P.
    """

    def __init__(self, feature_dim: int, width: int, depth: int, pixels: int) -> None:
        super().__init__()
        self.embed = nn.Linear(feature_dim, width)
        self.mask = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.Sequential(*(Block(width, width // _HEAD, qkv_bias=True) for _ in range(depth)))
        self.predict = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, pixels))

    def forward(self, tokens: Tensor, visible: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map tokens ``(N, extra + K, F)`` and positions of the visible ones ``(N, K)`` to pixels ``(N, T, P)``."""
        extra = tokens.shape[1] - visible.shape[1]  # class token and similar tokens without a position
        x = self.embed(tokens)
        n, _, width = x.shape
        places = visible[..., None].expand(-1, -1, width)
        patches = self.mask.to(x.dtype).repeat(n, grid[0] * grid[1], 1).scatter(1, places, x[:, extra:])
        patches = patches + build_sincos2d_pos_embed(list(grid), dim=width, device=x.device)
        pixels: Tensor = self.predict(self.blocks(torch.cat([x[:, :extra], patches], dim=1))[:, extra:])
        return pixels


class _Autoencoder(nn.Module):
    """Encoder of visible patches ``(N, K)`` and decoder of all: images ``(N, C, H, W)`` to pixels ``(N, T, P)``."""

    def __init__(self, vit: VisionTransformer, decoder: Decoder, grid: tuple[int, int]) -> None:
        super().__init__()
        self.vit, self.decoder, self.grid = vit, decoder, grid

    def forward(self, images: Tensor, visible: Tensor) -> Tensor:
        tokens = self.vit._pos_embed(self.vit.patch_embed(images))  # (N, extra + T, F)
        extra = self.vit.num_prefix_tokens
        places = visible[..., None].expand(-1, -1, tokens.shape[2])
        tokens = torch.cat([tokens[:, :extra], tokens[:, extra:].gather(1, places)], dim=1)
        tokens = self.vit.norm(self.vit.blocks(self.vit.norm_pre(tokens)))
        pixels: Tensor = self.decoder(tokens, visible, self.grid)
        return pixels


class MAE(Method):
    """MAE: one view, random masks, a vision transformer on the visible patches, and a decoder."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            mask_ratio: Fraction of the patches that are hidden.
            decoder_depth: Number of blocks of the decoder.
            decoder_dim: Width of the decoder, rounded to a multiple of 32; ``None``: half the encoder's.
        """

        mask_ratio: Annotated[float, Gt(0), Lt(1)] = 0.75  # MAE sec. 4.1, figure 5
        decoder_depth: PositiveInt = 8  # MAE table 1a: 73.5 % with frozen features, 65.5 % with one block
        decoder_dim: PositiveInt | None = None  # MAE table 1b: 512 on 1024 features

    transformer_only: ClassVar[bool] = True

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        vit = getattr(encoder, "network", encoder)
        if not (isinstance(vit, VisionTransformer) and isinstance(vit.patch_embed, PatchEmbed)):
            raise OptionError(
                "MAE needs a plain vision transformer. It hides patches from the encoder, but this encoder does not "
                "divide an image into patches. Give --backbone vit_tiny_patch16_224 or another vit_* or deit_* model "
                "of timm."
            )
        self._vit = (vit,)  # it belongs to the trainer: a tuple keeps torch from registering it
        self.views = ViewSpec((ViewGroup(count=1, augment={"jitter": 0.0, "greyscale": 0.0, "blur": 0.0}),))
        height, width = vit.patch_embed.patch_size
        self.patch = (int(height), int(width))
        channels = int(getattr(encoder, "in_channels", 3))
        width = max(1, round((config.decoder_dim or vit.embed_dim // 2) / _HEAD)) * _HEAD
        self.decoder = Decoder(vit.embed_dim, width, config.decoder_depth, channels * self.patch[0] * self.patch[1])

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the mean squared error on the hidden patches' normalised pixels.

        Raises:
            OptionError: The images have so few patches that none would be hidden.
        """
        (view,) = batch.views
        grid = (view.shape[2] // self.patch[0], view.shape[3] // self.patch[1])
        patches = F.unfold(view.float(), self.patch, stride=self.patch).mT  # (N, T, P)
        n, count, pixels = patches.shape
        kept = max(1, int(count * (1 - self.config.mask_ratio)))
        if kept == count:
            raise OptionError(
                f"MAE hides none of the {count} patches of an image. Images are {view.shape[2]} px high and patches "
                f"{self.patch[0]} px. Set a larger --image-size, or a backbone with smaller patches."
            )
        drawn = torch.rand(n, count, generator=batch.generator, device=batch.generator.device)
        order = drawn.to(view.device).argsort(dim=1)
        visible, hidden = order[:, :kept], order[:, kept:, None].expand(-1, -1, pixels)
        (predicted,) = encode((view,), _Autoencoder(self._vit[0], self.decoder, grid), beside=(visible,))
        target = F.layer_norm(patches, (pixels,), eps=1e-6)
        return F.mse_loss(predicted.gather(1, hidden), target.gather(1, hidden))
