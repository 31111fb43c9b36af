"""The base class of priors p(z). Letters: N codes, D latent dimensions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_run.models.distributions.flow_kind import FlowKind

Count = Annotated[int, Field(ge=1)]
HIDDEN = [64, 64]  # never modified


def slow_density(kind: FlowKind, key: str) -> Iterator[str]:
    """A message if flows of `kind`, found at `key`, have slow densities: priors need these."""
    if kind == "iaf":
        yield (
            f"{key}: found iaf, whose density takes a pass for each latent dimension, at every "
            "step. Use kind=maf, its inverse, whose density takes one."
        )


class Prior(nn.Module, ABC):
    """p(z) over [D]; `description` names it in the captions of samples."""

    trained_with = True
    """Whether it is part of the training objective; otherwise it is fitted afterwards."""
    proper = True
    """Whether it integrates to 1, so that it can be sampled from."""
    fitted_to_codes = False
    """Whether `fit` sets it from the codes of the training images."""
    fitted_once = False
    """Whether it is fitted only at the end of training, not at each evaluation (fits take long)."""
    over_indices = False
    """Whether it is fitted to the indices of codes, int64 [N, L], which a quantiser has."""
    gaussian = False
    """Whether it is a normal distribution with independent dimensions."""
    learned = False
    """Whether it has parameters, which only objectives with log p(z) train."""
    spherical: bool | None = False
    """Whether its codes have norm 1; None: if the posterior's have."""
    shares_posterior = False
    """Whether it contains parameters of the encoder and posterior."""
    layered = False
    """Whether it is a prior of codes of several layers."""
    description: str

    @property
    def generative(self) -> bool:
        """Whether KL and ELBO are defined: the prior is proper and part of training."""
        return self.trained_with and self.proper

    @property
    def ready(self) -> bool:
        """Whether it can be sampled from: it is proper, and fitted if it has to be."""
        return self.proper

    @abstractmethod
    def forward(self) -> Distribution:
        """p(z)."""

    def carried(self, z: Tensor, dimension: int) -> Tensor:
        """Codes z [*, D] after `dimension` was changed, as far as others follow from it: z itself.

        In a prior of layers the layers below follow, so that a traversal of an upper one shows.
        """
        return z

    def start_at(self, mean: Tensor, spread: Tensor, extent: tuple[float, float]) -> None:
        """Begin at the training data, before the first step; most priors do nothing.

        Args:
            mean, spread: means and standard deviations of the pixels, [*E] each, on any device.
            extent: the least and the greatest value.

        Raises:
            ConfigError: the prior is not for data of this range.
        """

    def fit(self, codes: Tensor) -> None:
        """Fit p(z) to `codes` [N, D]."""
        raise NotImplementedError
