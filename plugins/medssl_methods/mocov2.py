"""MoCo v2: a query finds its key, from a momentum teacher, among a queue of earlier keys.

Chen et al., Improved Baselines with Momentum Contrastive Learning, 2020, arXiv 2003.04297; the loss is equation 1 of
MoCo (He et al., CVPR 2020, arXiv 1911.05722). The queue provides many negatives for a small batch.

It uses lightly's ``MoCoProjectionHead``. The loss equals lightly's ``NTXentLoss`` with a memory bank, but a continued
run would lose the content of that bank. Four settings follow lightly's benchmark on small data instead of the ImageNet
runs: a queue of 4096 keys instead of 65536; a momentum of 0.99 instead of 0.999, whose memory of a thousand steps is
longer than many runs here; both views are query and key; and the queue has at most half as many keys as there are
training images (43 % in lightly), because a query that meets an older key of its own image is trained to move away from
it.

Keys are computed in parts of about 32 samples in random order, so that the BatchNorm statistics do not reveal the key
that belongs to a query (shuffled BatchNorm, MoCo sec. 3.3: 32 samples per GPU). A batch below 64 has only one part, and
is not shuffled.

N samples, L keys in the queue, D dimensions of the embedding.
"""

from dataclasses import dataclass

import torch
from lightly.models.modules.heads import MoCoProjectionHead
from torch import Tensor, nn

from medssl.contracts import Batch, Encode, Fraction, Method, Positive, PositiveInt, Task
from medssl.tools import Queue, Teacher
from medssl_methods._contrast import info_nce

__all__ = ["MoCoV2"]

_PART = 32  # samples that share BatchNorm statistics when keys are computed: 256 on 8 GPUs (MoCo sec. 4)


class MoCoV2(Method):
    """MoCo v2: two views, a projection head, a momentum teacher for the keys, and a queue of negatives."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            temperature: Divisor of the cosine similarities.
            momentum: Momentum of the teacher, constant over the run.
            queue_length: L, number of keys in the queue; at most half the number of training images is used.
            symmetric: Whether each view is both query and key; ``False``: the first view is the query, the second the
                key.
            hidden_dim: Width of the head's hidden layer; ``None``: the encoder's feature width.
            output_dim: D, the width of the embedding.
        """

        temperature: Positive = 0.2  # MoCo v2 sec. 3
        momentum: Fraction = 0.99  # lightly's benchmarks on small data; 0.999 on ImageNet (MoCo sec. 4.1)
        queue_length: PositiveInt = 4096  # lightly's benchmarks on small data; 65536 on ImageNet (MoCo sec. 4.1)
        symmetric: bool = True  # lightly's benchmarks on small data; False in the paper
        hidden_dim: PositiveInt | None = None  # MoCo v2 sec. 3: 2048 on 2048 features
        output_dim: PositiveInt = 128  # MoCo sec. 3.3

    def __init__(self, config: Config, encoder: nn.Module, task: Task) -> None:
        super().__init__(config, encoder, task)
        self.head = MoCoProjectionHead(task.feature_dim, config.hidden_dim or task.feature_dim, config.output_dim)
        self.teacher = Teacher(encoder, self.head)
        self.queue = Queue(max(1, min(config.queue_length, task.num_samples // 2)), config.output_dim)

    def loss(self, batch: Batch, encode: Encode) -> Tensor:
        """Return the cross-entropy of the queries' own keys against the queue; then add the batch's keys to it."""
        views = batch.views if self.config.symmetric else batch.views[:1]
        queries = [self.head(features) for features in encode(views)]  # (N, D) each
        keys = [self._keys(view, batch, encode) for view in batch.views[::-1][: len(views)]]
        losses = [
            info_nce(query, key, self.config.temperature, self.queue.rows)
            for query, key in zip(queries, keys, strict=True)
        ]
        self.queue.push(torch.cat(keys))
        return torch.stack(losses).mean()

    def _keys(self, view: Tensor, batch: Batch, encode: Encode) -> Tensor:
        """Embed one view with the teacher, in parts of random samples with separate statistics."""
        order = torch.randperm(len(view), generator=batch.generator, device=batch.generator.device).to(view.device)
        parts = view[order].tensor_split(max(1, len(view) // _PART))
        return torch.cat(self.teacher(parts, encode))[order.argsort()]

    def after_step(self, step: int, total_steps: int) -> None:  # noqa: ARG002  (the momentum stays the same)
        """Update the teacher."""
        self.teacher.update(self.config.momentum)
