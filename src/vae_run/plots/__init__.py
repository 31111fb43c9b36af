"""Pictures of a model: CPU tensors in, one uint8 picture [height, width, 3] out.

Nothing here knows a writer or a model, and `files` alone knows a file. A picture of this package
keeps its page, and can be drawn again as SVG, PDF or with more pixels. Drawing uses matplotlib's
objects only (no pyplot, no global state), so that it leaves a user's own plots alone; matplotlib is
imported when the first picture is drawn.

E is the event shape: images (C, H, W); or vectors (F,) or windows (C, L), curves over time, which
become small line plots on one common scale. Images are floats in [0, 1], clipped for display; one
channel is grey, three are RGB, any other number is averaged and the picture says so. Values that
are not finite are drawn in vermillion and counted under the title. Whatever is left out for want
of room is said there too.

May import system.
"""

from vae_run.plots.anomaly import Scores, anomaly_scores
from vae_run.plots.contact_sheet import contact_sheet
from vae_run.plots.curves import learning_curves
from vae_run.plots.density import Density, Gaussian
from vae_run.plots.dimensions import (
    Marginal,
    aggregate_posterior,
    kl_bars,
    scree,
    spectrum,
)
from vae_run.plots.drawing import SCREEN, Drawing
from vae_run.plots.files import content, write_pictures
from vae_run.plots.frontier import Point, frontier
from vae_run.plots.images import interpolations, samples, traversals
from vae_run.plots.mosaic import mosaic
from vae_run.plots.names import STRIP, name_strip, room_for
from vae_run.plots.planes import manifold, manifolds
from vae_run.plots.reconstructions import reconstructions
from vae_run.plots.robustness import Panel, robustness
from vae_run.plots.rows import rows
from vae_run.plots.scatter import scatter
from vae_run.plots.strangest import strangest
from vae_run.plots.sweep import Line, sweep_curves

__all__ = [
    "SCREEN",
    "STRIP",
    "Density",
    "Drawing",
    "Gaussian",
    "Line",
    "Marginal",
    "Panel",
    "Point",
    "Scores",
    "aggregate_posterior",
    "anomaly_scores",
    "contact_sheet",
    "content",
    "frontier",
    "interpolations",
    "kl_bars",
    "learning_curves",
    "manifold",
    "manifolds",
    "mosaic",
    "name_strip",
    "reconstructions",
    "robustness",
    "room_for",
    "rows",
    "samples",
    "scatter",
    "scree",
    "spectrum",
    "strangest",
    "sweep_curves",
    "traversals",
    "write_pictures",
]
