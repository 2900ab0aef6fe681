#!/usr/bin/env bash
# Clients that nobody here wrote, into a folder: npm's, PyPI's and Debian's, in the versions of the files beside this one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"

if ! command -v chromium > /dev/null || ! command -v npm > /dev/null; then
    apt-get update -q > /dev/null
    command -v chromium > /dev/null || apt-get install -qy --no-install-recommends chromium > /dev/null
    command -v npm > /dev/null || apt-get install -qy --no-install-recommends nodejs npm > /dev/null
fi

cp "$here/package.json" "$here/package-lock.json" .
npm ci --silent

python3 -m venv venv
venv/bin/pip install -q --require-hashes -r "$here/requirements.lock"
# of the collections that come with Ansible, one folder
venv/bin/pip download -q --no-deps --require-hashes -d wheels -r "$here/ansible.lock"
venv/bin/python - wheels/ansible-*.whl << 'END'
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    wheel.extractall("collections", [name for name in wheel.namelist() if "/community/general/" in name])
END
rm -r wheels

debs=(fence-agents prometheus)
apt-get download -q "${debs[@]}" > /dev/null 2>&1 || { apt-get update -q > /dev/null && apt-get download -q "${debs[@]}" > /dev/null; }
dpkg -x fence-agents_*.deb fence
dpkg -x prometheus_*.deb prometheus
touch complete
