"""The base class of posteriors q(z|x): heads on the encoder's features.

Letters: K samples, B batch, D latent dimensions, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_run.models.distributions.indices import IndexSpace
from vae_run.models.networks.initialisation import Layer

Project = Callable[[int], nn.Module]
"""k -> a new layer from features [B, F] to k parameters for each of D entries, [B, k D]."""


class Posterior(nn.Module, ABC):
    """Owns the projection from features [B, F] to the parameters of q(z|x)."""

    stochastic = True
    """Whether q has a density, and therefore a KL divergence to a prior."""
    factorised = False
    """Whether q is a product over dimensions, an `Independent`."""
    moments = True
    """Whether q has a mean and a variance in closed form."""
    spherical = False
    """Whether codes have norm 1, so that a density over R^D cannot be their prior."""
    sparse = False
    """Whether q is a `SparseCode`, which tells the active units."""
    unit_columns = False
    """Whether the columns by which the decoder reads the code have norm 1."""
    discrete = False
    """Whether indices of codewords name a code (`QuantizedPosterior`)."""
    saturates = False
    """Whether large outputs of the encoder have no gradient.

    The likelihood then begins at the mean image: in the first steps all codes would otherwise move
    together towards it, to where they cannot come back from.
    """
    metrics: ClassVar[tuple[str, ...]] = ()
    """Metrics of the package that are measured wherever the objective is."""
    meanings: ClassVar[Mapping[str, str]] = {}
    """A sentence on each of its `penalties` that has no row in the table of quantities."""
    layered = False
    """Whether codes have several layers, of sizes `layers`, whose prior is one of layers too."""
    shares_prior = False
    """Whether q contains parameters of the prior, so that the two cannot be trained apart."""
    layers: tuple[int, ...] = ()
    """Sizes of the layers of a code, from the image up; () for a code without layers."""

    @classmethod
    def read_size(cls, options: Mapping[str, Any], latent_dim: int) -> int:
        """How many entries of a code, its first ones, the decoder reads: all D of them."""
        return latent_dim

    def read(self, z: Tensor) -> Tensor:
        """The entries of codes z [*, D] that the decoder reads; the number is `read_size`."""
        return z

    def attach(self, prior: nn.Module) -> None:
        """Called once with the model's prior, which is built after the posterior."""

    def initialise(self, draw: Callable[[Layer, int], None], latent_dim: int) -> None:
        """Draw the initial weights of `projection`, of whose outputs the first D are means."""
        layer = getattr(self, "projection", None)
        if isinstance(layer, nn.Linear):
            draw(layer, latent_dim)
        elif isinstance(layer, nn.Sequential) and isinstance(layer[1], nn.Conv2d):
            assert isinstance(layer[0], nn.Unflatten)
            _, height, width = layer[0].unflattened_size
            draw(layer[1], latent_dim // (height * width))

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """q(z|x) over [B, D]."""

    @abstractmethod
    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        """Transform standard normal `noise` [*K, B, D] to samples of q [*K, B, D]."""

    def scale(self, q: Distribution) -> Tensor | None:
        """Standard deviations of the codes [B, D]; None if they are not available."""
        return q.stddev if self.stochastic else None

    def expectation(self, q: Distribution) -> Tensor:
        """E_q[z], [B, D]; for a flow, without closed form, the image of the noise's mean."""
        return q.mean

    def nearest(self, z: Tensor) -> Tensor:
        """z [*, D] projected onto the support of q, for example points between two codes."""
        return z

    def detached(self, q: Distribution) -> Distribution:
        """q with detached parameters: its log-density has a gradient only through z."""
        raise NotImplementedError(f"{type(self).__name__} has no detached density")

    @property
    def calibrated(self) -> bool:
        """Whether `calibrate` sets a parameter from the training split."""
        return False

    def calibrate(self, posteriors: Iterable[Distribution]) -> None:
        """Set that parameter from the posteriors of training images, in eval mode, by batches."""
        raise NotImplementedError

    def penalties(self, q: Distribution) -> Mapping[str, Tensor]:
        """What the posterior adds to the loss, by name, each [B] in nats.

        Objectives add it where their `takes_penalties` is true, and report it term by term.
        """
        return {}

    @property
    def start_size(self) -> int:
        """Training images whose posteriors `start_at` needs; 0: it is not called."""
        return 0

    def start_at(self, found: Sequence[Distribution]) -> None:
        """Begin where posteriors of training images, `found`, lie under the initial weights."""
        raise NotImplementedError

    def after_step(self, skipped: Tensor) -> None:
        """Change what no gradient changes, after each step of the optimiser.

        What it needs of the batch the forward pass keeps in buffers, in training mode alone. Where
        `skipped`, a float [] on the device, is 1, the step was not taken, and nothing may change.
        """

    @classmethod
    def whole_batches(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """What needs each batch in one pass and in one process, if anything does.

        Full keys, their values, and what to do instead.
        """
        yield from ()

    def indices(self, q: Distribution) -> Tensor:
        """The indices that name each code, int64 [B, P] or [B, P, S], of a `discrete` posterior."""
        raise NotImplementedError(f"codes of {type(self).__name__} have no indices")

    def index_space(self) -> IndexSpace | None:
        """The indices that name a code; None: there are none."""
        return None
