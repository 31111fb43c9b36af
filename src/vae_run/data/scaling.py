"""Values brought to one scale by statistics of the training data, and back to their own units.

Letters: N examples, E their event shape, C channels, the first size of E (features, of vectors).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Kind = Literal["unit", "standard"]
Pieces = Callable[[], Iterable[Tensor]]
"""Gives all values anew, in pieces [B, *E]."""

USUAL_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
"""Black and white of images, in the ranges that floats usually have."""
_FINEST = 2.0**-10
"""Distance of neighbouring float32 numbers, in standard deviations, that scaled data may have."""
_NOISE = 1e-12
"""Range of a channel, relative to its largest value, that rounding alone can make."""


@dataclass(frozen=True)
class Statistics:
    """Of each channel, float64 [C]; NaN counts as missing.

    Attributes:
        low, high: least and greatest value.
        mean: 0 of a channel without values.
        std: root mean square of the differences from `mean` (divided by N, not N - 1).
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Whether all values of a channel are the same, or there are none."""
        largest = np.fmax(np.abs(self.low), np.abs(self.high))
        varied = (self.high - self.low > _NOISE * largest) & (self.std > 0)
        return np.asarray(~varied, dtype=np.bool_)

    @property
    def exact(self) -> bool:
        """Whether float32 is too coarse for the spread of a channel, as for times in seconds."""
        largest = np.fmax(np.abs(self.low), np.abs(self.high))[~self.constant]
        spacing = largest * float(np.finfo(np.float32).eps)
        return bool((spacing > _FINEST * self.std[~self.constant]).any())


def statistics(pieces: Pieces) -> Statistics:
    """The statistics of every channel of all pieces.

    numpy's sums, unlike torch's, do not depend on the number of threads, so that the same data are
    scaled to the same bits everywhere.
    """
    low = high = np.array(np.nan)
    count, total = np.array(0), np.array(0.0)
    for x, axes in _arrays(pieces):
        low = np.fmin(low, np.fmin.reduce(x, axis=axes))
        high = np.fmax(high, np.fmax.reduce(x, axis=axes))
        count = count + (~np.isnan(x)).sum(axis=axes)
        total = total + np.nansum(x, axis=axes)
    mean = total / np.maximum(count, 1)
    squares = np.array(0.0)
    for x, axes in _arrays(pieces):
        centred = x - mean.reshape(-1, *[1] * (x.ndim - 2))
        squares = squares + np.nansum(np.square(centred), axis=axes)
    return Statistics(low, high, mean, np.sqrt(squares / np.maximum(count, 1)))


def _arrays(pieces: Pieces) -> Iterable[tuple[NDArray[np.float64], tuple[int, ...]]]:
    """Each piece in float64, with the axes that are not its channels'."""
    for piece in pieces():
        x = piece.cpu().double().numpy()
        yield x, (0, *range(2, x.ndim))


@dataclass(frozen=True)
class Scaling:
    """(x - shift) / scale of every channel, and its inverse.

    Attributes:
        kind: `unit`: the training data lie in [0, 1]; `standard`: their mean is 0 and their
            standard deviation 1.
        shift, scale: C numbers each.
        axes: of an event after its channels: 0 of vectors, 1 of windows, 2 of images.
        extent: least and greatest value of the training data in their own units; None: unknown.
        exact: whether values of float64 are scaled as they are; otherwise they are rounded to
            float32 where they are read, before they are scaled.
    """

    kind: Kind
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    axes: int = 0
    extent: tuple[float, float] | None = None
    exact: bool = False

    @classmethod
    def of(cls, kind: Kind, found: Statistics, axes: int = 0, *, exact: bool = False) -> "Scaling":
        """The scaling of training data with the statistics `found`.

        A channel that has one value in all training data is only shifted: its `scale` is 1.
        """
        shift, scale = (
            (found.mean, found.std) if kind == "standard" else (found.low, found.high - found.low)
        )
        scale = np.where(found.constant, 1.0, scale)
        extent = float(found.low.min()), float(found.high.max())
        return cls(kind, tuple(shift.tolist()), tuple(scale.tolist()), axes, extent, exact)

    def scaled(self, raw: Tensor) -> Tensor:
        """Values [..., *E] in their own units, scaled: float32 on the CPU."""
        shift, scale = self._numbers(raw)
        return ((raw.detach().cpu().double() - shift) / scale).float()

    def raw(self, scaled: Tensor) -> Tensor:
        """The inverse of `scaled`: float64 on the CPU, in the units of the data."""
        shift, scale = self._numbers(scaled)
        return scaled.detach().cpu().double() * scale + shift

    def drawn(self, scaled: Tensor) -> Tensor:
        """Values [..., *E] as pictures show them: float32 on the CPU.

        Images in their own units, with the end points of `black_and_white` at 0 and 1; curves and
        vectors as they are scaled, since channels of different units share an axis.
        """
        if self.axes < 2:
            return scaled.detach().cpu().float()
        low, high = self.black_and_white
        return ((self.raw(scaled) - low) / (high - low)).float()

    @property
    def black_and_white(self) -> tuple[float, float]:
        """The first of the usual ranges that the training images lie in, or else their range."""
        assert self.extent is not None, "it is that of images"
        low, high = self.extent
        fitting = [each for each in USUAL_RANGES if each[0] <= low and high <= each[1]]
        return fitting[0] if fitting else (low, high if high > low else low + 1)

    @property
    def note(self) -> str:
        """What a picture says of its values."""
        if self.axes < 2:
            return f"values scaled by dataset.scale={self.kind}"
        low, high = self.black_and_white
        return f"drawn as before dataset.scale={self.kind}, black {low:g} to white {high:g}"

    def _numbers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`shift` and `scale`, to be broadcast with x [..., *E].

        Of images with another number of channels, such as greyed ones, they are the means.
        """
        shift, scale = (
            torch.tensor(each, dtype=torch.float64) for each in (self.shift, self.scale)
        )
        if x.shape[-1 - self.axes] != len(shift):
            shift, scale = shift.mean(0, keepdim=True), scale.mean(0, keepdim=True)
        ones = [1] * self.axes
        return shift.view(-1, *ones), scale.view(-1, *ones)

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint, from which `of_state` makes the scaling again."""
        plain = asdict(self)
        return {key: list(v) if isinstance(v, tuple) else v for key, v in plain.items()}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> "Scaling":
        """The scaling that `state` describes.

        Raises:
            ValueError: there is no such kind.
        """
        kind: Kind = "unit" if state["kind"] == "unit" else "standard"
        if state["kind"] != kind:
            raise ValueError(f"scaling of the kind {state['kind']!r}")
        shift, scale = (tuple(float(v) for v in state[key]) for key in ("shift", "scale"))
        low, high = map(float, state["extent"])
        exact = bool(state.get("exact", False))
        return cls(kind, shift, scale, int(state["axes"]), (low, high), exact)
