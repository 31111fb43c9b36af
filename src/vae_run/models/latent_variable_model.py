"""The model class: encoder, posterior, prior, decoder and likelihood.

Letters: K samples, B batch, D latent dimensions, E event shape (C, H, W) or (F,), Y classes,
P entries of the vector that a conditional model is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_run.data.conditions import LABEL, Conditions
from vae_run.errors import ConfigError
from vae_run.models.likelihoods import Likelihood
from vae_run.models.networks import Decoder, Encoder, Network, flatten_samples
from vae_run.models.networks.active_units import ActiveUnits, reads_units
from vae_run.models.networks.skip import Seen, decoded, has_skips, seen
from vae_run.models.posteriors import Posterior
from vae_run.models.priors import Prior

Given = Tensor | Sequence[int] | int | Mapping[str, Any]


@final
class LatentVariableModel(nn.Module):
    """p(x|z) p(z) with the approximate posterior q(z|x). Returns distributions, not losses.

    With `classes`, the labels of the training images, encoder and decoder are conditioned on the
    label y of an image, a one-hot vector: p(x|z, y) p(z) with q(z|x, y) (Kingma et al. 2014; Sohn
    et al. 2015). `join` combines it with the image; to the code it is concatenated.

    With `skips`, the decoder sees the encoder's maps of an image x~ beside the code, p(x|z, x~):
    decode with `beside(x~)`.

    With `conditions`, the vector [P] of several conditions takes the place of y. Where labels are
    named below, such a model takes {condition: value}, or these vectors, float [*, P].

    `critic`, a network of the objective's own (`Objective.critic`), has no part in p and q: it is
    here because it is trained, saved and resumed with the model.
    """

    classes: Tensor | None
    examples: Tensor | None

    def __init__(
        self,
        encoder: Encoder,
        posterior: Posterior,
        prior: Prior,
        decoder: Decoder,
        likelihood: Likelihood,
        *,
        classes: Sequence[int] | None = None,
        conditions: Conditions | None = None,
        join: Callable[[Tensor, Tensor], Tensor] = Network.join,
        critic: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.posterior, self.prior = encoder, posterior, prior
        self.decoder, self.likelihood, self.critic = decoder, likelihood, critic
        known = None if classes is None else torch.tensor(classes)
        self.register_buffer("classes", known, persistent=False)
        self.conditions = conditions
        examples = None if conditions is None else conditions.examples
        self.register_buffer("examples", examples, persistent=False)
        self.skips = has_skips(decoder)
        self._reads_units = reads_units(decoder, likelihood.projection)
        self._join = join
        self._vector: Tensor | None = None
        self._seen: Seen | None = None

    @property
    def conditional(self) -> bool:
        """Whether encoder and decoder have to be given something."""
        return self.classes is not None or self.conditions is not None

    @property
    def labels(self) -> list[int] | None:
        """The labels that may be given, in rising order; None for a model that is given none."""
        if self.classes is not None:
            return [int(label) for label in self.classes]
        columns = () if self.conditions is None else self.conditions.columns.columns
        found = [column.categories or () for column in columns if column.name == LABEL]
        return [int(name) for name in found[0]] if found else None

    def given(self, label: Tensor | None) -> LatentVariableModel:
        """The model conditioned on `label`, int64 [B] or [], or float [B, P], with the same parts.

        An unconditional model is returned unchanged. Labels are not checked against `classes`,
        which would synchronise with the device; `encode(x, label)`, `decode`, `sample` and
        `reconstruct` check them.
        """
        if not self.conditional:
            return self
        if label is None:
            key, needed = (
                ("condition=label", "labels")
                if self.conditions is None
                else ("condition", "its conditions")
            )
            raise ConfigError(f"{key}: the model needs {needed}, and these data have none.")
        model = self._with_same_parts()
        model._vector = (
            label if self.classes is None else (label[..., None] == self.classes).float()
        )
        return model

    def beside(self, x: Tensor) -> LatentVariableModel:
        """The model whose decoder sees the encoder's maps of images x [B, *E], with the same parts.

        Without skip connections (`skips`) it is the model itself. The encoder processes x here; of
        the same tensor `encode` then takes the features.
        """
        if not self.skips:
            return self
        model = self._with_same_parts()
        model._vector = self._vector
        model._seen = seen(self.encoder, x, self._joined(x))
        return model

    def _with_same_parts(self) -> LatentVariableModel:
        parts = (self.encoder, self.posterior, self.prior, self.decoder, self.likelihood)
        return LatentVariableModel(*parts, join=self._join, critic=self.critic)

    def checked(self, label: Given | None) -> LatentVariableModel:
        """`given(label)` after a check of the labels; the model itself for None.

        Raises:
            ConfigError: a label is unknown, or the model is not conditional.
        """
        if label is None:
            return self
        if self.conditions is not None:
            return self.given(self._checked_vector(label, self.conditions))
        if self.classes is None or isinstance(label, Mapping):
            raise ConfigError("label: the model is not conditional (it has no condition=label).")
        labels = torch.as_tensor(label, dtype=torch.long, device=self.classes.device)
        strange = sorted(set(labels[~torch.isin(labels, self.classes)].tolist()))
        if strange:
            raise ConfigError(
                f"label: found {str(strange)[1:-1]}; the classes of the model are "
                f"{str(self.classes.tolist())[1:-1]}."
            )
        return self.given(labels)

    def _checked_vector(self, given: Given, conditions: Conditions) -> Tensor:
        """What `given` says of each of several conditions, float32 [P] or [B, P]."""
        entries = len(conditions.columns.features)
        if isinstance(given, Mapping):
            try:
                vector = conditions.vector(given)
            except ValueError as error:
                raise ConfigError(f"given: {error}.") from error
            assert self.examples is not None, "conditions have examples"
            return vector.to(self.examples.device)
        if isinstance(given, Tensor) and given.is_floating_point() and given.shape[-1] == entries:
            return given
        raise ConfigError(
            f"label: the model has the conditions {', '.join(conditions.names)}; give it "
            f"{{condition: value}}, or vectors [*, {entries}]."
        )

    def encode(self, x: Tensor, label: Given | None = None) -> Distribution:
        """q(z|x) over [B, D] of images x [B, *E], pixels in [0, 1]; `label` [B] or one for all."""
        if self._seen is not None and self._seen.x is x and label is None:
            features = self._seen.features
        else:
            features = self.encoder(self.checked(label)._joined(x))
        q: Distribution = self.posterior(features)
        return q

    def _joined(self, x: Tensor) -> Tensor:
        """The encoder's input for images x [B, *E]: with what is given, in a conditional model."""
        vector = self._condition(x.shape[:1])
        return x if vector is None else self._join(x, vector)

    def decode(self, z: Tensor | ActiveUnits, label: Given | None = None) -> Distribution:
        """p(x|z) [*K, B, *E] of codes z [*K, B, D] or of few units; `label` [B] or one for all."""
        parameters = self.likelihood.projection(self.decoder_features(z, label))
        p: Distribution = self.likelihood(parameters.unflatten(0, z.shape[:-1]))
        return p

    def decoder_features(self, z: Tensor | ActiveUnits, label: Given | None = None) -> Tensor:
        """The decoder's features, that the likelihood's `projection` takes, [N, ...]; N = *K B."""
        vector = self.checked(label)._condition(z.shape[:-1])
        if isinstance(z, ActiveUnits):
            if vector is None and self._reads_units:
                features: Tensor = self.decoder(z)
                return features
            z = z.codes()
        z = self.posterior.read(z)
        if vector is not None:
            z = torch.cat([z, vector], -1)
        if self.skips:
            return decoded(self.decoder, z, self._seen)
        features = self.decoder(flatten_samples(z))
        return features

    def _condition(self, shape: torch.Size) -> Tensor | None:
        """What is given, [*K, B, P] for `shape` [*K, B]; None for an unconditional model."""
        if self.classes is not None:
            raise ConfigError("condition=label: the model needs the images' classes: give label=.")
        if self.conditions is not None:
            names = ", ".join(self.conditions.names)
            raise ConfigError(f"condition: the model needs the images' {names}: give them.")
        vector = self._vector
        if vector is None:
            return None
        if vector.dim() == 2 and vector.shape[0] != shape[-1]:  # `len` is constant when traced
            raise ConfigError(f"label: found {vector.shape[0]} labels for {shape[-1]} images.")
        return vector.expand(*shape, -1)

    def latent_prior(self) -> Distribution:
        """p(z) over [D]; for a model without a prior, the density fitted to its codes."""
        p: Distribution = self.prior()
        return p

    def in_turn(self, n: int) -> Tensor | None:
        """n labels that cycle through the classes, int64 [n]; None for an unconditional model.

        Of several conditions those of the examples in turn, float32 [n, P].
        """
        known = self.classes if self.examples is None else self.examples
        return None if known is None else known[torch.arange(n, device=known.device) % len(known)]

    def after_step(self, skipped: Tensor) -> None:
        """Let the parts change what no gradient changes (`Posterior.after_step`)."""
        self.posterior.after_step(skipped)

    @torch.no_grad()
    def sample(self, n: int, label: Given | None = None) -> Tensor:
        """n images [n, *E]: means of p(x|z), with z from the prior by torch's global generator.

        `label` is one for all or [n]; without it a conditional model cycles through its classes,
        or through the conditions of training images.
        """
        label = self.in_turn(n) if label is None else label
        z = self.posterior.nearest(self.latent_prior().sample((n,)))
        return self.decode(z, label).mean

    @torch.no_grad()
    def reconstruct(self, x: Tensor, label: Given | None = None) -> Tensor:
        """decode(encode(x).mean).mean, [B, *E]."""
        model = self.checked(label).beside(x)
        return model.decode(model.encode(x).mean).mean
