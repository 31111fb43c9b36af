"""Constraints on the weights of a decoder that is built: tied, or normalised.

Letters: D latent dimensions, P pixels of an image.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn, zeros
from torch.nn.functional import linear
from torch.nn.utils.parametrizations import spectral_norm

from vae_run.errors import ConfigError


class TiedLinear(nn.Module):
    """The transposed weight of `source`, a layer of the encoder, with a bias of its own."""

    _source: Callable[[], nn.Linear]

    def __init__(self, source: nn.Linear) -> None:
        super().__init__()
        self.bias = nn.Parameter(zeros(source.in_features))
        self._source = lambda: source  # a function, so that the encoder alone owns it

    @property
    def weight(self) -> Tensor:
        """The source's weight, [D, P], as it stands."""
        return self._source().weight

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight.T, self.bias)


def tie(encoder: nn.Module, head: nn.Module, decoder: nn.Module, last: nn.Module) -> None:
    """Replace each linear layer of `decoder` and `last` by the mirror of `encoder` and `head`."""
    sources = [m for part in (encoder, head) for m in part.modules() if isinstance(m, nn.Linear)]
    places = [
        (parent, name)
        for part in (decoder, last)
        for parent in part.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]
    for source, (parent, name) in zip(reversed(sources), places, strict=True):
        target = getattr(parent, name)
        if (target.in_features, target.out_features) != (source.out_features, source.in_features):
            raise ConfigError(
                "network.tied: needs a posterior and a likelihood with one number a dimension and "
                "pixel. Use posterior=delta likelihood=mse."
            )
        setattr(parent, name, TiedLinear(source))


def normalise(*parts: nn.Module) -> None:
    """Divide each weight of `parts` by its greatest singular value (Miyato et al. 2018).

    So no linear layer stretches a distance. A convolution's kernel counts as a matrix of its
    outputs by everything else, as in the paper, which bounds it up to a constant. The singular
    value is followed by one step of power iteration at each use while training.
    """
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    for layer in [m for part in parts for m in part.modules() if isinstance(m, kinds)]:
        spectral_norm(layer)
