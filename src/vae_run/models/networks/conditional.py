"""The network between two layers of codes. Letters: N items, D_i dimensions of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Normal

from vae_run.models.networks.activations import activation
from vae_run.models.networks.initialisation import initialise, initialise_head

Width = Annotated[int, Field(ge=1)]
Hidden = list[Width] | list[list[Width]]
"""Hidden widths between two layers: the same for each two neighbours, or a list for each."""


def block_widths(hidden: Hidden, blocks: int) -> list[list[int]]:
    """The hidden widths of each of the `blocks` between two layers."""
    each = [list(entry) for entry in hidden if isinstance(entry, list)]
    return each or [[width for width in hidden if isinstance(width, int)] for _ in range(blocks)]


def wrong_widths(group: str, hidden: Hidden, layers: int) -> str | None:
    """What is wrong with a list of lists `hidden` between `layers` layers; None if nothing is."""
    each = [entry for entry in hidden if isinstance(entry, list)]
    if not each or len(each) == layers - 1:
        return None
    return (
        f"{group}.hidden: found {len(each)} lists of widths, but {layers} layers of codes have "
        f"{layers - 1} between them. Give one list for each, or a single list for all."
    )


def hidden_layers(inputs: int, widths: Sequence[int], name: str, key: str) -> nn.Sequential:
    """Linear layers of `widths`, each followed by the activation `name`, for inputs [N, inputs].

    Raises:
        ConfigError: `key` names no activation.
    """
    kind = activation(name, key)
    layers: list[nn.Module] = []
    for width in widths:
        layer = nn.Linear(inputs, width)
        initialise(layer, kind)
        layers += [layer, kind()]
        inputs = width
    return nn.Sequential(*layers)


class NormalHead(nn.Linear):
    """N(mu, diag(sigma^2)) with mu and log sigma^2 linear in [N, inputs]; sigma begins near 1."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__(inputs, 2 * size)
        initialise_head(self, size)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and log sigma^2, float32 [*, D_i] each."""
        loc, log_variance = super().forward(x).float().chunk(2, dim=-1)
        return loc, log_variance


def normal(loc: Tensor, log_variance: Tensor) -> Normal:
    """The factorised normal distribution with these parameters, [*, D_i]."""
    return Normal(loc, (0.5 * log_variance).exp(), validate_args=False)


class ConditionalNormal(nn.Module):
    """p(z_i|z_j) = N(mu(z_j), diag(sigma^2(z_j))) by a network with hidden layers of `widths`."""

    def __init__(self, inputs: int, size: int, widths: Sequence[int], name: str, key: str) -> None:
        super().__init__()
        self.body = hidden_layers(inputs, widths, name, key)
        self.head = NormalHead(widths[-1] if widths else inputs, size)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and log sigma^2 given x [*, inputs], float32 [*, D_i] each."""
        return self.head.moments(self.body(x))

    def forward(self, x: Tensor) -> Normal:
        return normal(*self.moments(x))
