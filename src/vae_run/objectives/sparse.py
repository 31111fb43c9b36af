"""Sparse autoencoders: what keeps few units of an overcomplete code active.

Letters: B batch, D units of the code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import relu

from vae_run.data.batches import Batch
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.posteriors import SparseCode, Sparsity
from vae_run.objectives.base import Epoch, NonNegative, Objective, Terms, unless_trained

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


@dataclass(kw_only=True)
class Sparse(Objective):
    """loss = -log p(x|z) + sparsity_loss, for the codes z of `posterior=sparse`.

    By `sparsity`, `sparsity_loss` is

    - l1: `weight` |z|_1, with columns of the decoder of norm 1 (Olshausen & Field 1996; Bricken et
      al. 2023), so that it cannot be lowered by scaling;
    - kl: `weight` sum_d KL(rho || rho_d) of Bernoulli variables, rho_d the mean activation of unit
      d over the batch (Ng 2011, "Sparse autoencoder", section 3);
    - topk and batch_topk: `aux_weight` times the auxiliary loss for dead units (`with_dead_units`),
      as the units themselves keep `k` active;
    - jumprelu: `weight` |z|_0 (Rajamanoharan et al. 2024, eq. 9).

    `l0`, the number of active units, is reported too. `k` is read by the posterior.
    """

    samples = 0  # codes are deterministic
    shares_batches: ClassVar[bool] = False  # means over the batch, its largest units, its dead ones
    batched: ClassVar[tuple[str, ...]] = ("weight",)
    sparsity: Sparsity = "topk"
    k: Annotated[int, Field(ge=1)] | None = None
    weight: NonNegative = 0.1
    rho: Annotated[float, Field(gt=0, lt=1)] = 0.05
    aux_weight: NonNegative = 1 / 32
    aux_k: Annotated[int, Field(ge=1)] | None = None

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from unless_trained(settings, "sparse")
        posterior = settings.classes["posterior"]
        if not posterior.sparse:
            yield (
                f"posterior: found {posterior.__name__}, whose codes have no active units, which "
                "objective=sparse counts. Use posterior=sparse, or model=sparse_ae."
            )

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        q = model.encode(batch.input)
        assert isinstance(q, SparseCode)
        if self.sparsity in ("topk", "batch_topk") and self.aux_weight:
            most = default_aux_k(batch.target) if self.aux_k is None else self.aux_k
            reconstruction, gain = with_dead_units(model, batch, q, most)
            added = self.aux_weight * gain
        else:
            reconstruction = -model.decode(q.code).log_prob(batch.target)
            added = self._penalty(q).expand_as(reconstruction)
        return {
            "loss": reconstruction + added,
            "reconstruction": reconstruction,
            "sparsity_loss": added,
            "l0": q.active.detach().sum(-1),
        }

    def _penalty(self, q: SparseCode) -> Tensor:
        """What is added to the loss of each image [B], or of all alike []."""
        if self.sparsity == "l1":
            return self.weight * q.mean.abs().sum(-1)
        if self.sparsity == "kl":
            return self.weight * bernoulli_kl(self.rho, q.mean.mean(0)).sum()
        if self.sparsity == "jumprelu":
            return self.weight * q.active.sum(-1)
        return q.mean.new_zeros(())


def default_aux_k(inputs: Tensor) -> int:
    """Half of the numbers of an input of [B, *E], and at least one (Gao et al. 2024, A.2)."""
    return max(1, inputs[0].numel() // 2)


def bernoulli_kl(rho: float, mean: Tensor) -> Tensor:
    """KL of Bernoulli variables, rho log(rho / m) + (1 - rho) log((1 - rho) / (1 - m)), [D]."""
    mean = mean.clamp(1e-7, 1 - 1e-7)
    chance = torch.as_tensor(rho, dtype=mean.dtype, device=mean.device)
    off = (1 - chance) * ((1 - chance).log() - torch.log1p(-mean))
    return chance * (chance.log() - mean.log()) + off


def with_dead_units(
    model: LatentVariableModel, batch: Batch, q: SparseCode, most: int
) -> tuple[Tensor, Tensor]:
    """-log p(x|z), and what dead units could add, -log p(x|z + a) + log p(x|z); each [B].

    a are the activations of the `most` dead units that receive most of an image (AuxK, Gao et al.
    2024, appendix A.2). In the encoder the second has a gradient for them alone; in the decoder for
    all that it reads, as z is held fixed there and the columns are not. Of a linear decoder and a
    normal likelihood it is (|e - W a|^2 - |e|^2) / (2 sigma^2), with the error e of the
    reconstruction: the paper's, up to its constant. A unit counts as dead that is active for no
    image of the batch, so that nothing has to be counted from step to step; a rare one gets the
    same small gradient now and then.
    """
    dead = (q.active.detach().sum(0) == 0).float()
    added = relu(q.raw) * dead
    if most < added.shape[-1]:
        values, index = added.topk(most, dim=-1)
        added = torch.zeros_like(added).scatter(-1, index, values)
    codes = (q.beside_raw, q.mean.detach() + added)
    reconstruction, helped = (-model.decode(z).log_prob(batch.target) for z in codes)
    anyone = (added.detach().sum(-1) > 0).float()
    return reconstruction, anyone * (helped - reconstruction.detach())
