// The block-Hadamard transform of every instruction set; kernels.h says what it computes. Like the
// spikes it must agree to the last bit, so its sources are compiled without contraction.
#pragma once

#include "kernels/kernels.h"

#define GOOSE_HADAMARD(isa)                                             \
  namespace goose::kernels::isa {                                       \
  void hadamard(float* x, std::int64_t width);                          \
  double rotate(const float* x, float* to, std::int64_t width);         \
  }

GOOSE_HADAMARD(reference)
GOOSE_HADAMARD(baseline)
GOOSE_HADAMARD(avx2)
GOOSE_HADAMARD(avx512)

#undef GOOSE_HADAMARD
