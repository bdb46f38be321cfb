#!/bin/sh
# The compiled code for arm64, built here and run under qemu-user against the numpy oracle.
#
#     sh tests/arm64.sh [FOLDER]
#
# Needs Debian's g++-aarch64-linux-gnu and qemu-user, and a Python 3.11 with nanobind and numpy
# (PYTHON). Python for arm64 comes out of Debian's packages, which are unpacked and not installed;
# that needs root once, for `dpkg --add-architecture`.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
mkdir -p "${1:-build/arm64}"
folder=$(cd "${1:-build/arm64}" && pwd)
root=$folder/root
mkdir -p "$folder/debs" "$root" "$folder/site"

dpkg --print-foreign-architectures | grep -qx arm64 || { dpkg --add-architecture arm64; apt-get -qq update; }
if [ ! -e "$root/usr/bin/python3.11" ]; then
  (cd "$folder/debs" && apt-get -qq download python3.11-minimal:arm64 libpython3.11-minimal:arm64 \
    libpython3.11-stdlib:arm64 libpython3.11-dev:arm64 libexpat1:arm64 zlib1g:arm64 libc6:arm64 \
    libgcc-s1:arm64 libstdc++6:arm64 libffi8:arm64 libssl3:arm64 libbz2-1.0:arm64 liblzma5:arm64)
  for deb in "$folder"/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
fi
[ -d "$folder/site/numpy" ] || "$python" -m pip install --quiet --target "$folder/site" --no-deps \
  --only-binary=:all: --implementation cp --python-version 3.11 \
  --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
  numpy

cmake -S . -B "$folder/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_CXX_FLAGS="-I$root/usr/include" \
  -DPython_EXECUTABLE="$(command -v "$python")" -DPython_INCLUDE_DIR="$root/usr/include/python3.11" \
  -Dnanobind_DIR="$("$python" -m nanobind --cmake_dir)"
cmake --build "$folder/build"

# The same sources in a folder of their own, with the module for the other machine.
rm -rf "$folder/site/asnn_goose"
cp -r src/asnn_goose "$folder/site/asnn_goose"
rm -f "$folder"/site/asnn_goose/_native*.so
cp "$folder"/build/_native*.so "$folder/site/asnn_goose/_native.so"
PYTHONPATH=$folder/site PYTHONHOME=$root/usr qemu-aarch64 -L "$root" "$root/usr/bin/python3.11" \
  tests/arm64_engine.py
