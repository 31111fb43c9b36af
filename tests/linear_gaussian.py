"""The linear-Gaussian model, whose log p(x) is known.

p(z) = N(0, I), p(x|z) = N(W z + b, sigma^2 I), so p(x) = N(b, W W^T + sigma^2 I), and the posterior
is N(S W^T (x - b) / sigma^2, S) with S = (I + W^T W / sigma^2)^-1: diagonal, and so within reach of
the model's, only where the columns of W are orthogonal.
"""

from __future__ import annotations

import math

import torch
from parts import composed
from torch.distributions import MultivariateNormal, kl_divergence

from vae_run.config.check import check
from vae_run.data.batches import Batch
from vae_run.models.build import build_model
from vae_run.objectives import ELBO
from vae_run.objectives.aggregate_posterior import covariances

B, D, F, SIGMA = 6, 2, 5, 0.6
SHIFT = torch.tensor([0.3, -0.1, 0.0, 0.5, 1.0])
ORTHOGONAL = torch.tensor([[1.0, 0.5], [1.0, -0.5], [0.5, 0.0], [0.0, 1.2], [0.0, 0.0]])
OBLIQUE = ORTHOGONAL + torch.tensor([[0.0, 0.8], [0.0, 0.4], [0.0, 0.0], [0.0, 0.0], [0.6, 0.0]])


class LinearGaussian:
    """The model with weights W, and q(z|x) = N(A (x - b), S), S its posterior's best for W.

    `posterior` is `normal`, whose S is diagonal, or `full_normal`.
    """

    def __init__(
        self, weights, *, posterior="normal", map_error=0.0, variance_factor=1.0, images=B
    ):
        words = ["likelihood=gaussian", f"likelihood.sigma={SIGMA}", "network.widths=[]"]
        words += [f"latent_dim={D}", f"posterior={posterior}"]
        self.model = build_model(check(composed(*words)), (F,)).eval()
        exact = weights.double()
        precision = torch.eye(D).double() + exact.T @ exact / SIGMA**2
        self.covariance = precision.inverse()
        self.map = self.covariance @ exact.T / SIGMA**2
        # The best factorised posterior has the exact mean, and 1 / the precision's diagonal.
        variance, below = 1 / precision.diagonal(), torch.zeros(0)
        if posterior == "full_normal":
            factor = torch.linalg.cholesky(self.covariance)
            variance, below = factor.diagonal().square(), factor[1:, 0].float()
        log_variance = (variance_factor * variance).log().float()
        used = (self.map + map_error).float()
        layer, out = self.model.posterior.projection, self.model.likelihood.projection[0]
        with torch.no_grad():
            layer.weight.copy_(torch.cat([used, torch.zeros(D + len(below), F)]))
            layer.bias.copy_(torch.cat([-used @ SHIFT, log_variance, below]))
            out.weight.copy_(weights)
            out.bias.copy_(SHIFT)
        marginal = exact @ exact.T + SIGMA**2 * torch.eye(F).double()
        self.marginal = MultivariateNormal(SHIFT.double(), marginal)
        self.x = self.marginal.sample((images,)).float()

    def log_marginal(self):
        """log p(x), exact, [B]."""
        return self.marginal.log_prob(self.x.double()).float()

    def gap(self):
        """KL(q(z|x) || p(z|x)), exact, [B]: how far the bound lies below log p(x)."""
        q = self.model.encode(self.x)
        mean = (self.x - SHIFT).double() @ self.map.T
        exact = MultivariateNormal(mean, self.covariance)
        full = MultivariateNormal(q.mean.double(), covariances(q).double())
        return kl_divergence(full, exact).float()

    def bounds(self, noise):
        """-loss at beta = 1 for each noise [K, B, D], [K, B]."""
        batches = [Batch(self.x, self.x, each[None]) for each in noise]
        return torch.stack([-ELBO()(self.model, batch, 0.0)["loss"] for batch in batches])

    def elbo(self):
        """The exact mean over the posterior: +-sqrt(D) e_d are a cubature for a quadratic."""
        points = math.sqrt(D) * torch.cat([torch.eye(D), -torch.eye(D)])
        return self.bounds(points[:, None].expand(-1, B, -1)).mean(0)
