"""KL of every latent dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.codes import ACTIVE, active
from vae_run.evaluation.few_images import encoded
from vae_run.system.nouns import counted

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View


@picture(
    "KL of each latent dimension; one near 0 carries no information about the image.", of_codes=True
)
def kl_per_dimension(view: View) -> Image | None:
    """KL of every latent dimension, active ones in colour; None where it does not factorise."""
    found = encoded(view)
    if found.nats is None:
        return None
    varies = active(found.means)
    of = counted(len(found.means), view.noun)
    notes = [
        f"{float(found.nats.sum()):.2f} nats in all, mean over {of}",
        f"{int(varies.sum())} of {view.latent_dim} dimensions are active: "
        f"Var of E_q[z] above {ACTIVE:g}",
    ]
    return plots.kl_bars(found.nats.tolist(), varies.tolist(), notes)
