#!/bin/sh
# Builds the libraries and tools of llama.cpp that the benchmarks compare with.
#
#     sh bench/peers/build_llama_cpp.sh [FOLDER] [JOBS]
#
# The source is that of the PyPI package llama-cpp-python, fetched with pip. Needs a C++ compiler,
# CMake and a few minutes. Afterwards: export ASNN_GOOSE_LLAMA_CPP=FOLDER/build/bin
set -eu

version=0.3.36
folder=${1:-build/llama.cpp}
jobs=${2:-2}
python=${PYTHON:-python3}

mkdir -p "$folder"
if [ ! -d "$folder/llama_cpp_python-$version" ]; then
  "$python" -m pip download --no-deps --no-binary llama-cpp-python --dest "$folder" \
    "llama-cpp-python==$version"
  tar -xzf "$folder/llama_cpp_python-$version.tar.gz" -C "$folder"
fi
cmake -S "$folder/llama_cpp_python-$version/vendor/llama.cpp" -B "$folder/build" \
  -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=ON -DLLAMA_CURL=OFF \
  -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF
cmake --build "$folder/build" --parallel "$jobs" --target ggml llama-bench llama-quantize
echo "export ASNN_GOOSE_LLAMA_CPP=$(cd "$folder/build/bin" && pwd)"
