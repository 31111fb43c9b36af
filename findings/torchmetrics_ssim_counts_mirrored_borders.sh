#!/usr/bin/env bash
# torchmetrics 1.9.0: the SSIM of two images depends on what lies beyond their borders.
#
# structural_similarity_index_measure pads both images by mirroring and averages the map over all
# places, those whose window reaches into the padding included. Wang et al. 2004 and scikit-image count
# only windows inside the image. Of 28 x 28 places with a window of 11 pixels these are 18 x 18.
#
# Seen: a 12 x 12 square in 28 x 28 pixels, and the same moved by two columns: 0.4366 in scikit-image,
# 0.6469 in torchmetrics
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torchmetrics==1.9.0 torch==2.14.1 scikit-image==0.26.0 numpy==2.4.6
"$folder/env/bin/python" -W ignore - <<'PY'
import numpy as np
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

image = np.zeros((28, 28))
image[8:20, 8:20] = 1
moved = np.roll(image, 2, 1)
reference = structural_similarity(
    image, moved, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
)
a, b = (torch.from_numpy(x)[None, None] for x in (image, moved))
found = float(structural_similarity_index_measure(b, a, sigma=1.5, data_range=1.0))
print(f"scikit-image: {reference:.4f}; torchmetrics: {found:.4f}")
assert abs(reference - 0.4366) < 1e-3
assert abs(found - 0.6469) < 1e-3
PY
