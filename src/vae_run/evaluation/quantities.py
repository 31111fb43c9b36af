"""What the names of figures mean: unit, a plain sentence, and which way is better."""

from __future__ import annotations

import re
from dataclasses import dataclass

NATS = "nats per image"
LIKELIHOOD, RECONSTRUCTION, CODES = "Likelihood", "Reconstruction", "Codes"
USE, ANOMALY, GENERATION, OTHER = "Usefulness", "Anomalies", "Generation", "Other figures"
TRAINING = "Training"
SECTIONS = (LIKELIHOOD, RECONSTRUCTION, CODES, USE, ANOMALY, GENERATION, OTHER, TRAINING)


@dataclass(frozen=True)
class Meaning:
    """A figure's unit and what it says.

    Attributes:
        unit: "" for a plain number.
        text: one sentence.
        section: of the report.
        better: +1 where higher is better, -1 where lower is, 0 where neither.
        of_likelihood: whether it depends on the likelihood, so that figures under two cannot be
            compared.
    """

    unit: str
    text: str
    section: str = OTHER
    better: int = 0
    of_likelihood: bool = False


def _bound(text: str, better: int) -> Meaning:
    return Meaning(NATS, text, LIKELIHOOD, better, of_likelihood=True)


MEANINGS = {
    "loss": _bound("what was minimised", -1),
    "reconstruction": _bound("-log p(x|z) of one sample of the posterior, constants included", -1),
    "kl": Meaning(NATS, "KL(q(z|x) || p(z)): what the code says of its image", LIKELIHOOD),
    "elbo": _bound("-(reconstruction + kl), a lower bound on log p(x)", 1),
    "log_likelihood": _bound("importance-weighted lower bound on log p(x)", 1),
    "effective_sample_size": Meaning(
        "samples", "how many importance samples decide; near 1 the bound is loose", LIKELIHOOD
    ),
    "bits_per_dim": Meaning(
        "bits per dimension", "length of a lossless code", LIKELIHOOD, -1, of_likelihood=True
    ),
    "mse": Meaning("per pixel", "squared error of the reconstruction", RECONSTRUCTION, -1),
    "mae": Meaning("per pixel", "absolute error of the reconstruction", RECONSTRUCTION, -1),
    "psnr": Meaning("dB", "peak signal-to-noise ratio of the reconstruction", RECONSTRUCTION, 1),
    "ssim": Meaning("", "structural similarity to the clean image, at most 1", RECONSTRUCTION, 1),
    "active_units": Meaning(
        "latent dimensions", "those whose posterior mean varies by more than 0.01", CODES
    ),
    "mutual_information": Meaning("nats", "I(x; z) between images and codes", CODES),
    "aggregate_gap": Meaning("nats", "KL from the codes of all images to the prior", CODES, -1),
    "code_correlation": Meaning("", "mean absolute correlation of two dimensions", CODES),
    "posterior_scale": Meaning("units of the code", "mean width of q(z|x)", CODES),
    "codes_twonn": Meaning("dimensions", "intrinsic dimension of the codes (TwoNN)", CODES),
    "data_twonn": Meaning("dimensions", "intrinsic dimension of the images (TwoNN)", CODES),
    "knn_accuracy": Meaning("", "classes told by nearest neighbours of the codes", USE, 1),
    "probe_accuracy": Meaning("", "classes told by a linear classifier of the codes", USE, 1),
    "nmi": Meaning("", "clusters of codes against classes: mutual information, normalised", USE, 1),
    "ari": Meaning("", "clusters of codes against classes: adjusted Rand index", USE, 1),
    "mig": Meaning("", "mutual information gap: one factor, one dimension", CODES, 1),
    "sap": Meaning("", "separated attribute predictability", CODES, 1),
    "dci_disentanglement": Meaning("", "each dimension tells of one factor", CODES, 1),
    "dci_completeness": Meaning("", "each factor is told by one dimension", CODES, 1),
    "dci_informativeness": Meaning("", "factors can be told from the code", CODES, 1),
    "factor_vae_score": Meaning("", "a vote on which dimension a factor fixes", CODES, 1),
    "fid": Meaning("", "Fréchet distance of samples to images, Inception features", GENERATION, -1),
    "generated_images": Meaning("images", "samples that were judged", GENERATION),
    "fid_images": Meaning("images", "samples that the FID was measured on", GENERATION),
    "trustworthiness": Meaning("", "neighbours of codes are neighbours of images", CODES, 1),
    "continuity": Meaning("", "neighbours of images are neighbours of codes", CODES, 1),
    "nonzero_weights": Meaning("weights", "those that pruning left", OTHER),
    "encode_microseconds": Meaning("µs per image", "from pixels to code", TRAINING, -1),
    "train_seconds": Meaning("seconds", "training steps alone", TRAINING),
    "examples_per_second": Meaning("images per second", "training steps alone", TRAINING),
    "steps": Meaning("steps", "of the optimiser", TRAINING),
}
"""By name; `_stderr` and `pca_` belong to the figure that they stand with."""

_PATTERNS = (
    (
        r"frechet_random_conv_train",
        Meaning("", "the same of training images: what a perfect sampler gets", GENERATION),
    ),
    (r"frechet_(.+)", Meaning("", "Fréchet distance of samples to images: {}", GENERATION, -1)),
    (r"precision_(.+)", Meaning("", "share of samples that look like images: {}", GENERATION, 1)),
    (r"recall_(.+)", Meaning("", "share of images that look like samples: {}", GENERATION, 1)),
    (r"density_(.+)", Meaning("", "how densely images surround samples: {}", GENERATION, 1)),
    (r"coverage_(.+)", Meaning("", "share of images with a sample close by: {}", GENERATION, 1)),
    (
        r"data_mle_(\d+)",
        Meaning("dimensions", "intrinsic dimension of the images (MLE, {} neighbours)", CODES),
    ),
    (
        r"codes_mle_(\d+)",
        Meaning("dimensions", "intrinsic dimension of the codes (MLE, {} neighbours)", CODES),
    ),
    (r"(.+)_auroc", Meaning("", "anomalies told by {}: area under ROC, chance 0.5", ANOMALY, 1)),
    (r"(.+)_average_precision", Meaning("", "anomalies told by {}", ANOMALY, 1)),
    (r"psnr_at_(.+)", Meaning("dB", "at corruption level {}", RECONSTRUCTION, 1)),
    (r"mse_at_(.+)", Meaning("per pixel", "at corruption level {}", RECONSTRUCTION, -1)),
    (r"input_psnr_at_(.+)", Meaning("dB", "of the input at level {}", RECONSTRUCTION)),
    (r"input_mse_at_(.+)", Meaning("per pixel", "of the input at level {}", RECONSTRUCTION)),
    (r"input_(\w+)", Meaning("", "{} of the corrupted input", RECONSTRUCTION)),
    (r"clean_(\w+)", Meaning("", "{} where the encoder sees the clean image", RECONSTRUCTION)),
    (r"mean_(psnr|mse)", Meaning("", "{} of the mean image", RECONSTRUCTION)),
    (r"pca_(\w+)", Meaning("", "{} of PCA at the same latent_dim", OTHER)),
)


def meaning(name: str) -> Meaning:
    """What the figure `name` is; one that nobody explained has neither unit nor sentence."""
    if name in MEANINGS:
        return MEANINGS[name]
    for pattern, found in _PATTERNS:
        if match := re.fullmatch(pattern, name):
            text = found.text.format(*(group.replace("_", " ") for group in match.groups()))
            return Meaning(found.unit, text, found.section, found.better)
    return Meaning("", "")
