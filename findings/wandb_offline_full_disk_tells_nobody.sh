#!/usr/bin/env bash
# wandb 0.31.0: when the disk is full, an offline run loses its records, and nothing raises or is printed.
#
# The records go through another process, wandb-core, which writes the file. `Run.log` and `Run.finish` do not
# hear of its failures, and the exit code that `finish` records is lost as well. The disk here is a tmpfs of
# 600 KiB in a mount namespace of its own (util-linux's unshare).
#
# Seen: after 3,000 calls of `log` on the full disk, `finish` returned, and the run's file held none of the
# last values.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet wandb==0.31.0
mkdir "$folder/disk"
cat > "$folder/full.py" <<'PY'
import pathlib
import sys

import wandb

disk = pathlib.Path(sys.argv[1])
run = wandb.init(mode="offline", project="p", dir=str(disk), settings=wandb.Settings(console="off"))
with (disk / "fill").open("wb", 0) as fill:
    try:
        while True:
            fill.write(bytes(4096))
    except OSError as error:
        print("the disk:", error.strerror)
for step in range(3000):
    run.log({"value": 1000000 + step}, step=step)
run.finish()
print("finish returned")
(file,) = disk.glob("wandb/offline-run-*/run-*.wandb")
found = b"1002999" in file.read_bytes()
print("the file has the last value:", found)
assert not found
PY
WANDB_ERROR_REPORTING=false WANDB_SILENT=true unshare --map-root-user --mount sh -c \
  'mount -t tmpfs -o size=600k tmpfs "$1/disk" && "$1/env/bin/python" "$1/full.py" "$1/disk"' sh "$folder"
