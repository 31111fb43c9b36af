"""A normalising flow fitted to the codes of a trained model.

Letters: N codes, D latent dimensions.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from vae_run.models.distributions.flow_kind import FlowKind
from vae_run.models.distributions.planar_flow import PlanarFlow
from vae_run.models.priors.base import HIDDEN, Count, slow_density
from vae_run.models.priors.fitted import SEED, Fitted, covariance_factor

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


class FittedFlow(Fitted):
    """A normalising flow of whitened codes; `kind` as of `Flow`, splines by default.

    The fit starts at the fitted Gaussian and keeps the weights that are best on a validation set,
    every tenth code, so it is never worse there. It takes at most `steps` of batch 256, and stops
    after 250 steps without improvement.
    """

    fitted_once = True
    description = "a flow fitted to the codes"
    loc: Tensor
    factor: Tensor
    batch_size, rate, check_every, patience = 256, 5e-3, 50, 5

    def __init__(
        self,
        *,
        latent_dim: int,
        transforms: Count = 3,
        hidden: list[Count] = HIDDEN,
        steps: Count = 1000,
        kind: FlowKind = "spline",
    ) -> None:
        from vae_run.models.distributions.spline_flow import Flow

        super().__init__()
        self.steps = steps
        self.register_buffer("loc", torch.zeros(latent_dim))
        self.register_buffer("factor", torch.eye(latent_dim))
        self.flow = Flow(latent_dim, 0, transforms, hidden, kind).requires_grad_(False)

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        key = "prior.kind" if settings.classes["prior"] is cls else "sampler.kind"
        yield from slow_density(options["kind"], key)

    def fit(self, codes: Tensor) -> None:
        """Maximum likelihood on `codes` [N, D] by Adam, from a fixed initialisation."""
        loc, factor = covariance_factor(codes)
        self.loc.copy_(loc)
        self.factor.copy_(factor)
        white = torch.linalg.solve_triangular(factor, (codes.cpu().double() - loc).T, upper=False)
        white = white.T.float()
        held_out = torch.arange(len(white)) % 10 == 9
        with torch.inference_mode(False), torch.enable_grad():
            flow = copy.deepcopy(self.flow).cpu().requires_grad_(True)
            _start_at_identity(flow)
            best = self._optimised(
                flow, white[~held_out], white[held_out] if held_out.any() else white
            )
        self.flow.load_state_dict(best)
        self.fitted.fill_(True)

    def _optimised(self, flow: Any, train: Tensor, held_out: Tensor) -> dict[str, Tensor]:
        """Train `flow`; the weights with the highest mean log-density of `held_out` on the way."""
        optimizer = torch.optim.Adam(flow.parameters(), lr=self.rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        best: dict[str, Tensor] = flow.state_dict()
        highest, checks = -math.inf, 0
        batches = _batches(train, self.batch_size)
        for step in range(self.steps + 1):
            if step % self.check_every == 0:
                with torch.no_grad():
                    density = float(flow().log_prob(held_out).mean())
                checks += 1
                if density > highest:
                    best, highest, checks = copy.deepcopy(flow.state_dict()), density, 0
                if checks == self.patience:
                    break
            optimizer.zero_grad()
            (-flow().log_prob(next(batches)).mean()).backward()
            nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            optimizer.step()
            schedule.step()
        return best

    def density(self) -> Distribution:
        return Coloured(self.flow(), self.loc, self.factor)


def _start_at_identity(flow: nn.Module) -> None:
    """Initialise with a fixed seed, as the identity: zeros in last layers make splines linear."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for network in (m for m in flow.modules() if isinstance(m, nn.Sequential)):
            layers = [m for m in network if isinstance(m, nn.Linear)]
            for layer in layers:
                bound = 1 / math.sqrt(layer.in_features)
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)
            for parameter in layers[-1].parameters() if layers else ():
                parameter.zero_()
        for planes in (m for m in flow.modules() if isinstance(m, PlanarFlow)):
            planes.reset(generator)
        for free in (m for m in flow.modules() if isinstance(m, nn.ParameterList)):
            for parameter in free:  # a flow of one dimension has no network
                parameter.zero_()


def _batches(codes: Tensor, size: int) -> Iterator[Tensor]:
    """Endless batches of `codes`, shuffled in every pass with a fixed seed."""
    generator = torch.Generator().manual_seed(SEED)
    while True:
        yield from torch.split(codes[torch.randperm(len(codes), generator=generator)], size)


class Coloured(Distribution):
    """The distribution of loc + factor u, [D], with u from `white`, factor lower triangular."""

    arg_constraints: ClassVar = {}
    support = constraints.real_vector

    def __init__(self, white: Distribution, loc: Tensor, factor: Tensor) -> None:
        self.white, self.loc, self.factor = white, loc, factor
        super().__init__(event_shape=loc.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.loc + self.factor @ self.white.mean

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        drawn = self.white.sample(torch.Size(sample_shape))
        with torch.autocast(drawn.device.type, enabled=False):
            return self.loc + drawn @ self.factor.T

    def log_prob(self, value: Tensor) -> Tensor:
        centred = (value - self.loc).reshape(-1, value.shape[-1])
        white = torch.linalg.solve_triangular(self.factor, centred.T, upper=False).T
        density: Tensor = self.white.log_prob(white.reshape(value.shape))
        return density - self.factor.diagonal().log().sum()
