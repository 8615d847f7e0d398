"""Conv-4: four blocks of convolution, batch normalisation, ReLU and pooling (Vinyals et al. 2016, arXiv 1606.04080)."""

from dataclasses import dataclass
from itertools import pairwise

from medssl.contracts import Built, EncoderCard, EncoderPlugin, PositiveInt
from medssl.errors import OptionError
from torch import nn


class Conv4(EncoderPlugin):
    @dataclass(frozen=True, kw_only=True)
    class Config(EncoderPlugin.Config):
        width: PositiveInt = 64  # paper, section 4.1.1

    def read_card(self):
        return EncoderCard()  # random weights: ImageNet's mean and deviation, images of any size, no licence

    def build(self, image_size, channels=3):
        if image_size < 16:
            raise OptionError(
                f"the encoder 'conv4' halves images four times, so {image_size} px are too few. Use 16 px or more."
            )
        widths = [channels] + 4 * [self.config.width]
        network = nn.Sequential(*(block(*pair) for pair in pairwise(widths)))
        return Built(network=network, name="conv4", rebuild={"width": self.config.width})

    def features(self, network, images):
        return network(images).mean(dim=(2, 3))  # (N, C, H, W) to (N, F)

    def dense(self, network, images, width):
        return network(images)  # (N, C, H, W) to (N, F, h, w), for methods that use a map

    def blocks(self, network):
        return [name for name, _ in network.named_children()]


def block(before, after):
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2))
