"""Sparse codes: deterministic ones, of whose many units few are active for an image.

Letters: B batch, D units of the code, F features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import relu

from vae_run.models.distributions.degenerate import Delta
from vae_run.models.networks.active_units import ActiveUnits, found_by, worthwhile
from vae_run.models.posteriors.base import Posterior, Project
from vae_run.models.posteriors.units import UNITS, BatchTopK, Sparsity, TopK, active_of

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


class SparseCode(Delta):
    """A point, with what made it.

    Attributes:
        raw: what the units receive, [B, D].
        active: 1.0 where a unit is active, else 0.0, [B, D].
        code: the point, [B, D], to decode; as its few units where these are decoded faster.
        beside_raw: the same, for a loss that uses `raw` too: then one gradient of the layer that
            makes `raw` serves for both. That of `code` is one of the active units alone.
    """

    def __init__(
        self,
        value: Tensor,
        raw: Tensor,
        active: Tensor,
        code: ActiveUnits | None = None,
        beside_raw: ActiveUnits | None = None,
    ) -> None:
        self.raw, self.active = raw, active
        self.code = value if code is None else code
        self.beside_raw = self.code if beside_raw is None else beside_raw
        super().__init__(value, validate_args=False)


def default_k(latent_dim: int) -> int:
    """Active units where their number is not given: of 32 units one, and at least one."""
    return max(1, latent_dim // 32)


class SparsePosterior(Posterior):
    """A deterministic code z = f(W h + b) of many units, few of them active.

    `sparsity` chooses f, the one that belongs to the same key of the objective, which has the
    penalties: l1 and kl leave the number of active units to them, topk and batch_topk set it to
    `k`, jumprelu learns a threshold for each unit.

    With `unit_norm` the decoder's columns, the directions that units add to an image, have norm 1
    (`weight_constraints.unit_columns`). Without it a penalty could be avoided by small activations
    and large columns, and a threshold by large activations and small columns.
    """

    stochastic = False
    sparse = True

    def __init__(
        self,
        *,
        features: int,
        latent_dim: int,
        projection: Project | None = None,
        sparsity: Sparsity = "topk",
        k: Annotated[int, Field(ge=1)] | None = None,
        unit_norm: bool = True,
        threshold: Annotated[float, Field(gt=0)] = 0.1,
        bandwidth: Annotated[float, Field(gt=0)] = 0.1,
    ) -> None:
        super().__init__()
        self.projection = nn.Linear(features, latent_dim) if projection is None else projection(1)
        active = default_k(latent_dim) if k is None else k
        self.units = UNITS[sparsity](latent_dim, active, threshold, bandwidth)
        self.unit_columns = unit_norm

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        objective, network = settings.parts["objective"], settings.build("network")
        if "sparsity" not in objective:
            yield (
                f"objective: found {settings.classes['objective'].__name__}, which has no penalty "
                "for posterior=sparse. Use objective=sparse, or posterior=delta."
            )
            return
        for key in ("sparsity", "k"):
            if options[key] != objective[key]:
                yield (
                    f"posterior.{key}: found {options[key]}, but objective.{key} is "
                    f"{objective[key]}. Say objective.{key}=..., which posterior.{key} follows."
                )
        k, latent_dim = options["k"], settings.fixed.latent_dim
        if k is not None and k > latent_dim:
            yield f"objective.k: found {k}, but the code has {latent_dim} units (latent_dim)."
        for name in ("tied", "spectral_norm"):
            if options["unit_norm"] and getattr(network, name, False):
                yield (
                    f"network.{name}: found true, but the decoder's columns have norm 1 "
                    "(posterior.unit_norm). Leave one of them false."
                )

    def forward(self, features: Tensor) -> SparseCode:
        raw = self.projection(features).float()
        layer, units = self.projection, self.units
        if not isinstance(units, TopK) or not worthwhile(units.k, raw.shape[-1], raw.device):
            value, active = units(raw)
            return SparseCode(value, raw, active)
        code = few = units.largest(raw)
        value = few.codes()
        if isinstance(layer, nn.Linear):
            code = few.having(relu(found_by(layer, features.float(), few.values, few.index)))
        return SparseCode(value, raw, active_of(value), code, few)

    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        return q.mean.expand(noise.shape)

    def nearest(self, z: Tensor) -> Tensor:
        nearest: Tensor = self.units.nearest(z)
        return nearest

    @property
    def calibrated(self) -> bool:
        return isinstance(self.units, BatchTopK)

    def calibrate(self, posteriors: Iterable[Distribution]) -> None:
        assert isinstance(self.units, BatchTopK)
        self.units.calibrate(q.raw for q in posteriors if isinstance(q, SparseCode))
