// The ternary product of every instruction set; kernels.h says what it computes.
#pragma once

#include "kernels/kernels.h"

#define GOOSE_TERNARY(isa)                                                                  \
  namespace goose::kernels::isa {                                                           \
  extern const std::int32_t widest_segment;                                                 \
  void tile(const Segment&, const Span* spans, const std::int32_t* weights,                 \
            std::int32_t steps, std::int32_t stride, std::int32_t* out);                    \
  void sides(const Segment&, const Span* spans, const std::int32_t* weights,                \
             std::int32_t steps, std::int32_t stride, std::int32_t* out);                   \
  }

GOOSE_TERNARY(reference)
GOOSE_TERNARY(baseline)
GOOSE_TERNARY(avx2)
GOOSE_TERNARY(avx512)

#undef GOOSE_TERNARY
