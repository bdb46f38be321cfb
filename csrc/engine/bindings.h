// The engine's part of the Python module.
#pragma once

#include <nanobind/nanobind.h>

namespace goose::engine {

// Adds Engine, State, TernaryMatrix, `limits` and `sample` to the module.
void bind(nanobind::module_& m);

}  // namespace goose::engine
