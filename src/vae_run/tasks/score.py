"""`task=score run=DIR input=FILE output=FILE`: anomaly scores of your own images, strangest first.

Letters: N images, F entries of a vector.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run import plots
from vae_run.config.invocation import Call
from vae_run.config.schema import Score
from vae_run.data.batches import NOISE_CHUNK
from vae_run.data.user_input import UserImages
from vae_run.errors import ConfigError
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics.anomaly import MOST, model_scores
from vae_run.evaluation.metrics.log_likelihood import each_image
from vae_run.evaluation.table_rows import of_rows
from vae_run.system.array_archive import MARK
from vae_run.system.files import write_png
from vae_run.system.nouns import counted, speaking_of
from vae_run.tasks.own_images import identity, inputs_of, own_images, refuse_other_levels
from vae_run.tasks.own_rows import largest_contributions
from vae_run.tasks.trained_model import Trained, trained
from vae_run.tasks.user_files import TABLES, check_output, write_rows, write_table

log = logging.getLogger("vae_run")

UNITS = {
    "mse": "squared error per pixel",
    "elbo": "negative ELBO, nats",
    "log_likelihood": "negative log-likelihood, nats",
}
"""What each score is, and its unit; higher is stranger."""
SHOWN = 48
"""Images on the sheet at most."""


def main(call: Call) -> None:
    """Write `score`, higher for stranger images, its parts, and what tells the images apart.

    The score is that of `metric`, as the metric `anomaly` has it: the negative ELBO with one
    posterior sample (`reconstruction` + `kl`), in nats per image, where the family has an ELBO,
    else the squared error per pixel of the reconstruction.
    """
    fixed = call.settings.of(Score)
    inputs = inputs_of(fixed.input)
    path = check_output(fixed.output, (*TABLES, ".json"), overwrite=fixed.overwrite, inputs=inputs)
    sheet = sheet_file(fixed, path, inputs)
    run = trained(call)
    images = own_images(run, fixed)
    found, metric = measured(run, images, fixed.metric)
    values = torch.from_numpy(found["score"]).nan_to_num(MOST, MOST, -MOST)
    order = values.argsort(descending=True, stable=True).numpy()
    columns = {**identity(images, ("name", "label", "split", "index")), **found}
    ranked = {name: values[order] for name, values in columns.items()}
    if path.suffix.lower() == ".json":
        write_rows(path, {"metric": metric, "score": UNITS[metric]}, ranked)
    else:
        write_table(path, ranked)
    if sheet is not None:
        write_png(
            sheet,
            drawn(run, images, order, found["score"], speaking_of(UNITS[metric], run.noun)),
            MARK,
        )
    first = order[:3].tolist()
    names = titles(images, first, run.noun[:-1]) if images.names is None else images.names[first]
    most = ", ".join(
        f"{name} ({found['score'][place]:.4g})" for name, place in zip(names, first, strict=True)
    )
    log.info(
        "scores of %s in %s (%s); strangest: %s",
        counted(len(images), run.noun), path, speaking_of(UNITS[metric], run.noun), most,
    )  # fmt: skip
    if sheet is not None:
        log.info("the strangest are drawn in %s", sheet)


def sheet_file(fixed: Score, path: Path, inputs: Sequence[Path]) -> Path | None:
    """Where the contact sheet goes; None if none is wanted."""
    if fixed.sheet == "none":
        return None
    name = f"{path.with_suffix('')}-strangest.png" if fixed.sheet == "auto" else fixed.sheet
    return check_output(name, (".png",), overwrite=fixed.overwrite, key="sheet", inputs=inputs)


def measured(
    run: Trained, images: UserImages, metric: str | None
) -> tuple[dict[str, NDArray[Any]], str]:
    """Columns [N]: `score`, the terms it is made of, contributions of columns; and its metric.

    Raises:
        ConfigError: the family has no such score.
        DataError: the likelihood gives these images no probability.
    """
    has_bound = run.model.posterior.stochastic and run.model.prior.generative
    metric = metric or ("elbo" if has_bound else "mse")
    if metric != "mse":
        if not has_bound:
            raise ConfigError(f"metric: found {metric}, but the run has no ELBO. Use metric=mse.")
        refuse_other_levels(run, images)
    size = run.batch_size
    if metric == "log_likelihood":
        size = NOISE_CHUNK * -(-size // NOISE_CHUNK)  # pieces begin where chunks of noise do
    terms = dict[str, list[Tensor]]()
    with evaluating(run.model):
        for view in run.views(images, size):
            for of_batch in model_scores(view):
                for name, values in of_batch.items():
                    terms.setdefault(name, []).append(values)
            if metric == "log_likelihood":
                terms.setdefault(metric, []).append(-each_image(view)[0])
        columns: dict[str, NDArray[Any]] = {}
        if len(run.event_shape) == 1:
            columns = largest_contributions(run.views(images), run.table, run.event_shape[0])
    found = {name: torch.cat(values).numpy() for name, values in terms.items()}
    score = found[metric]
    # As metrics they are higher for images that the model expects.
    found |= {name: -found[name] for name in ("elbo", "log_likelihood") if name in found}
    return {"score": score, **found, **columns}, metric


def drawn(
    run: Trained, images: UserImages, order: NDArray[Any], scores: NDArray[Any], unit: str
) -> NDArray[Any]:
    """The strangest images above their reconstructions, uint8 [height, width, 3]."""
    first = order[:SHOWN].tolist()
    originals, outputs = list[Tensor](), list[Tensor]()
    with evaluating(run.model):
        for place in first:
            for batch in run.view(images, place, place + 1).batches():
                originals.append(batch.target.cpu())
                outputs.append(run.model.given(batch.given).reconstruct(batch.target).cpu())
    if run.table is not None:
        shown = {"original": torch.cat(originals), "reconstruction": torch.cat(outputs)}
        note = f"Of {len(images):,} rows, each with its score ({unit}) below"
        names = [str(name) for name in names_of(images)[first]]
        below = [f"{scores[place]:.4g}" for place in first]
        return of_rows(run.table, shown, "Strangest rows", note, names, below)
    above, under = run.drawn(torch.cat(originals)), run.drawn(torch.cat(outputs))
    unit += "" if run.scaling is None else f"; {run.scaling.note}"
    return plots.strangest(
        above, under, scores[first], titles(images, first, run.noun[:-1]),
        len(images), unit,
    )  # fmt: skip


def names_of(images: UserImages) -> NDArray[Any]:
    """What tells rows apart: their keys (`dataset.key`), or their places from 0, [N]."""
    assert images.index is not None, "rows are counted"
    return images.index.numpy() if images.names is None else images.names


def titles(images: UserImages, places: Sequence[int], noun: str = "image") -> list[str]:
    """What the images at `places` are called: their files, or their index."""
    if images.names is not None:
        return [Path(str(images.names[place])).name for place in places]
    assert images.index is not None, "arrays are counted"
    return [f"{noun} {int(images.index[place])}" for place in places]
