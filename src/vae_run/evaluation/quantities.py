"""The one table of quantities: unit, meaning, which way is better, where each is shown.

Glossary, learning curves, reports, comparisons, TensorBoard and the search read it, in the order of
its rows. It imports no torch, for those who only read numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from vae_run.evaluation.quantity import NATS, Place, Quantities, Quantity, Section, declared

HEADLINE, COMPARISON, SWEEP = Place.HEADLINE, Place.COMPARISON, Place.SWEEP
TABLES, CHART, RANKING = Place.TABLES, Place.CHART, Place.RANKING


def _likelihood() -> Iterator[Quantity]:
    row = partial(Quantity, section=Section.LIKELIHOOD)
    bound = partial(row, of_likelihood=True)
    text = "importance-weighted lower bound on log p(x)"
    places: tuple[Place, ...] = (HEADLINE, COMPARISON, SWEEP)
    yield bound("log_likelihood", NATS, text, better=1, shown=places)
    text = "-(reconstruction + kl), a lower bound on log p(x)"
    places = (HEADLINE, COMPARISON, SWEEP, TABLES, CHART, RANKING)
    yield bound("elbo", NATS, text, better=1, shown=places)
    places = (HEADLINE, SWEEP, TABLES, CHART)
    yield bound("loss", NATS, "what was minimised", better=-1, shown=places)
    text = "-log p(x|z) of one sample of q(z|x), constants included"
    yield bound("reconstruction", NATS, text, better=-1, shown=(COMPARISON, CHART))
    text = "KL(q(z|x) || p(z)): information of the code about its image"
    yield row("kl", NATS, text, cost=True, shown=(HEADLINE, COMPARISON, CHART))
    text = (
        "what keeps the active units of the code few; for top-k codes, what dead units would gain"
    )
    yield row("sparsity_loss", NATS, text)
    text = "-H(q(z|x)), in the place of the KL where the prior is flat"
    yield row("negative_entropy", NATS, text)
    text = "posterior.commitment times the squared distance of the encoder's output from its code"
    yield row("commitment", NATS, text)
    text = "squared distance of the codewords from the encoder's outputs, which moves codewords"
    yield row("codebook", NATS, text)
    text = "length of a lossless code"
    places = (HEADLINE, COMPARISON)
    yield bound("bits_per_dim", "bits per dimension", text, better=-1, shown=places)
    text = "how many importance samples decide; near 1 the bound is loose"
    yield row("effective_sample_size", "samples", text)
    text = "of each image, which log_likelihood was measured by"
    yield row("importance_samples", "samples", text)


def _reconstruction() -> Iterator[Quantity]:
    row, pixel = partial(Quantity, section=Section.RECONSTRUCTION), "per pixel"
    text = "squared error of the reconstruction"
    places = (HEADLINE, COMPARISON, SWEEP, TABLES, RANKING)
    yield row("mse", pixel, text, better=-1, log=True, shown=places)
    text = "share of the variance that the reconstruction has, at most 1"
    yield row("explained_variance", "", text, better=1)
    yield row("mae", pixel, "absolute error of the reconstruction", better=-1)
    yield row("psnr", "dB", "peak signal-to-noise ratio of the reconstruction", better=1)
    yield row("ssim", "", "structural similarity to the clean image, at most 1", better=1)
    yield row("psnr_at_*", "dB", "PSNR at corruption level {}", better=1)
    yield row("mse_at_*", pixel, "squared error at corruption level {}", better=-1, log=True)
    text = "what a perceptual distance to the clean image adds to the loss"
    yield row("perceptual", NATS, text, better=-1, shown=(SWEEP,))
    yield row("mean_psnr", "dB", "PSNR of the mean image")
    yield row("mean_mse", pixel, "squared error of the mean image", log=True)


def _codes() -> Iterator[Quantity]:
    row, count = partial(Quantity, section=Section.CODES), "dimensions"
    text = "those whose posterior mean varies by more than 0.01"
    yield row("active_units", "latent dimensions", text, shown=(HEADLINE, COMPARISON, SWEEP))
    text = "those active for an image, mean over images"
    places = (HEADLINE, COMPARISON, SWEEP, TABLES)
    yield row("l0", "units of the code", text, cost=True, shown=places)
    text = "share of the units that are active for no image of the split"
    yield row("dead_units", "", text, better=-1, shown=(COMPARISON, SWEEP))
    yield row("jacobian", "", "squared Frobenius norm of the encoder's Jacobian")
    text = "those of layer {} of the code; the decoder reads layer 1"
    yield row("active_units_layer_*", "latent dimensions", text, shown=(COMPARISON,))
    yield row("codes_twonn", count, "intrinsic dimension of the codes (TwoNN)", shown=(SWEEP,))
    yield row("posterior_scale", "units of the code", "mean width of q(z|x)", shown=(SWEEP,))
    yield row("data_twonn", count, "intrinsic dimension of the images (TwoNN)")
    yield row("codes_mle_*", count, "intrinsic dimension of the codes (MLE, {} neighbours)")
    yield row("data_mle_*", count, "intrinsic dimension of the images (MLE, {} neighbours)")
    yield row("mutual_information", "nats", "I(x; z) between images and codes")
    yield row("aggregate_gap", "nats", "KL from the codes of all images to the prior", better=-1)
    yield row("mmd", "", "squared maximum mean discrepancy of codes and prior", better=-1)
    text = "KL from q(z) to the product of its marginals"
    yield row("total_correlation", "nats", text, better=-1)
    text = "total correlation of the code, by a critic (FactorVAE)"
    yield row("tc_critic", "nats", text, better=-1, shown=(SWEEP,))
    yield row("code_correlation", "", "mean absolute correlation of two dimensions")


def _indices() -> Iterator[Quantity]:
    row = partial(Quantity, section=Section.CODES)
    text = "codewords used on the split"
    yield row("codes_used", "codes", text, better=1, shown=(HEADLINE, COMPARISON, SWEEP))
    text = "exp of the entropy of the codewords' frequencies on the split"
    yield row("perplexity", "codes", text, better=1, shown=(HEADLINE, COMPARISON, SWEEP))
    bits = "bits per image"
    yield row("code_bits", bits, "length of the indices at a fixed rate")
    yield row("entropy_bits", bits, "length of the indices by their frequencies on the split")
    text = "length of the indices by the fitted prior"
    yield row("index_bits", bits, text, better=-1, shown=(COMPARISON,))
    text = "squared distance of the encoder's output from its code, summed over positions"
    yield row("quantization_error", "squared units of the code", text, better=-1, log=True)


def _correspondence() -> Iterator[Quantity]:
    row = partial(Quantity, section=Section.CODES)
    for name, text in (
        ("trustworthiness", "neighbours of codes are neighbours of images"),
        ("continuity", "neighbours of images are neighbours of codes"),
        ("mig", "mutual information gap: one factor, one dimension"),
        ("sap", "separated attribute predictability"),
        ("dci_disentanglement", "each dimension predicts one factor"),
        ("dci_completeness_weighted", "each factor is predicted by one dimension, by importance"),
        ("dci_completeness_unweighted", "each factor is predicted by one dimension"),
        ("dci_informativeness", "how well factors are predicted from the code"),
        ("factor_vae_score", "a vote on which dimension a factor fixes"),
    ):
        yield row(name, "", text, better=1)


def _usefulness() -> Iterator[Quantity]:
    row = partial(Quantity, section=Section.USEFULNESS, better=1)
    yield row("knn_accuracy", "", "accuracy of nearest neighbours of the codes as a classifier")
    yield row("probe_accuracy", "", "accuracy of a linear classifier of the codes")
    yield row("nmi", "", "clusters of codes against classes: mutual information, normalised")
    yield row("ari", "", "clusters of codes against classes: adjusted Rand index")


def _anomalies() -> Iterator[Quantity]:
    row = partial(Quantity, section=Section.ANOMALIES, better=1)
    text = "anomalies against normal images by {}: area under ROC, chance 0.5"
    for name, score in (("mse", "mse"), ("elbo", "elbo"), ("pca_32", "32 principal components")):
        yield row(f"{name}_auroc", "", text.format(score), shown=(TABLES,))
    yield row("*_auroc", "", text)
    yield row("*_average_precision", "", "anomalies against normal images by {}")


def _generation() -> Iterator[Quantity]:
    row = partial(Quantity, section=Section.GENERATION)
    yield row("fid", "", "Fréchet distance of samples to images, Inception features", better=-1)
    yield row("fid_images", "images", "samples that the FID was measured on")
    text = "the same of training images: what a perfect sampler gets"
    yield row("frechet_random_conv_train", "", text)
    yield row("frechet_*", "", "Fréchet distance of samples to images: {}", better=-1)
    yield row("precision_*", "", "share of samples that look like images: {}", better=1)
    yield row("recall_*", "", "share of images that look like samples: {}", better=1)
    yield row("density_*", "", "how densely images surround samples: {}", better=1)
    yield row("coverage_*", "", "share of images with a sample close by: {}", better=1)
    yield row("generated_images", "images", "samples that were judged")


def _training() -> Iterator[Quantity]:
    row, steps_alone = partial(Quantity, section=Section.TRAINING), "training steps alone"
    yield row("layer_*", NATS, "loss of layer {} while it is trained by itself", better=-1)
    yield row("nonzero_weights", "weights", "those that pruning left", cost=True)
    yield row("sparsity", "", "share of the weights that pruning has set to 0")
    yield row("encode_microseconds", "µs per image", "from pixels to code", better=-1)
    text = "of the critic; without an opinion 0.69 on codes, 1 on images"
    yield row("critic_loss", "", text)
    yield row("adversarial", "", "the critic's word on the model, before its weight in the loss")
    yield row("critic_weight", "", "of the critic's word in the loss, adapted to its gradient")
    yield row("learning_rate", "", "of the optimiser, at the last step")
    yield row("grad_norm", "", "norm of the gradient before clipping")
    yield row("train_seconds", "seconds", steps_alone)
    yield row("best_epoch", "epochs", "after which the weights were kept that are measured")
    yield row("examples_per_second", "images per second", steps_alone)
    yield row("steps", "steps", "of the optimiser")


TABLE = Quantities(
    row
    for rows in (
        *(_likelihood, _reconstruction, _codes, _indices, _correspondence, _usefulness),
        *(_anomalies, _generation, _training),
    )
    for row in rows()
)
"""Every quantity that the package's own metrics, objectives and trainers record."""


def quantities_of(directories: Iterable[Path]) -> Quantities:
    """The package's table, with what the runs in `directories` declare, in words for their data.

    Raises:
        CheckpointError: a run's `quantities.json` is no such table.
    """
    found = [declared(place) for place in directories]
    rows = (row for each in found for row in each.quantities)
    return TABLE.with_declared(rows, [each.noun for each in found])
