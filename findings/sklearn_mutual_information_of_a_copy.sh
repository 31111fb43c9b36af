#!/usr/bin/env bash
# scikit-learn 1.9.1: the mutual information of a variable with a copy of itself is 3.34 nats.
#
# mutual_info_regression estimates it from nearest neighbours (Kraskov et al. 2004). That of a continuous variable
# with itself is infinite, and 100 points tell at most log 100 = 4.61 nats; the estimate is neither, but
# psi(N) - psi(k) plus what neighbours leave, whatever the variable: no value of it says "a copy".
#
# Seen: 100 normal numbers and their copy: 3.344; 1,000: 5.65 of log 1,000 = 6.91
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
"$folder/env/bin/python" -W ignore - <<'PY'
import math

import numpy as np
from sklearn.feature_selection import mutual_info_regression

found = {}
for n in (100, 1000):
    x = np.random.default_rng(0).normal(size=n)
    (found[n],) = mutual_info_regression(x[:, None], x, random_state=0)
    print(f"N={n}: {found[n]:.3f} nats; log N = {math.log(n):.3f}")
assert abs(found[100] - 3.344) < 0.01
assert found[1000] < math.log(1000) - 1
PY
