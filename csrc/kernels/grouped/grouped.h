// Products with weights of four or eight bits in groups of 64 columns; kernels.h says what they do.
// Inputs must become the same integers on every instruction set, so these sources are compiled
// without contraction of products and sums.
#pragma once

#include "kernels/kernels.h"

#define GOOSE_GROUPED(isa)                                                                       \
  namespace goose::kernels::isa {                                                                \
  void grouped_4(const std::uint8_t* blocks, const Octets& x, float* y, std::int64_t groups,     \
                 std::int64_t from, std::int64_t to, std::int32_t ahead);                        \
  void grouped_8(const std::uint8_t* blocks, const Octets& x, float* y, std::int64_t groups,     \
                 std::int64_t from, std::int64_t to, std::int32_t ahead);                        \
  void round_i8(const float* x, const Octets& to, std::int64_t groups);                          \
  }

GOOSE_GROUPED(reference)
GOOSE_GROUPED(baseline)
GOOSE_GROUPED(avx2)
GOOSE_GROUPED(avx512)
GOOSE_GROUPED(avx512vnni)

#undef GOOSE_GROUPED
