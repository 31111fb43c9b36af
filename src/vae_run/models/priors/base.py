"""What every prior p(z) is. Letters: N codes, D latent dimensions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

Count = Annotated[int, Field(ge=1)]
HIDDEN = [64, 64]  # never written to


class Prior(nn.Module, ABC):
    """p(z) over [D]; `description` is what captions say of samples from it."""

    trained_with = True
    """Whether training holds the codes to it; otherwise it is fitted afterwards."""
    proper = True
    """Whether it integrates to 1, and so can be sampled from."""
    fitted_to_codes = False
    """Whether `fit` sets it from the training codes after the fact."""
    fitted_once = False
    """Whether it is fitted when training has ended, and not at each evaluation: it takes longer."""
    gaussian = False
    """Whether it is a normal with independent dimensions."""
    learned = False
    """Whether it has parameters, which only an objective with log p(z) in it trains."""
    spherical: bool | None = False
    """Whether its codes have length 1; None: as the posterior's have."""
    description: str

    @property
    def generative(self) -> bool:
        """Whether KL and ELBO mean something: a proper prior that training uses."""
        return self.trained_with and self.proper

    @property
    def ready(self) -> bool:
        """Whether it can be sampled from: proper, and fitted where that is due."""
        return self.proper

    @abstractmethod
    def forward(self) -> Distribution:
        """p(z)."""

    def fit(self, codes: Tensor) -> None:
        """Fit p(z) to `codes` [N, D]."""
        raise NotImplementedError
