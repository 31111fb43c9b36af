#!/usr/bin/env bash
# wandb 0.31.0: when the disk is full, an offline run loses its records, and nothing raises or is printed.
#
# The records go to another process, wandb-core, which writes the file. `Run.log` and `Run.finish` do not hear
# of its failures, and the program ends with code 0. The disk is a tmpfs of 600 KiB in a mount namespace of its
# own (util-linux's unshare); what it has left after `wandb.init` is filled first.
#
# Seen: 3,000 values logged; with room all are in the file, on the full disk the last ones are not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet wandb==0.31.0
mkdir "$folder/disk" "$folder/room"
cat > "$folder/run.py" <<'PY'
import pathlib
import sys

import wandb

disk = pathlib.Path(sys.argv[1])
run = wandb.init(mode="offline", project="p", dir=str(disk), settings=wandb.Settings(console="off"))
if "full" in sys.argv:
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
PY
cat > "$folder/both.sh" <<'SH'
set -e
"$1/env/bin/python" "$1/run.py" "$1/room"
grep -qa 1002999 "$1"/room/wandb/offline-run-*/run-*.wandb
echo "with room: the last value is there"
mount -t tmpfs -o size=600k tmpfs "$1/disk"
"$1/env/bin/python" "$1/run.py" "$1/disk" full
if grep -qa 1002999 "$1"/disk/wandb/offline-run-*/run-*.wandb; then exit 1; fi
echo "full disk: the last value is not there, and the program ended with code 0"
SH
WANDB_ERROR_REPORTING=false WANDB_SILENT=true unshare --map-root-user --mount bash "$folder/both.sh" "$folder"
