"""Constraints on the weights of a decoder: tied to the encoder, of a given norm.

Letters: D latent dimensions, P pixels of an image.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, addcmul, cat, nn, zeros
from torch.autograd import Function
from torch.compiler import is_compiling
from torch.nn.functional import linear
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import register_parametrization

from vae_run.errors import ConfigError


class TiedLinear(nn.Module):
    """A linear layer with the transposed weight of `source`, an encoder layer, and its own bias."""

    _source: tuple[nn.Linear]

    def __init__(self, source: nn.Linear) -> None:
        super().__init__()
        self.bias = nn.Parameter(zeros(source.in_features))
        self._source = (source,)  # in a tuple, so that it is not registered as a submodule here

    @property
    def weight(self) -> Tensor:
        """The current weight of the source, [D, P]."""
        return self._source[0].weight

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight.T, self.bias)


def tie(encoder: nn.Module, head: nn.Module, decoder: nn.Module, last: nn.Module) -> None:
    """Tie each linear layer of `decoder` and `last` to its counterpart in `encoder` and `head`."""
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
                "network.tied: needs a posterior with one parameter per dimension and a likelihood "
                "with one per pixel. Use posterior=delta likelihood=mse."
            )
        setattr(parent, name, TiedLinear(source))


def normalise(*parts: nn.Module) -> None:
    """Divide each weight of `parts` by its largest singular value (Miyato et al. 2018).

    Linear layers then have a Lipschitz constant of 1. A convolution kernel is reshaped to a matrix
    of output channels by all other dimensions, as in the paper, which bounds its Lipschitz
    constant up to a factor. The singular value is estimated by one step of power iteration per
    forward pass in training mode.
    """
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
    for layer in [m for part in parts for m in part.modules() if isinstance(m, kinds)]:
        spectral_norm(layer)


class _Unit(Function):
    """W / n with the norms n of its columns, and the factors 1 / n.

    The differential of a column u = w / n is (dw - u (u dw)) / n, that of its factor is
    -(u dw) / n^2, and the gradients have the same form. Autograd would form the derivatives of the
    norm and of the quotient one by one, which for 256 columns of 784 numbers takes more time than a
    product of the training step. Derivatives of any order are right, since both outputs, of which
    the gradient is a function, have theirs.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor) -> tuple[Tensor, Tensor]:
        factors = _over_column(weight * weight).sqrt().clamp(min=1e-12).reciprocal()
        return weight * factors, factors

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, of_unit: Tensor | None, of_factors: Tensor | None) -> Tensor | None:
        unit, factors = ctx.saved_tensors
        found = None
        if of_unit is not None:
            of_unit = of_unit.contiguous()  # a linear layer's is transposed, which is slow below
            found = _across(of_unit, unit, factors)
        if of_factors is not None:
            change = -of_factors * factors * factors * unit
            found = change if found is None else found + change
        return found


class _ForwardUnit(_Unit):
    """The same with forward-mode derivatives, which torch's compiler refuses to read."""

    @staticmethod
    def jvp(ctx: Any, change: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        unit, factors = ctx.saved_tensors
        if change is None:
            return None, None
        along = _over_column(change * unit)
        return _across(change, unit, factors), -along * factors * factors


def _over_column(values: Tensor) -> Tensor:
    """The sum of `values` [outputs, inputs, *taps] over each input's column, of size 1 there."""
    return values.sum([d for d in range(values.dim()) if d != 1], keepdim=True)


def _across(change: Tensor, unit: Tensor, factors: Tensor) -> Tensor:
    """The part of `change` across the columns `unit`, times `factors`."""
    return addcmul(change, unit, _over_column(change * unit), value=-1) * factors


class UnitColumns(nn.Module):
    """W with the columns of its first `inputs` inputs divided by their norms."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.inputs = inputs

    def forward(self, weight: Tensor) -> Tensor:
        """A weight [outputs, inputs + others, *taps]."""
        if weight.shape[1] > self.inputs:
            return cat([self(weight[:, : self.inputs]), weight[:, self.inputs :]], 1)
        unit: Tensor = (_Unit if is_compiling() else _ForwardUnit).apply(weight)[0]
        return unit


def first_layer(decoder: nn.Module, last: nn.Module) -> tuple[nn.Module, str, nn.Module]:
    """The layer by which `decoder`, or `last`, reads the code: its parent, its name and itself."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
    return next(
        (parent, name, child)
        for part in (decoder, last)
        for parent in part.modules()
        for name, child in parent.named_children()
        if isinstance(child, kinds)
    )


def unit_columns(decoder: nn.Module, last: nn.Module, latent_shape: tuple[int, ...]) -> None:
    """Give norm 1 to the columns by which the first layer of `decoder`, or `last`, reads the code.

    The gradient then has no component along a column (Gao et al. 2024, section 2.1, remove it by
    hand). What a conditional model is given beside the code keeps its columns.
    """
    _, _, first = first_layer(decoder, last)
    inputs = math.prod(latent_shape) if isinstance(first, nn.Linear) else latent_shape[0]
    register_parametrization(first, "weight", UnitColumns(inputs))
