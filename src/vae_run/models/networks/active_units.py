"""Codes as their few active units, and products with them that cost as much as these units.

Letters: B batch, D units of the code, k of them that are given for an item, F features, P outputs,
N models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag, linear

SHARE = 1 / 8
"""Share of active units up to which these products are faster than others on a CPU.

With 16 of 256 units, 784 outputs and batches of 128, a product took 0.19 ms in place of 0.80, its
gradient at the units 0.21 in place of 0.64, and that of the layer that finds the units 0.35. All
grow with the number of active units.
"""

SUM = 0
"""The number of `embedding_bag`'s mode."""


@dataclass(frozen=True)
class ActiveUnits:
    """Codes [B, D] that are 0 but for k units of each.

    Attributes:
        values: of these units, [B, k].
        index: which they are, int64 [B, k]; none twice.
        size: D.
    """

    values: Tensor
    index: Tensor
    size: int

    @property
    def shape(self) -> torch.Size:
        """That of the codes, [B, D]."""
        return torch.Size((*self.values.shape[:-1], self.size))

    def codes(self) -> Tensor:
        """The codes, [B, D]."""
        return _codes(self.values, self.index, self.size)

    def having(self, values: Tensor) -> ActiveUnits:
        """The same units with other values [B, k]."""
        return replace(self, values=values)


def worthwhile(k: int, size: int, device: torch.device) -> bool:
    """Whether products with k active units of `size` are faster than those with all of them."""
    return device.type == "cpu" and k <= SHARE * size


def found_by(layer: nn.Linear, features: Tensor, values: Tensor, index: Tensor) -> Tensor:
    """`values` [B, k], outputs of `layer` for features [B, F], as a function of both.

    `index` [B, k] says which outputs they are. That they are known saves computing them again.
    """
    found: Tensor = _Found.apply(values.detach(), index, layer.weight, layer.bias, features)
    return found


class CodeLinear(nn.Linear):
    """The linear layer by which a decoder reads codes [B, D], or their `ActiveUnits`."""

    @classmethod
    def of(cls, layer: nn.Linear) -> CodeLinear:
        """A layer with the parameters of `layer`."""
        made = cls(layer.in_features, layer.out_features, device="meta")
        made.weight, made.bias = layer.weight, layer.bias
        return made

    def forward(self, input: Tensor | ActiveUnits) -> Tensor:
        if not isinstance(input, ActiveUnits):
            return linear(input, self.weight, self.bias)
        rows = self.weight.T.contiguous()
        product: Tensor = _Product.apply(input.values, input.index, rows)
        return product + self.bias


def reads_units(decoder: nn.Sequential, last: nn.Module) -> bool:
    """Whether the first layer of `decoder`, or of `last` if that has none, is a `CodeLinear`."""
    return isinstance(next(iter((*decoder, *last.children())), None), CodeLinear)


class _Product(Function):
    """sum_i values[b, i] rows[index[b, i]], [B, P], of `rows` [D, P].

    The gradient at `rows` is a usual product: that of the active units alone took as long, as its
    result has to be transposed. So are those of N models whose tensors are stacked.
    """

    @staticmethod
    def forward(values: Tensor, index: Tensor, rows: Tensor) -> Tensor:
        return embedding_bag(index, rows, per_sample_weights=values, mode="sum")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor]:
        values, index, rows = ctx.saved_tensors
        codes = _codes(values, index, len(rows))
        return _chosen_products(gradient, rows, index), None, (gradient.T @ codes).T

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        values, index, rows = _stacked(info.batch_size, in_dims, inputs)
        return _codes(values, index, rows.shape[1]) @ rows, 0


class _Found(Function):
    """Known outputs `index` [B, k] of a linear layer; the gradients take these outputs alone."""

    @staticmethod
    def forward(
        values: Tensor, index: Tensor, weight: Tensor, bias: Tensor, features: Tensor
    ) -> Tensor:
        return values.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        _, index, weight, _, features = inputs
        ctx.save_for_backward(index, weight, features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor, Tensor, Tensor | None]:
        index, weight, features = ctx.saved_tensors
        of_weight = _sums(gradient, index, features, len(weight))
        nothing = gradient.new_zeros(len(weight))
        of_bias = nothing.scatter_add(0, index.flatten(), gradient.flatten())
        of_features = None
        if ctx.needs_input_grad[-1]:
            of_features = embedding_bag(index, weight, per_sample_weights=gradient, mode="sum")
        return None, None, of_weight, of_bias, of_features

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        """N layers are one of N D outputs, of which each item has those of its own layer."""
        values, index, *rest = _stacked(info.batch_size, in_dims, inputs)
        first = rest[0].shape[1] * torch.arange(len(index), device=index.device)
        tensors = (values, index + first[:, None, None], *rest)
        found: Tensor = _Found.apply(*(tensor.flatten(0, 1) for tensor in tensors))
        return found.view_as(values), 0


def _stacked(size: int, dims: tuple[int | None, ...], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The inputs of N models, each [N, *]."""
    pairs = zip(inputs, dims, strict=True)
    return [x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0) for x, dim in pairs]


def _codes(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Codes [*N, B, size] with `values` [*N, B, k] at `index`, and else 0."""
    return values.new_zeros((*values.shape[:-1], size)).scatter(-1, index, values)


def _chosen_products(left: Tensor, rows: Tensor, index: Tensor) -> Tensor:
    """left[b] . rows[index[b, i]], [B, k]: what torch computes as a gradient of `embedding_bag`."""
    items, starts = _places(index)
    found: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        left.contiguous(), rows, index.flatten(), starts, items, SUM
    )
    return found.view_as(index)


def _sums(values: Tensor, index: Tensor, right: Tensor, size: int) -> Tensor:
    """The sum of values[b, i] right[b] where index[b, i] = d, for d < size: [size, F].

    It is the other gradient of `embedding_bag`.
    """
    items, none = _places(index)[0], index.new_empty(0)
    found: Tensor = torch.ops.aten._embedding_bag_dense_backward(
        right.contiguous(), index.flatten(), items, none, none, size, False, SUM, values.flatten()
    )
    return found


def _places(index: Tensor) -> tuple[Tensor, Tensor]:
    """Of the flattened index [B, k]: the item of each entry, [B k], and where items start, [B]."""
    count, k = index.shape
    entries = torch.arange(count * k, device=index.device)
    return entries // k, entries[::k].contiguous()
