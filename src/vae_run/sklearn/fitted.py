"""A trained model that needs no run directory any more: applied to rows of X, and pickled.

Letters: n rows, D latent dimensions, B batch, E event shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.config.check import check
from vae_run.config.renamed import ADDED
from vae_run.corruptions import NoCorruption
from vae_run.data.batches import Batch, evaluation_batches
from vae_run.data.splits import Split
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics.anomaly import MOST, has_bound, scores_of_batch
from vae_run.runs import checkpoint_file
from vae_run.runs.load import load_model, scaling_of
from vae_run.runs.run_directory import RunDirectory
from vae_run.sklearn.rows import Rows

PICKLED = Path("the pickled Autoencoder")
"""What messages call the place of weights that came out of a pickle."""
MODEL = "model"
"""Where a checkpoint has the weights."""
_ROUNDING = 1e-6
"""How far float rounding alone can carry scaled training values out of [0, 1]."""


class Fitted:
    """A trained model and what was done to its data.

    Attributes:
        model: in eval mode.
        config: of its run, nested.
        rows: how rows of X are its events.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        state: Mapping[str, Any],
        rows: Rows,
        trust: Iterable[str] | None,
        file: Path = PICKLED,
    ) -> None:
        """The model that `config` describes.

        Args:
            config: of a run.
            state: of its checkpoint.
            rows: how rows of X are its events.
            trust: packages besides vae-run whose classes `config` may name; None: all.
            file: where `state` is from, for messages.
        """
        settings = check(config, trust=trust, trained=True)
        white = state.get("white")
        self.rows = rows if white is None else replace(rows, white=int(white))
        self.config = dict(config)
        self.model = load_model(settings, state, file).eval()
        self._about = {key: value for key, value in state.items() if key != MODEL}
        self._scaling = scaling_of(state)
        self._trust = None if trust is None else tuple(trust)
        self._batch_size = int(settings.parts["evaluation"]["batch_size"])
        self.size = settings.fixed.latent_dim
        """D."""
        likelihood: Any = settings.classes["likelihood"]
        self._unit = bool(likelihood.unit_interval)

    @classmethod
    def of(cls, run: RunDirectory, rows: Rows) -> Fitted:
        """The best checkpoint of a run that this process has trained."""
        state = checkpoint_file.read(run.best)
        kept = {MODEL, *_ABOUT} & state.keys()
        return cls(
            {**run.located(), **ADDED}, {key: state[key] for key in kept}, rows, None, run.best
        )

    def __getstate__(self) -> dict[str, Any]:
        """Plain values and tensors on the CPU: parametrised modules cannot be pickled."""
        weights = {name: value.cpu() for name, value in self.model.state_dict().items()}
        return {
            "config": self.config,
            "state": {**self._about, MODEL: weights},
            "rows": self.rows,
            "trust": self._trust,
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(chain(self.model.parameters(), self.model.buffers())).device

    @property
    def bounded(self) -> bool:
        """Whether the family has an ELBO."""
        return has_bound(self.model)

    def codes(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Means of q(z|x), [n, D]."""
        return self._applied(X, lambda x: self.model.encode(x).mean)

    def reconstructed(self, Z: NDArray[Any]) -> NDArray[np.float64]:
        """Rows in the units of X, decoded from codes Z [n, D]."""
        decoded = list[Tensor]()
        with evaluating(self.model):
            z = torch.from_numpy(np.asarray(Z, dtype=np.float32))
            for start in range(0, len(z), self._batch_size):
                batch = z[start : start + self._batch_size].to(self.device)
                decoded.append(self.model.decode(batch).mean.cpu())
        events = torch.cat(decoded)
        return self.rows.back(events if self._scaling is None else self._scaling.raw(events))

    def scores(self, X: NDArray[Any], metric: str) -> NDArray[np.float64]:
        """Anomaly scores `elbo` (its negative) or `mse`, [n], higher for stranger rows.

        The ELBO is estimated with one posterior sample of each row, by the noise that
        `task=score` has for the first row of a file. It is the same for all rows, so that the score
        of a row does not depend on the rows around it.
        """
        one = Split(torch.zeros(1, *self._event_shape))
        first = next(
            evaluation_batches(one, NoCorruption(), batch_size=1, noise=(1, self.size))
        ).noise

        def scored(x: Tensor) -> Tensor:
            noise = first.to(x.device).expand(-1, len(x), -1)
            return scores_of_batch(self.model, Batch(x, x, noise))[metric]

        return np.nan_to_num(self._applied(X, scored), nan=MOST, posinf=MOST, neginf=-MOST)

    @property
    def _event_shape(self) -> tuple[int, ...]:
        return tuple(self._about["event_shape"])

    def _applied(self, X: NDArray[Any], call: Callable[[Tensor], Tensor]) -> NDArray[np.float64]:
        """What `call` makes of X in batches."""
        self.rows.warn_if_nearly_black(X)
        with evaluating(self.model):
            found = [call(x).cpu().double() for x in self._batches(X)]
        return torch.cat(found).numpy()

    def _batches(self, X: NDArray[Any]) -> Iterator[Tensor]:
        """X as the model's inputs, float32 [B, *E], on its device.

        Raises:
            ValueError: X has others than the likelihood, or the pixels of `fit`, can be.
        """
        exact = self._scaling is not None and self._scaling.exact
        for start in range(0, len(X), self._batch_size):
            events = self.rows.events(X[start : start + self._batch_size], exact=exact)
            scaled = events if self._scaling is None else self._scaling.scaled(events)
            yield (self._in_unit_interval(scaled) if self._unit else scaled).to(self.device)

    def _in_unit_interval(self, x: Tensor) -> Tensor:
        """x, without what rounding has carried scaled values out of [0, 1].

        Raises:
            ValueError: x leaves [0, 1] by more.
        """
        room = 0.0 if self._scaling is None else _ROUNDING
        low, high = float(x.min()), float(x.max())
        if low >= -room and high <= 1 + room:
            return x.clamp(0, 1)
        if self._scaling is None:
            raise ValueError(
                f"X has values in [{low:.4g}, {high:.4g}], but the likelihood is one of pixels "
                "in [0, 1]. Scale X as that of fit was, or use likelihood='gaussian'."
            )
        raise ValueError(
            "X has values outside of the training range, which "
            f"scale={self._scaling.kind!r} maps to [0, 1] (it maps those of X to [{low:.4g}, "
            f"{high:.4g}]), but the likelihood is one of pixels in [0, 1]. Clip X to the range "
            "that X of fit had, or use likelihood='gaussian'."
        )


_ABOUT = (
    *("event_shape", "levels", "extent", "classes", "conditions", "class_names", "columns"),
    *("table", "scaling", "white", "format"),
)
"""What a checkpoint says of the data (`training.experiment.Experiment.about`)."""
