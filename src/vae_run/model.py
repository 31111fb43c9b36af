"""The one model: encoder, posterior, prior, decoder and likelihood put together.

Letters: K samples, B batch, D latent dimensions, E event shape (C, H, W) or (F,).
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_run.likelihoods import Likelihood
from vae_run.networks import Decoder, Encoder, flatten_samples
from vae_run.posteriors import Posterior
from vae_run.priors import Prior


@final
class LatentVariableModel(nn.Module):
    """p(x|z) p(z) with the approximate posterior q(z|x); returns distributions, knows no loss."""

    def __init__(
        self,
        encoder: Encoder,
        posterior: Posterior,
        prior: Prior,
        decoder: Decoder,
        likelihood: Likelihood,
    ) -> None:
        super().__init__()
        self.encoder, self.posterior, self.prior = encoder, posterior, prior
        self.decoder, self.likelihood = decoder, likelihood

    def encode(self, x: Tensor) -> Distribution:
        """q(z|x) over [B, D] of images x [B, *E], pixels in [0, 1]."""
        q: Distribution = self.posterior(self.encoder(x))
        return q

    def decode(self, z: Tensor) -> Distribution:
        """p(x|z) over [*K, B, *E] of codes z [*K, B, D]."""
        parameters = self.likelihood.projection(self.decoder(flatten_samples(z)))
        p: Distribution = self.likelihood(parameters.unflatten(0, z.shape[:-1]))
        return p

    def latent_prior(self) -> Distribution:
        """p(z) over [D]; for a family without a prior, a Gaussian fitted to its codes."""
        p: Distribution = self.prior()
        return p

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """n images [n, *E]: means of p(x|z), z from the prior by torch's global seed."""
        return self.decode(self.latent_prior().sample((n,))).mean

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """decode(encode(x).mean).mean, [B, *E]."""
        return self.decode(self.encode(x).mean).mean
