"""The function that a file holds: tensors in, tensors out, in the units of the user's data.

Letters: B batch, D latent dimensions, E event shape, P entries of the vector of conditions.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_run.errors import ConfigError
from vae_run.exports.source import Source
from vae_run.models.latent_variable_model import LatentVariableModel

Part = Literal["encoder", "decoder", "both"]
"""x to its code, a code to the mean of p(x|z), or x to its code and reconstruction."""
BATCHES = (1, 2, 5)
"""Sizes of the batches that a file is checked with."""
TRACED = 3
"""Size of the batch that a model is traced with; the file takes any."""


class Graph(nn.Module):
    """The `part` of a model, as a function of the inputs that `examples` makes, to the outputs.

    Values in the user's units are scaled inside, in float64 as `Scaling` does it. Missing values
    (NaN) of a table become the training mean, 0, as in training.
    """

    shift: Tensor
    factor: Tensor

    def __init__(self, source: Source, part: Part) -> None:
        super().__init__()
        self.model, self.part = source.model, part
        self.rows = source.table is not None
        units = source.units()
        self.scaled = units is not None
        if units is not None:
            self.register_buffer("shift", units[0])
            self.register_buffer("factor", units[1])

    def forward(self, first: Tensor, given: Tensor | None = None) -> tuple[Tensor, ...]:
        """The values of `named`, in its order."""
        return (*self.named(first, given).values(),)

    def named(self, first: Tensor, given: Tensor | None) -> dict[str, Tensor]:
        """Outputs by name, of x [B, *E], or z [B, D] for the decoder, and what is `given` with it:
        labels int64 [B], or conditions [B, P] in their own units; None: the model is given nothing.
        """
        model = self.model if given is None else self.model.given(self._condition(given))
        if self.part == "decoder":
            return self._decoded("decoded", model.decode(first))
        x = self._own(first)
        model = model.beside(x)
        q = model.encode(x)
        found = of_code(model, q)
        if self.part == "both":
            found |= self._decoded("reconstruction", model.decode(q.mean))
        return found

    def _condition(self, given: Tensor) -> Tensor:
        """`given` as `LatentVariableModel.given` takes it."""
        conditions = self.model.conditions
        if conditions is None:
            return given
        scaling = conditions.columns.scaling
        shift, factor = (torch.tensor(v).double() for v in (scaling.shift, scaling.scale))
        return _filled(((given.double() - shift) / factor).float())

    def _own(self, x: Tensor) -> Tensor:
        """x as the model takes it."""
        if not self.scaled:
            return x
        scaled = ((x.double() - self.shift) / self.factor).float()
        return _filled(scaled) if self.rows else scaled

    def _decoded(self, name: str, p: Distribution) -> dict[str, Tensor]:
        """The mean of p(x|z), and its scale where each pixel has its own, in the user's units."""
        found = {name: p.mean}
        if (scale := self.model.likelihood.scale(p)) is not None:
            found[f"{name}_scale"] = scale
        if self.scaled:
            shifts = (self.shift, torch.zeros_like(self.shift))
            found = {
                key: (value.double() * self.factor + shift).float()
                for (key, value), shift in zip(found.items(), shifts, strict=False)
            }
        return found


def of_code(model: LatentVariableModel, q: Distribution) -> dict[str, Tensor]:
    """What is told of q(z|x): its mean, its scale and its indices, where it has them."""
    found = {"mean": q.mean}
    if (scale := model.posterior.scale(q)) is not None:
        found["scale"] = scale
    if model.posterior.discrete:
        found["indices"] = model.posterior.indices(q)
    return found


def _filled(values: Tensor) -> Tensor:
    return torch.where(torch.isnan(values), torch.zeros_like(values), values)


def refuse_part(source: Source, part: Part) -> None:
    """Refuse an encoder or decoder that is nothing without the other.

    Raises:
        ConfigError: the decoder sees images beside codes.
    """
    if source.model.skips and part != "both":
        raise ConfigError(
            f"part: found {part}, but the decoder of this run sees images beside codes "
            "(network.skip=true), so that the two cannot be used apart. Use part=both, which "
            "restores images."
        )


def given_values(source: Source, count: int) -> Tensor | None:
    """What a conditional model may be given, as the file takes it: labels int64 [count], in turn,
    or the conditions of training rows in their own units, float32 [count, P]; None: nothing.
    """
    told = source.model.in_turn(count)
    if told is None or source.model.conditions is None:
        return told
    return source.model.conditions.columns.raw(told).float()


def examples(source: Source, part: Part, count: int = TRACED, draw: int = 0) -> tuple[Tensor, ...]:
    """`count` inputs: random values in the range of the training data, or random codes.

    Of several values the last example has the least of the range everywhere, so that flat images
    are among them; once, as it is the same in each `draw`, which otherwise has its own values.
    """
    generator = torch.Generator().manual_seed(count + 1000 * draw)
    special = count > 1 and draw == 0
    if part == "decoder":
        size = (count, source.settings.fixed.latent_dim)
        first = source.model.posterior.nearest(torch.randn(size, generator=generator))
    else:
        low, high = source.extent
        values = torch.rand((count, *source.event_shape), generator=generator)
        first = low + (high - low) * values
        if special:
            first[-1] = low
        if source.table is not None:
            first = torch.randn((count, *source.event_shape), generator=generator)
            _make_one_hot(first, source.table.blocks)
        if source.scaling is not None:
            first = source.scaling.raw(first).float()
        if source.table is not None and special:
            first[-1] = _missing(source, first[-1])
    given = given_values(source, count)
    return (first,) if given is None else (first, given)


def _make_one_hot(rows: Tensor, blocks: tuple[tuple[int, int], ...]) -> None:
    for start, stop in blocks:
        chosen = rows[:, start:stop].argmax(1)
        rows[:, start:stop] = torch.nn.functional.one_hot(chosen, stop - start).float()


def _missing(source: Source, row: Tensor) -> Tensor:
    """`row` [F] with its numbers missing."""
    assert source.table is not None
    numbers = torch.ones(len(row), dtype=torch.bool)
    for start, stop in source.table.blocks:
        numbers[start:stop] = False
    return torch.where(numbers, torch.nan, row)


@torch.no_grad()
def expected(source: Source, part: Part, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """What the model itself makes of `inputs`, by the same functions as every other task."""
    model, (first, *given) = source.model, inputs
    if given and model.conditions is not None:
        model = model.given(model.conditions.columns.scaled(given[0]))
    elif given:
        model = model.checked(given[0])
    if part == "decoder":
        return _told(source, "decoded", model.decode(first))
    x = first if source.scaling is None else source.scaling.scaled(first)
    x = x.nan_to_num(nan=0.0) if source.table is not None else x
    model = model.beside(x)
    q = model.encode(x)
    found = of_code(model, q)
    if part == "both":
        found |= _told(source, "reconstruction", model.decode(q.mean))
    return found


def _told(source: Source, name: str, p: Distribution) -> dict[str, Tensor]:
    """Mean, and scale where each pixel has its own, of p(x|z) in the user's units."""
    mean, scale, units = p.mean, source.model.likelihood.scale(p), source.units()
    if source.scaling is not None and units is not None:
        mean = source.scaling.raw(mean).float()
        scale = None if scale is None else (scale.double() * units[1]).float()
    return {name: mean} if scale is None else {name: mean, f"{name}_scale": scale}
