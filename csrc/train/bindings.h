// Adds the kernels of training to the Python module. Tensors come in as addresses.
#pragma once

#include <nanobind/nanobind.h>

namespace goose::train {

void bind(nanobind::module_& m);

}  // namespace goose::train
