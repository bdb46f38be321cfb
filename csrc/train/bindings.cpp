#include "train/bindings.h"

#include <nanobind/stl/array.h>

#include <array>
#include <cstdint>

#include "train/train.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace goose::train {
namespace {

template <std::size_t n>
using Addresses = std::array<std::uintptr_t, n>;
template <std::size_t n>
using Sizes = std::array<std::int64_t, n>;

template <class T>
T* at(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

Planes planes_of(const Sizes<3>& sizes, int planes, const Addresses<2>& to) {
  return {sizes[0], sizes[1], sizes[2], planes, at<std::int8_t>(to[0]), at<float>(to[1])};
}

void py_quantise(const Sizes<3>& sizes, int planes, float factor, std::uintptr_t weight,
                 const Addresses<2>& outputs, int threads) {
  const nb::gil_scoped_release released;
  quantise(at<float>(weight), factor, planes_of(sizes, planes, outputs), threads);
}

void py_dense(const Sizes<3>& sizes, int planes, const Addresses<2>& inputs, std::uintptr_t out,
              int threads) {
  const nb::gil_scoped_release released;
  dense(planes_of(sizes, planes, inputs), at<float>(out), threads);
}

Coding coding_of(const Sizes<2>& sizes, bool rotate, int steps, int top, float threshold) {
  return {sizes[0], sizes[1], rotate, steps, top, threshold};
}

void py_code(const Sizes<2>& sizes, bool rotate, int steps, int top, float threshold,
             std::uintptr_t x, const Addresses<4>& outputs, int threads) {
  const nb::gil_scoped_release released;
  const Coded out{at<std::uint8_t>(outputs[0]), at<std::uint8_t>(outputs[1]),
                  at<float>(outputs[2]), at<float>(outputs[3])};
  code(coding_of(sizes, rotate, steps, top, threshold), at<float>(x), out, threads);
}

void py_rotate(const Sizes<2>& sizes, std::uintptr_t x, std::uintptr_t out, int threads) {
  const nb::gil_scoped_release released;
  rotate(at<float>(x), at<float>(out), sizes[0], sizes[1], threads);
}

void py_code_back(const Sizes<2>& sizes, bool rotate, const Addresses<2>& inputs,
                  std::uintptr_t dx, int threads) {
  const nb::gil_scoped_release released;
  code_back(coding_of(sizes, rotate, 0, 0, 0), at<std::uint8_t>(inputs[0]), at<float>(inputs[1]),
            at<float>(dx), threads);
}

void py_values(const Sizes<2>& sizes, int top, const Addresses<2>& inputs, std::uintptr_t out,
               int threads) {
  const nb::gil_scoped_release released;
  const Coded of{at<std::uint8_t>(inputs[0]), nullptr, at<float>(inputs[1]), at<float>(out)};
  values(coding_of(sizes, false, 0, top, 0), of, threads);
}

void py_product(const Sizes<3>& sizes, int planes, int top, const Addresses<4>& inputs,
                std::uintptr_t y, int threads) {
  const nb::gil_scoped_release released;
  const Planes matrix = planes_of({sizes[2], sizes[1], sizes[1]}, planes, {inputs[2], inputs[3]});
  product({matrix, sizes[0], top, at<std::uint8_t>(inputs[0]), at<float>(inputs[1]), at<float>(y)},
          threads);
}

void py_product_back(const Sizes<3>& sizes, int planes, const Addresses<3>& inputs,
                     std::uintptr_t dvalues, int threads) {
  const nb::gil_scoped_release released;
  const Planes matrix = planes_of({sizes[2], sizes[1], sizes[1]}, planes, {inputs[1], inputs[2]});
  product_back({matrix, sizes[0], at<float>(inputs[0]), at<float>(dvalues)}, threads);
}

void py_turn(const Sizes<4>& sizes, bool back, const Addresses<3>& inputs, std::uintptr_t y,
             int threads) {
  const nb::gil_scoped_release released;
  turn({sizes[0], sizes[1], sizes[2], sizes[3], back, at<float>(inputs[0]), at<float>(inputs[1]),
        at<float>(inputs[2]), at<float>(y)},
       threads);
}

Keys keys_of(const Sizes<3>& sizes, float least, const Addresses<4>& inputs) {
  return {sizes[0], sizes[1], sizes[2], least, at<float>(inputs[0]), at<float>(inputs[1]),
          at<float>(inputs[2]), at<float>(inputs[3])};
}

void py_delta_keys(const Sizes<3>& sizes, float least, const Addresses<4>& inputs,
                   const Addresses<4>& outputs, int threads) {
  const nb::gil_scoped_release released;
  delta_keys(keys_of(sizes, least, inputs),
             {at<float>(outputs[0]), at<float>(outputs[1]), at<float>(outputs[2]),
              at<float>(outputs[3])},
             threads);
}

void py_delta_keys_back(const Sizes<3>& sizes, float least, const Addresses<4>& inputs,
                        const Addresses<4>& gradients_in, const Addresses<4>& gradients_out,
                        int threads) {
  const nb::gil_scoped_release released;
  const auto& [kappa, alpha, beta, written] = gradients_in;
  const auto& [dk, da, dremoval, dreplacement] = gradients_out;
  delta_keys_back(keys_of(sizes, least, inputs),
                  {at<float>(kappa), at<float>(alpha), at<float>(beta), at<float>(written),
                   at<float>(dk), at<float>(da), at<float>(dremoval), at<float>(dreplacement)},
                  threads);
}

void py_norm(const Sizes<2>& sizes, float eps, const Addresses<2>& inputs, std::uintptr_t y,
             int threads) {
  const nb::gil_scoped_release released;
  norm({sizes[0], sizes[1], eps, at<float>(inputs[0]), at<float>(inputs[1])}, at<float>(y), threads);
}

void py_norm_back(const Sizes<2>& sizes, float eps, const Addresses<3>& inputs,
                  const Addresses<2>& outputs, int threads) {
  const nb::gil_scoped_release released;
  norm_back({sizes[0], sizes[1], eps, at<float>(inputs[0]), at<float>(inputs[1])},
            {at<float>(inputs[2]), at<float>(outputs[0]), at<float>(outputs[1]), nullptr}, threads);
}

void py_divergence(const Sizes<3>& sizes, float tau, float least, const Addresses<5>& inputs,
                   const Addresses<2>& outputs, int threads) {
  const nb::gil_scoped_release released;
  divergence({sizes[0], sizes[1], sizes[2], tau, least, at<float>(inputs[0]), at<float>(inputs[1]),
              at<std::int64_t>(inputs[2]), at<float>(inputs[3]), at<float>(inputs[4]),
              at<float>(outputs[0]), at<float>(outputs[1])},
             threads);
}

}  // namespace

void bind(nb::module_& m) {
  m.def("quantise", &py_quantise, nb::kw_only(), "sizes"_a, "planes"_a, "factor"_a, "weight"_a,
        "outputs"_a, "threads"_a);
  m.def("dense_of_planes", &py_dense, nb::kw_only(), "sizes"_a, "planes"_a, "inputs"_a, "out"_a,
        "threads"_a);
  m.def("rotate", &py_rotate, nb::kw_only(), "sizes"_a, "x"_a, "out"_a, "threads"_a);
  m.def("code", &py_code, nb::kw_only(), "sizes"_a, "rotate"_a, "steps"_a, "top"_a, "threshold"_a,
        "x"_a, "outputs"_a, "threads"_a);
  m.def("code_back", &py_code_back, nb::kw_only(), "sizes"_a, "rotate"_a, "inputs"_a, "dx"_a,
        "threads"_a);
  m.def("ternary_product", &py_product, nb::kw_only(), "sizes"_a, "planes"_a, "top"_a, "inputs"_a,
        "y"_a, "threads"_a);
  m.def("ternary_product_back", &py_product_back, nb::kw_only(), "sizes"_a, "planes"_a,
        "inputs"_a, "dvalues"_a, "threads"_a);
  m.def("values", &py_values, nb::kw_only(), "sizes"_a, "top"_a, "inputs"_a, "out"_a, "threads"_a);
  m.def("turn", &py_turn, nb::kw_only(), "sizes"_a, "back"_a, "inputs"_a, "y"_a, "threads"_a);
  m.def("delta_keys", &py_delta_keys, nb::kw_only(), "sizes"_a, "least"_a, "inputs"_a, "outputs"_a,
        "threads"_a);
  m.def("delta_keys_back", &py_delta_keys_back, nb::kw_only(), "sizes"_a, "least"_a, "inputs"_a,
        "gradients_in"_a, "gradients_out"_a, "threads"_a);
  m.def("norm", &py_norm, nb::kw_only(), "sizes"_a, "eps"_a, "inputs"_a, "y"_a, "threads"_a);
  m.def("norm_back", &py_norm_back, nb::kw_only(), "sizes"_a, "eps"_a, "inputs"_a, "outputs"_a,
        "threads"_a);
  m.def("divergence", &py_divergence, nb::kw_only(), "sizes"_a, "tau"_a, "least"_a, "inputs"_a,
        "outputs"_a, "threads"_a);
}

}  // namespace goose::train
