// From a vector of fp32 to ternary spikes; kernels.h says what is computed.
//
// Integers must agree between instruction sets and with Python, so sums are taken in fp64 and
// rounded once, and these sources are compiled without contraction of products and sums.
#pragma once

#include "kernels/kernels.h"

namespace goose::kernels {

// Largest integer of a code with so many steps, and the worth of one step.
constexpr std::int32_t levels(Code code, std::int32_t steps) {
  std::int32_t power = 1;
  if (code == Code::rate) return steps;
  for (int i = 0; i < steps; ++i) power *= code == Code::radix2 ? 2 : 3;
  return code == Code::radix2 ? power - 1 : (power - 1) / 2;
}
constexpr std::int32_t worth(Code code, std::int32_t step) {
  std::int32_t power = 1;
  if (code == Code::rate) return 1;
  for (int i = 0; i < step; ++i) power *= code == Code::radix2 ? 2 : 3;
  return power;
}

}  // namespace goose::kernels

#define GOOSE_SPIKES(isa)                                  \
  namespace goose::kernels::isa {                          \
  double magnitudes(const float* x, std::int64_t width);   \
  void encode(const Encoder&, const float* x, double sum,  \
              Spikes&);                                    \
  void list(const Encoder&, Spikes&);                      \
  std::int64_t select(const float* x, std::int64_t width,  \
                      float threshold, std::uint32_t* to); \
  }

GOOSE_SPIKES(reference)
GOOSE_SPIKES(baseline)
GOOSE_SPIKES(avx2)
GOOSE_SPIKES(avx512)

#undef GOOSE_SPIKES
