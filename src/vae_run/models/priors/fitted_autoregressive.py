"""An autoregressive network over the indices of codes, fitted after the training of a quantiser.

Letters: N codes, L indices of a code, K values of each, H units.
"""

from __future__ import annotations

import copy
import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from vae_run.models.distributions.indices import IndexSpace
from vae_run.models.priors.base import Count
from vae_run.models.priors.fitted import SEED
from vae_run.models.priors.fitted_indices import FittedIndices, log_frequencies

EMBEDDED = 32
"""Numbers that stand for an index at the input of the network."""


class NextIndex(nn.Module):
    """Logits of each index given those before it, by a gated recurrent unit (Cho et al. 2014).

    `marginal` [L, K] are the logits of an index by itself, to which the network's are added.
    """

    marginal: Tensor

    def __init__(self, length: int, codes: int, units: int) -> None:
        super().__init__()
        self.register_buffer("marginal", torch.zeros(length, codes))
        self.index = nn.Embedding(codes + 1, EMBEDDED)  # the last stands before the first index
        self.place = nn.Parameter(torch.zeros(length, EMBEDDED))
        self.state = nn.GRU(EMBEDDED, units, batch_first=True)
        self.head = nn.Linear(units, codes)

    @torch.no_grad()
    def start(self, marginal: Tensor) -> None:
        """Begin with a fixed seed at independent indices, with the logits `marginal`."""
        generator = torch.Generator().manual_seed(SEED)
        bound = 1 / math.sqrt(self.state.hidden_size)
        for name, parameter in self.named_parameters():
            size = 1.0 if name in ("index.weight", "place") else bound
            parameter.uniform_(-size, size, generator=generator)
        for parameter in self.head.parameters():
            parameter.zero_()
        self.marginal.copy_(marginal)

    def inputs(self, before: Tensor, place: slice) -> Tensor:
        """What the network sees at the positions `place` after the indices `before` [n, l]."""
        return self.index(before) + self.place[place]  # type: ignore[no-any-return]

    def forward(self, indices: Tensor) -> Tensor:
        """Logits [n, L, K] of every index of `indices` [n, L] given those before it."""
        first = torch.full_like(indices[:, :1], self.index.num_embeddings - 1)
        before = torch.cat([first, indices[:, :-1]], 1)
        states, _ = self.state(self.inputs(before, slice(None)))
        logits: Tensor = self.marginal + self.head(states)
        return logits

    def log_prob(self, indices: Tensor) -> Tensor:
        """log p of each of `indices` [n, L], in nats, [n]."""
        logs = self(indices).log_softmax(-1)
        found: Tensor = logs.gather(-1, indices[..., None]).sum((1, 2))
        return found

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Indices [n, L], one after the other, with torch's global generator."""
        length, codes = self.marginal.shape
        last = torch.full((n, 1), codes, device=self.marginal.device)
        drawn = list[Tensor]()
        state: Tensor | None = None
        for place in range(length):
            states, state = self.state(self.inputs(last, slice(place, place + 1)), state)
            logits = self.marginal[place] + self.head(states[:, 0])
            last = torch.multinomial(logits.softmax(-1), 1)
            drawn.append(last)
        return torch.cat(drawn, 1)


class Sequences(Distribution):
    """The distribution of the indices [L] that `network` gives."""

    arg_constraints: ClassVar = {}
    support = constraints.nonnegative_integer

    def __init__(self, network: NextIndex) -> None:
        self._network = network
        super().__init__(event_shape=network.marginal.shape[:1], validate_args=False)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        return self._network.sample(shape.numel()).reshape(*shape, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        found = self._network.log_prob(value.flatten(0, -2))
        return found.reshape(value.shape[:-1])


class FittedAutoregressive(FittedIndices):
    """p(i_1) p(i_2|i_1) ... p(i_L|i_1 ... i_(L-1)) by a small recurrent network (`NextIndex`).

    Indices follow row by row; those of the stages of a position are next to each other. The fit
    starts at independent indices (`FittedCodes`) and keeps the weights that are best on every tenth
    code, so it is never worse there. It takes at most `steps` of batch 256, and stops after 250
    steps without improvement.
    """

    fitted_once = True
    description = "an autoregressive network over the codes"
    batch_size, rate, check_every, patience = 256, 5e-3, 50, 5

    def __init__(
        self, *, index_space: IndexSpace | None, units: Count = 128, steps: Count = 1000
    ) -> None:
        super().__init__(index_space)
        self.steps = steps
        with torch.random.fork_rng(devices=[]):  # the model begins as it would without it
            made = NextIndex(self.space.length, self.space.codes, units)
        self.network = made.requires_grad_(False)

    def fit(self, codes: Tensor) -> None:
        """Maximum likelihood of indices `codes`, int64 [N, L], by Adam."""
        codes = codes.cpu()
        aside = torch.arange(len(codes)) % 10 == 9
        train, held_out = codes[~aside], codes[aside] if aside.any() else codes
        with torch.inference_mode(False), torch.enable_grad():
            network = copy.deepcopy(self.network).cpu().requires_grad_(True)
            network.start(log_frequencies(train, self.space))
            self.network.load_state_dict(self._best(network, train.clone(), held_out.clone()))
        self.fitted.fill_(True)

    def _best(self, network: NextIndex, train: Tensor, held_out: Tensor) -> dict[str, Tensor]:
        """Train `network`; the weights with the highest probability of `held_out` on the way."""
        optimizer = torch.optim.Adam(network.parameters(), lr=self.rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        generator = torch.Generator().manual_seed(SEED)
        best, highest, checks = network.state_dict(), -math.inf, 0
        for step in range(self.steps + 1):
            if step % self.check_every == 0:
                with torch.no_grad():
                    parts = [
                        network.log_prob(part) for part in torch.split(held_out, self.batch_size)
                    ]
                value, checks = float(torch.cat(parts).mean()), checks + 1
                if value > highest:
                    best, highest, checks = copy.deepcopy(network.state_dict()), value, 0
                if checks == self.patience:
                    break
            chosen = torch.randint(len(train), (self.batch_size,), generator=generator)
            optimizer.zero_grad()
            (-network.log_prob(train[chosen]).mean()).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
        return best

    def over(self) -> Distribution:
        return Sequences(self.network)
