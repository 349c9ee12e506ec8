#!/bin/sh
# Does forgeprep work with the lowest versions that pyproject.toml allows? And with the newest, on another Python?
#
#     tools/lowest.sh                              # lowest versions, python3.11
#     tools/lowest.sh highest /path/to/python3.13  # newest versions
#
# Makes a fresh virtual environment in a temporary folder, makes a demo dataset, runs the main job on it, verifies.
# KEEP=1 leaves the folder.
set -eu
resolution=${1:-lowest-direct}
python=${2:-python3.11}
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
[ -n "${KEEP:-}" ] || trap 'rm -rf "$folder"' EXIT
unset PYTHONPATH

"$python" -m venv "$folder/uv"
"$folder/uv/bin/pip" install --quiet uv
# What pip is told of wheels that lie on this machine holds for uv too.
[ -z "${PIP_FIND_LINKS:-}" ] || export UV_FIND_LINKS="$PIP_FIND_LINKS"
[ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE="$PIP_CERT"
"$python" -m venv "$folder/venv"
"$folder/uv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" --resolution "$resolution" \
    --editable "$here"
"$folder/uv/bin/uv" pip freeze --python "$folder/venv/bin/python"

cd "$folder"
forgeprep="$folder/venv/bin/forgeprep"
"$forgeprep" demo data --people 6 --seconds 1
"$forgeprep" run ffpp --root data --out one --stages crop,mask,noise --frames 4 --format both --workers 0
"$forgeprep" run ffpp --root data --out two --stages crop,mask,noise --frames 4 --format both --workers 2
"$forgeprep" status two
"$forgeprep" verify one
"$forgeprep" verify two
"$forgeprep" compare one two
"$forgeprep" report two
"$forgeprep" inspect two --sheet sheet.png >sheet.log
echo "$resolution versions work with $("$python" -V)"
