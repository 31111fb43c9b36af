"""How long it takes to place an image that the model has not seen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vae_run.evaluation.base import metric
from vae_run.evaluation.codes import few

if TYPE_CHECKING:
    from vae_run.evaluation.view import View

IMAGES, ROUNDS = 1024, 3


@metric()
def encode_time(view: View) -> dict[str, float]:
    """`encode_microseconds`: of an image, from pixels on the device to its code `q.mean`.

    In batches of 256, the best of three rounds over up to 1024 images. It is the one figure that
    differs from one evaluation to the next. t-SNE has none: it cannot place a new image.
    """
    view = few(view, IMAGES)
    batches = list(view.batches())
    rounds = []
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        for batch in batches:
            q = view.model.given(batch.given).encode(batch.input)
            float(q.mean.sum())  # waits for the device
        rounds.append(time.perf_counter() - started)
    return {"encode_microseconds": 1e6 * min(rounds[1:]) / view.size}
