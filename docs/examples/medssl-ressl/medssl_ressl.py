"""Relational self-supervised learning (ReSSL; Zheng et al., NeurIPS 2021, arXiv 2107.09282, section 3).

The paper augments the teacher's view weakly. Here both views have the same augmentation.
"""

from dataclasses import dataclass

from lightly.models.modules import SimCLRProjectionHead
from medssl.contracts import Fraction, Method, Positive, PositiveInt
from medssl.tools import Queue, Teacher
from torch.nn import functional as F


class Ressl(Method):
    @dataclass(frozen=True, kw_only=True)
    class Config:
        student_temperature: Positive = 0.1  # paper, section 4
        teacher_temperature: Positive = 0.04  # paper, section 4: lower, so that the target is sharper
        momentum: Fraction = 0.99  # paper, section 4, for small images
        queue_length: PositiveInt = 4096  # paper, section 4, for small datasets

    def __init__(self, config, encoder, task):
        super().__init__(config, encoder, task)
        self.head = SimCLRProjectionHead(task.feature_dim, task.feature_dim, 128)
        self.teacher = Teacher(encoder, self.head)
        self.queue = Queue(min(config.queue_length, task.num_samples), 128)

    def loss(self, batch, encode):
        first, second = batch.views
        (features,) = encode([first])
        (target,) = self.teacher([second], encode)  # (N, 128), without gradient
        found = self.similarities(self.head(features)) / self.config.student_temperature
        wanted = self.similarities(target) / self.config.teacher_temperature
        self.queue.push(target)  # after its use: a target must not be compared with itself
        return F.cross_entropy(found, wanted.softmax(dim=1))

    def similarities(self, z):
        return F.normalize(z, dim=1) @ self.queue.rows.T  # (N, L)

    def after_step(self, step, total_steps):
        self.teacher.update(self.config.momentum)
