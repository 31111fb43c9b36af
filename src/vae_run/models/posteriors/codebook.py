"""A codebook: the vectors that a quantiser chooses from, and how they are learned.

Letters: N vectors, K codes, C numbers of a code.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn

SEED = 0
START_ITERATIONS = 25
"""Iterations of k-means at most, for the start."""


class Codebook(nn.Module):
    """K codes of C numbers each.

    Without `average` they are a parameter. With it they follow the vectors that chose them (van den
    Oord et al. 2017, appendix A.1): for n_k vectors with the sum t_k in a batch,

        N_k <- decay N_k + (1 - decay) n_k,   m_k <- decay m_k + (1 - decay) t_k,   e_k = m_k / N_k.

    A code with N_k below `revive` times the mean of N is taken for dead: it is replaced by a vector
    of the batch, with N_k at that bound. What this needs of a batch is added up by `see`, which the
    forward pass calls in training, and used by `after_step`.
    """

    codes: Tensor
    sizes: Tensor
    sums: Tensor
    counts: Tensor
    totals: Tensor
    candidates: Tensor
    places: Tensor

    def __init__(
        self, codes: int, size: int, *, average: bool, decay: float, revive: float
    ) -> None:
        super().__init__()
        self.average, self.decay, self.revive = average, decay, revive
        drawn = torch.empty(codes, size).uniform_(-1 / codes, 1 / codes)
        if average:
            self.register_buffer("codes", drawn)
            self.register_buffer("sums", drawn.clone())
            self.register_buffer("totals", torch.zeros(codes, size))
        else:
            self.codes = nn.Parameter(drawn)
        if self.changes:
            self.register_buffer("sizes", torch.ones(codes))
            self.register_buffer("counts", torch.zeros(codes))
        if revive:
            self.register_buffer("candidates", torch.zeros(codes, size))
            golden = torch.arange(1, codes + 1).double() * (math.sqrt(5) - 1) / 2
            self.register_buffer("places", (golden % 1).float(), persistent=False)

    @property
    def changes(self) -> bool:
        """Whether `after_step` does anything."""
        return self.average or self.revive > 0

    def nearest(self, vectors: Tensor) -> Tensor:
        """The index of the code nearest to each of `vectors` [*, C], int64 [*]."""
        codes, flat = self.codes.detach(), vectors.detach().flatten(0, -2)
        with torch.autocast(vectors.device.type, enabled=False):
            distances = torch.addmm(codes.square().sum(-1), flat, codes.T, alpha=-2)
        return distances.argmin(-1).view(vectors.shape[:-1])

    @torch.no_grad()
    def see(self, vectors: Tensor, indices: Tensor) -> None:
        """Add up, for the next `after_step`, which codes `vectors` [*, C] chose: `indices` [*]."""
        if not (self.training and self.changes):
            return
        vectors, indices = vectors.flatten(0, -2), indices.flatten()
        chosen = vectors.new_zeros(len(vectors), len(self.codes))
        chosen.scatter_(-1, indices[:, None], 1.0)  # index_add on a GPU would add in any order
        self.counts.add_(chosen.sum(0))
        if self.average:
            with torch.autocast(vectors.device.type, enabled=False):
                self.totals.add_((vectors.T @ chosen).T)
        if self.revive:  # spread over the batch: consecutive vectors may be of one image
            places = (self.places * len(vectors)).long().clamp(max=len(vectors) - 1)
            self.candidates.copy_(vectors[places])

    @torch.no_grad()
    def after_step(self, skipped: Tensor) -> None:
        """Update the codes by what `see` added up, unless `skipped`, a float [], is 1."""
        if not self.changes:
            return
        sizes = self.decay * self.sizes + (1 - self.decay) * self.counts
        now: dict[str, Tensor] = {"sizes": sizes, "codes": self.codes}
        if self.average:
            sums = self.decay * self.sums + (1 - self.decay) * self.totals
            # m / N of a code that no vector chose stays what it is, while both fall to 0.
            moved = torch.where(self.counts[:, None] > 0, sums / sizes[:, None], self.codes)
            now |= {"sums": sums, "codes": moved}
        if self.revive:
            bound = self.revive * sizes.mean()
            dead = sizes < bound
            now["codes"] = torch.where(dead[:, None], self.candidates, now["codes"])
            now["sizes"] = torch.where(dead, bound, sizes)
            if self.average:
                fresh = bound * self.candidates
                now["sums"] = torch.where(dead[:, None], fresh, now["sums"])
        taken = skipped == 0
        for name, value in now.items():
            held = getattr(self, name)
            held.copy_(torch.where(taken, value, held))
        self.counts.zero_()
        if self.average:
            self.totals.zero_()

    @torch.no_grad()
    def start_at(self, vectors: Tensor) -> None:
        """Set the codes to the centres of k-means of `vectors` [N, C] with a fixed seed.

        Where there are fewer than K different vectors, the other codes keep what they were.
        """
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        points = vectors.detach().cpu().double().numpy()
        found = KMeans(
            min(len(self.codes), len(points)),
            n_init=1,
            max_iter=START_ITERATIONS,
            random_state=SEED,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            centres = torch.from_numpy(found.fit(points).cluster_centers_)
        self.codes[: len(centres)] = centres.to(self.codes)
        if self.average:
            self.sums.copy_(self.codes * self.sizes[:, None])
