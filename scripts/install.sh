#!/usr/bin/env bash
# Installs spikejax from this checkout into a virtual environment, and looks whether what was installed fits together.
#
#   scripts/install.sh FOLDER [EXTRA,EXTRA,...]
#
# FOLDER is made if need be. The extras are those of docs/installing.md, such as train,data or train,cuda12. PYTHON names
# the interpreter (default: python3), which must be 3.11 or newer. The Dockerfile and continuous integration use this script.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/lib.sh"

case "${1:-}" in
    "" | -*) usage ;;
esac
[ $# -le 2 ] || usage "expected FOLDER and extras with commas, found $# words"
folder=$1 extras=${2:-} python=${PYTHON:-python3}
[[ -z $extras || $extras =~ ^[a-z0-9-]+(,[a-z0-9-]+)*$ ]] || usage "expected extras with commas, found $extras"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    usage "expected Python 3.11 or newer, found $("$python" -V)"

[ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
pip=("$folder/bin/python" -m pip --disable-pip-version-check)
"${pip[@]}" install --quiet "$here/..${extras:+[$extras]}"
# From elsewhere, or the checkout would answer in place of what was installed.
folder=$(cd "$folder" && pwd)
cd /
# One version of jax, jaxlib and plugins; everything that a package asks for.
"$folder/bin/python" -m pip --disable-pip-version-check check
"$folder/bin/spikejax" --version
