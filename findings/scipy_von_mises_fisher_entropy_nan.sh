#!/usr/bin/env bash
# scipy 1.17.1: the entropy of a von Mises-Fisher distribution is NaN in high dimensions.
#
# scipy.stats.vonmises_fisher computes its normaliser from scipy.special.ive(D/2 - 1, kappa), which
# underflows to 0 where the order is large and kappa small, as for codes of an autoencoder on a
# sphere. The entropy is then NaN, without an error. The distribution there is almost uniform, so the right
# value is about the logarithm of the sphere's area.
#
# Seen: D=20, kappa=1: -0.6863 (area: -0.6614); D=300, kappa=1: nan (-427.6); D=1024, kappa=50: nan
# (-2093)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet scipy==1.17.1 numpy==2.4.6
"$folder/env/bin/python" -W ignore - <<'PY'
import math

import numpy as np
from scipy.special import gammaln
from scipy.stats import vonmises_fisher

for dimension, kappa, broken in ((20, 1.0, False), (300, 1.0, True), (1024, 50.0, True)):
    mean = np.eye(dimension)[0]
    entropy = float(vonmises_fisher(mean, kappa).entropy())
    area = math.log(2) + dimension / 2 * math.log(math.pi) - gammaln(dimension / 2)
    print(f"D={dimension}, kappa={kappa:g}: {entropy:.4g}; log of the sphere's area {area:.4g}")
    assert math.isnan(entropy) == broken
PY
