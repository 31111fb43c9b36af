"""The model class: encoder, posterior, prior, decoder and likelihood.

Letters: K samples, B batch, D latent dimensions, E event shape (C, H, W) or (F,), Y classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_run.errors import ConfigError
from vae_run.models.likelihoods import Likelihood
from vae_run.models.networks import Decoder, Encoder, Network, flatten_samples
from vae_run.models.posteriors import Posterior
from vae_run.models.priors import Prior

Label = Tensor | Sequence[int] | int


@final
class LatentVariableModel(nn.Module):
    """p(x|z) p(z) with the approximate posterior q(z|x). Returns distributions, not losses.

    With `classes`, the labels of the training images, encoder and decoder are conditioned on the
    label y of an image, a one-hot vector: p(x|z, y) p(z) with q(z|x, y) (Kingma et al. 2014; Sohn
    et al. 2015). `join` combines it with the image; to the code it is concatenated.
    """

    classes: Tensor | None

    def __init__(
        self,
        encoder: Encoder,
        posterior: Posterior,
        prior: Prior,
        decoder: Decoder,
        likelihood: Likelihood,
        *,
        classes: Sequence[int] | None = None,
        join: Callable[[Tensor, Tensor], Tensor] = Network.join,
    ) -> None:
        super().__init__()
        self.encoder, self.posterior, self.prior = encoder, posterior, prior
        self.decoder, self.likelihood = decoder, likelihood
        known = None if classes is None else torch.tensor(classes)
        self.register_buffer("classes", known, persistent=False)
        self._join = join
        self._one_hot: Tensor | None = None

    def given(self, label: Tensor | None) -> LatentVariableModel:
        """The model conditioned on `label`, int64 [B] or [], with the same parts.

        An unconditional model is returned unchanged. Labels are not checked against `classes`,
        which would synchronise with the device; `encode(x, label)`, `decode`, `sample` and
        `reconstruct` check them.
        """
        if self.classes is None:
            return self
        if label is None:
            raise ConfigError("condition=label: the model needs labels, and these data have none.")
        parts = (self.encoder, self.posterior, self.prior, self.decoder, self.likelihood)
        model = LatentVariableModel(*parts, join=self._join)
        model._one_hot = (label[..., None] == self.classes).float()
        return model

    def checked(self, label: Label | None) -> LatentVariableModel:
        """`given(label)` after a check of the labels; the model itself for None.

        Raises:
            ConfigError: a label is unknown, or the model is not conditional.
        """
        if label is None:
            return self
        if self.classes is None:
            raise ConfigError("label: the model is not conditional (it has no condition=label).")
        labels = torch.as_tensor(label, dtype=torch.long, device=self.classes.device)
        strange = sorted(set(labels[~torch.isin(labels, self.classes)].tolist()))
        if strange:
            raise ConfigError(
                f"label: found {str(strange)[1:-1]}; the classes of the model are "
                f"{str(self.classes.tolist())[1:-1]}."
            )
        return self.given(labels)

    def encode(self, x: Tensor, label: Label | None = None) -> Distribution:
        """q(z|x) over [B, D] of images x [B, *E], pixels in [0, 1]; `label` [B] or one for all."""
        one_hot = self.checked(label)._condition(x.shape[:1])
        if one_hot is not None:
            x = self._join(x, one_hot)
        q: Distribution = self.posterior(self.encoder(x))
        return q

    def decode(self, z: Tensor, label: Label | None = None) -> Distribution:
        """p(x|z) over [*K, B, *E] of codes z [*K, B, D]; `label` [B] or one for all."""
        one_hot = self.checked(label)._condition(z.shape[:-1])
        if one_hot is not None:
            z = torch.cat([z, one_hot], -1)
        parameters = self.likelihood.projection(self.decoder(flatten_samples(z)))
        p: Distribution = self.likelihood(parameters.unflatten(0, z.shape[:-1]))
        return p

    def _condition(self, shape: torch.Size) -> Tensor | None:
        """One-hot labels [*K, B, Y] for `shape` [*K, B]; None if no label is given."""
        if self.classes is not None:
            raise ConfigError("condition=label: the model needs the images' classes: give label=.")
        one_hot = self._one_hot
        if one_hot is None:
            return None
        if one_hot.dim() == 2 and len(one_hot) != shape[-1]:
            raise ConfigError(f"label: found {len(one_hot)} labels for {shape[-1]} images.")
        return one_hot.expand(*shape, -1)

    def latent_prior(self) -> Distribution:
        """p(z) over [D]; for a model without a prior, the density fitted to its codes."""
        p: Distribution = self.prior()
        return p

    def in_turn(self, n: int) -> Tensor | None:
        """n labels that cycle through the classes, int64 [n]; None for an unconditional model."""
        if self.classes is None:
            return None
        return self.classes[torch.arange(n, device=self.classes.device) % len(self.classes)]

    @torch.no_grad()
    def sample(self, n: int, label: Label | None = None) -> Tensor:
        """n images [n, *E]: means of p(x|z), with z from the prior by torch's global generator.

        `label` is one for all or [n]; without it a conditional model cycles through its classes.
        """
        label = self.in_turn(n) if label is None else label
        z = self.posterior.nearest(self.latent_prior().sample((n,)))
        return self.decode(z, label).mean

    @torch.no_grad()
    def reconstruct(self, x: Tensor, label: Label | None = None) -> Tensor:
        """decode(encode(x).mean).mean, [B, *E]."""
        model = self.checked(label)
        return model.decode(model.encode(x).mean).mean
