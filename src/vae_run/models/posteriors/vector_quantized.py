"""Vector quantisation: each vector of a code becomes the nearest of a learned codebook.

Letters: B batch, D latent dimensions, P positions of a code, C numbers of each, S stages, K codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import normalize

from vae_run.models.distributions.indices import Quantized
from vae_run.models.posteriors.base import Project
from vae_run.models.posteriors.codebook import Codebook
from vae_run.models.posteriors.quantized import (
    Positions,
    QuantizedPosterior,
    straight_through,
    unless_divisible,
)

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

Count = Annotated[int, Field(ge=1)]
Codes = Annotated[int, Field(ge=2)]
SHORTEST = 1e-6
"""Length of the encoder's output below which it has no direction."""
FEW = 4
"""Numbers of a vector, unless it is told, where the code is no maps."""
VECTORS_OF_A_CODE = 40
"""Vectors for each code that k-means starts from, at most."""


class VectorQuantizedPosterior(QuantizedPosterior):
    """The nearest of K codes at each position, or the sum of S codewords of as many stages.

    With r_1 the encoder's output at a position and r_(s+1) = r_s - e_s, e_s the nearest code of
    the codebook of stage s (Zeghidour et al. 2021, "SoundStream"; Lee et al. 2022, "RQ-VAE"), the
    loss gets, summed over positions and stages, with sg the stop of gradients,

        commitment |r_s - sg(e_s)|^2,   and with codebook="gradient" |sg(r_s) - e_s|^2

    (van den Oord et al. 2017, eq. 3): squared Euclidean norms, in nats of a normal density with
    variance 1/2 around the code. With codebook="ema" the codes are moving averages (`Codebook`).
    With `rotation` the gradient by the encoder's output is that by the code, rotated and scaled as
    the code is (Fifty et al. 2024).
    """

    def __init__(
        self,
        *,
        features: int,
        latent_dim: int,
        latent_shape: tuple[int, ...] | None = None,
        projection: Project | None = None,
        stages: Count = 1,
        codes: Codes = 512,
        code_dim: Count | None = None,
        commitment: Annotated[float, Field(ge=0)] = 0.25,
        codebook: Literal["gradient", "ema"] = "ema",
        decay: Annotated[float, Field(ge=0, lt=1)] = 0.99,
        init: Literal["kmeans", "random"] = "kmeans",
        revive: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        rotation: bool = False,
    ) -> None:
        super().__init__()
        self.positions = positions_of(latent_shape or (latent_dim,), code_dim)
        self.projection = nn.Linear(features, latent_dim) if projection is None else projection(1)
        self.stages, self._codes, self.commitment = stages, codes, commitment
        self.rotation, self._from_codes = rotation, init == "kmeans"
        self.books = nn.ModuleList(
            Codebook(
                codes, self.positions.size, average=codebook == "ema", decay=decay, revive=revive
            )
            for _ in range(stages)
        )

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        objective, size = settings.classes["objective"], options["code_dim"]
        if not objective.takes_penalties:
            yield (
                f"objective: {objective.__name__} has no place for what a codebook adds to the "
                "loss. Use objective=reconstruction, or posterior=normal."
            )
        if size is not None:
            yield from unless_divisible(settings, size, "code_dim", size)

    @classmethod
    def whole_batches(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        if options["codebook"] == "ema":
            yield "posterior.codebook", "ema", "Use posterior.codebook=gradient"
        if options["revive"] > 0:
            yield "posterior.revive", f"{options['revive']:g}", "Use posterior.revive=0"

    @property
    def codes(self) -> int:
        return self._codes

    def _stages(self, vectors: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """What each stage quantises of `vectors` [*, P, C], its indices [*, P], its codewords."""
        residuals, indices, codewords = list[Tensor](), list[Tensor](), list[Tensor]()
        for book in self._books:
            residuals.append(vectors)
            indices.append(book.nearest(vectors))
            codewords.append(book.codes[indices[-1]])
            vectors = vectors - codewords[-1].detach()
        return residuals, indices, codewords

    def forward(self, features: Tensor) -> Distribution:
        encoded = self.positions.split(self.projection(features).float())
        residuals, indices, codewords = self._stages(encoded)
        for book, left, index in zip(self._books, residuals, indices, strict=True):
            book.see(left, index)
        passed = rotated if self.rotation else straight_through
        value = passed(encoded, torch.stack(codewords).sum(0))
        return Quantized(
            self.positions.join(value),
            torch.stack(indices, -1),
            torch.stack(residuals, -2),
            torch.stack(codewords, -2),
        )

    def penalties(self, q: Distribution) -> dict[str, Tensor]:
        assert isinstance(q, Quantized)
        distance = (q.residuals - q.codewords.detach()).square().sum((1, 2, 3))
        found = {"commitment": self.commitment * distance}
        if not self._books[0].average:
            moved = (q.residuals.detach() - q.codewords).square().sum((1, 2, 3))
            found["codebook"] = moved
        return found

    @property
    def _books(self) -> list[Codebook]:
        return [book for book in self.books if isinstance(book, Codebook)]

    def after_step(self, skipped: Tensor) -> None:
        for book in self._books:
            book.after_step(skipped)

    @property
    def start_size(self) -> int:
        wanted = VECTORS_OF_A_CODE * self.codes
        return -(-wanted // self.positions.count) if self._from_codes else 0

    def start_at(self, found: Sequence[Distribution]) -> None:
        """Set each codebook to the centres of k-means of what the stages before it leave."""
        first = torch.cat([q.residuals[:, :, 0] for q in found if isinstance(q, Quantized)])
        left = first.flatten(0, 1)[: VECTORS_OF_A_CODE * self.codes]
        for book in self._books:
            book.start_at(left)
            left = left - book.codes.detach()[book.nearest(left)]

    def lookup(self, indices: Tensor) -> Tensor:
        indices = indices.reshape(*indices.shape[:-1], self.positions.count, self.stages)
        chosen = [book.codes[indices[..., stage]] for stage, book in enumerate(self._books)]
        return self.positions.join(torch.stack(chosen).sum(0))

    def nearest(self, z: Tensor) -> Tensor:
        *_, codewords = self._stages(self.positions.split(z))
        return self.positions.join(torch.stack(codewords).sum(0))


def positions_of(latent_shape: tuple[int, ...], code_dim: int | None) -> Positions:
    """The positions of a code in vectors of `code_dim` numbers.

    None is the C numbers at each place of maps [C, h, w], or 4 of a code of D numbers, or all D
    where 4 does not divide them.
    """
    if code_dim is None and len(latent_shape) == 1:
        code_dim = latent_shape[0] if latent_shape[0] % FEW else FEW
    return Positions(latent_shape, code_dim or latent_shape[0])


def rotated(encoded: Tensor, quantized: Tensor) -> Tensor:
    """The value of `quantized`, by a rotation and scaling of `encoded` that is held fixed.

    q = (|q| / |e|) R e with R = I - 2 r r^T + 2 q' e'^T, where e' and q' are e and q at length 1
    and r is e' + q' at length 1 (Fifty et al. 2024). The gradient by e is then
    (|q| / |e|) R^T g for the gradient g by q. A vector e of length 0 has no direction to be turned
    from, and the gradient passes straight through, as where an image's border is empty.
    """
    e, q = encoded.detach(), quantized.detach()
    length = e.norm(dim=-1, keepdim=True)
    scale = q.norm(dim=-1, keepdim=True) / length.clamp(min=SHORTEST)
    start, end = normalize(e, dim=-1), normalize(q, dim=-1)
    middle = normalize(start + end, dim=-1)
    along = (encoded * middle).sum(-1, keepdim=True) * middle
    turned = encoded - 2 * along + 2 * (encoded * start).sum(-1, keepdim=True) * end
    return straight_through(torch.where(length < SHORTEST, encoded, scale * turned), quantized)
