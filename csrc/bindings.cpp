// Python module asnn_goose._native. Tensors arrive as addresses of contiguous fp32, which costs a
// tenth of passing them as arrays; the callers in src/asnn_goose check shapes first.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/bindings.h"
#include "isa.h"
#include "lif/lif.h"
#include "train/bindings.h"
#include "wkv4/wkv4.h"
#include "wkv7/wkv7.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <std::size_t n>
using Addresses = std::array<std::uintptr_t, n>;
using Shape = std::array<std::int64_t, 4>;
using Extents = std::array<std::int64_t, 3>;

float* floats(std::uintptr_t address) { return reinterpret_cast<float*>(address); }

const std::uint8_t* bytes(std::uintptr_t address) {
  return reinterpret_cast<const std::uint8_t*>(address);
}

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (const goose::Isa isa : goose::available_isas()) names.emplace_back(goose::name(isa));
  return names;
}

std::string isa() { return std::string(goose::name(goose::selected_isa())); }

goose::wkv7::Inputs wkv7_inputs(const Addresses<6>& x, std::uintptr_t state) {
  return {floats(x[0]), floats(x[1]), floats(x[2]), floats(x[3]),
          floats(x[4]), floats(x[5]), floats(state)};
}

void wkv7_forward(const Shape& sizes, const Addresses<6>& inputs, std::uintptr_t state,
                  const Addresses<3>& outputs, int threads) {
  const nb::gil_scoped_release released;
  goose::wkv7::forward({sizes[0], sizes[1], sizes[2], sizes[3]}, wkv7_inputs(inputs, state),
                       {floats(outputs[0]), floats(outputs[1]), floats(outputs[2])}, threads);
}

void wkv7_backward(const Shape& sizes, const Addresses<6>& inputs, std::uintptr_t state,
                   std::uintptr_t p, const Addresses<2>& in, const Addresses<7>& out,
                   int threads) {
  const nb::gil_scoped_release released;
  goose::wkv7::backward(
      {sizes[0], sizes[1], sizes[2], sizes[3]}, wkv7_inputs(inputs, state),
      {floats(p), floats(in[0]), floats(in[1]), floats(out[0]), floats(out[1]), floats(out[2]),
       floats(out[3]), floats(out[4]), floats(out[5]), floats(out[6])},
      threads);
}

goose::wkv4::Inputs wkv4_inputs(const Addresses<5>& x, std::uintptr_t marks) {
  return {floats(x[0]), floats(x[1]), floats(x[2]), floats(x[3]), floats(x[4]), bytes(marks)};
}

void wkv4_forward(const Extents& sizes, const Addresses<5>& inputs, std::uintptr_t marks,
                  const Addresses<4>& out, int threads) {
  const nb::gil_scoped_release released;
  goose::wkv4::forward({sizes[0], sizes[1], sizes[2]}, wkv4_inputs(inputs, marks),
                       {floats(out[0]), floats(out[1]), floats(out[2]), floats(out[3])}, threads);
}

void wkv4_backward(const Extents& sizes, const Addresses<5>& inputs, std::uintptr_t marks,
                   const Addresses<4>& in, const Addresses<5>& out, int threads) {
  const nb::gil_scoped_release released;
  goose::wkv4::backward({sizes[0], sizes[1], sizes[2]}, wkv4_inputs(inputs, marks),
                        {floats(in[0]), floats(in[1]), floats(in[2]), floats(in[3]), floats(out[0]),
                         floats(out[1]), floats(out[2]), floats(out[3]), floats(out[4])},
                        threads);
}

void lif_forward(const Extents& sizes, const std::array<float, 2>& neuron, bool is_signed,
                 const Addresses<2>& inputs, std::uintptr_t marks, const Addresses<3>& out,
                 int threads) {
  const nb::gil_scoped_release released;
  goose::lif::forward({sizes[0], sizes[1], sizes[2]}, {neuron[0], neuron[1], is_signed},
                      {floats(inputs[0]), floats(inputs[1]), bytes(marks)},
                      {floats(out[0]), floats(out[1]), floats(out[2])}, threads);
}

void lif_backward(const Extents& sizes, const std::array<float, 3>& neuron, bool is_signed,
                  bool is_detached, std::uintptr_t marks, const Addresses<4>& in, const Addresses<2>& out,
                  int threads) {
  const nb::gil_scoped_release released;
  goose::lif::backward({sizes[0], sizes[1], sizes[2]},
                       {neuron[0], neuron[1], is_signed, is_detached, neuron[2]},
                       {nullptr, nullptr, bytes(marks)},
                       {floats(in[0]), floats(in[1]), floats(in[2]), floats(in[3]), floats(out[0]),
                        floats(out[1])},
                       threads);
}

}  // namespace

NB_MODULE(_native, m) {
  goose::engine::bind(m);
  goose::train::bind(m);
  m.def("isas", &isas);
  m.def("isa", &isa);
  m.def("wkv7_forward", &wkv7_forward, nb::kw_only(), "sizes"_a, "inputs"_a, "state"_a,
        "outputs"_a, "threads"_a);
  m.def("wkv7_backward", &wkv7_backward, nb::kw_only(), "sizes"_a, "inputs"_a, "state"_a, "p"_a,
        "gradients_in"_a, "gradients_out"_a, "threads"_a);
  m.def("wkv4_forward", &wkv4_forward, nb::kw_only(), "sizes"_a, "inputs"_a, "marks"_a,
        "outputs"_a, "threads"_a);
  m.def("wkv4_backward", &wkv4_backward, nb::kw_only(), "sizes"_a, "inputs"_a, "marks"_a,
        "gradients_in"_a, "gradients_out"_a, "threads"_a);
  m.def("lif_forward", &lif_forward, nb::kw_only(), "sizes"_a, "neuron"_a, "is_signed"_a,
        "inputs"_a, "marks"_a, "outputs"_a, "threads"_a);
  m.def("lif_backward", &lif_backward, nb::kw_only(), "sizes"_a, "neuron"_a, "is_signed"_a,
        "is_detached"_a, "marks"_a, "gradients_in"_a, "gradients_out"_a, "threads"_a);
}
