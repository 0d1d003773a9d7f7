#!/usr/bin/env bash
# Makes a stand-in for Docker Hub's python:3.11-slim-bookworm out of Debian's packages, for machines that reach Debian's
# mirror and no registry of images: the same Debian, the same Python 3.11, pip in /usr/local, `python` in the path.
#
# What this machine needs to reach its package index (certificates, pip's configuration) goes in here, so that the
# Dockerfile need not know of it.
#
#   make_base.sh TAG     needs root, mmdebstrap and podman
set -euo pipefail

tag=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# pip as the machine is told to use it, without folders, which the build does not see.
{
  echo '[global]'
  for option in index-url extra-index-url trusted-host proxy timeout; do
    value=$(python3 -m pip config get "global.$option" 2>/dev/null || true)
    value=$(tr ' \n' '\n\n' <<<"$value" | grep -v '^file:' | tr '\n' ' ' || true)
    [ -z "${value// /}" ] || echo "$option = $value"
  done
  echo 'cert = /etc/ssl/certs/ca-certificates.crt'
} >"$folder/pip.conf"

pip_as_in_the_original='
  cd "$1"
  wheel=$(basename usr/share/python-wheels/pip-*.whl)
  chroot . python3.11 "/usr/share/python-wheels/$wheel/pip" install --quiet --root-user-action ignore \
    --break-system-packages --no-index --prefix /usr "/usr/share/python-wheels/$wheel"
  rm -r usr/share/python-wheels usr/lib/python3.11/EXTERNALLY-MANAGED
  ln -s /usr/bin/python3.11 usr/local/bin/python
  ln -s /usr/bin/python3.11 usr/local/bin/python3
  # The original has none either.
  find usr/lib/python3.11 -name __pycache__ -prune -exec rm -r {} +'

mmdebstrap --quiet --variant=apt --include=python3.11,python3-venv,ca-certificates \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --customize-hook="$pip_as_in_the_original" \
  --customize-hook="cp /etc/ssl/certs/ca-certificates.crt \"\$1/etc/ssl/certs/ca-certificates.crt\"" \
  --customize-hook="cp '$folder/pip.conf' \"\$1/etc/pip.conf\"" \
  bookworm "$folder/base.tar"
podman import --quiet --change 'CMD ["python3"]' \
  --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' "$folder/base.tar" "$tag" >&2
