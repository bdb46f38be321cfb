// Dense products of every instruction set, for what stays analogue; kernels.h says what they do.
#pragma once

#include "kernels/kernels.h"

#define GOOSE_DENSE(isa)                                                                          \
  namespace goose::kernels::isa {                                                                 \
  void dense_f32(const float* w, const float* x, float* y, std::int64_t width, std::int64_t from, \
                 std::int64_t to, std::int32_t ahead);                                            \
  void dense_f16(const std::uint16_t* w, const float* x, float* y, std::int64_t width,            \
                 std::int64_t from, std::int64_t to, std::int32_t ahead);                         \
  void dense_i8(const std::int8_t* w, const float* scale, const std::int16_t* x, float amplitude, \
                float* y, std::int64_t width, std::int64_t from, std::int64_t to,                 \
                std::int32_t ahead);                                                              \
  std::int32_t row_i8(const std::int8_t* w, const std::int16_t* x, std::int64_t width,            \
                      std::int64_t row);                                                          \
  void screen(const std::uint8_t* nibbles, const float* scale, const std::int8_t* x,              \
              float amplitude, float* y, std::int64_t width, std::int64_t from, std::int64_t to,  \
              std::int32_t ahead);                                                                \
  float round_i16(const float* x, std::int16_t* x16, std::int64_t width, std::int32_t limit);     \
  }

GOOSE_DENSE(reference)
GOOSE_DENSE(baseline)
GOOSE_DENSE(avx2)
GOOSE_DENSE(avx512)

#undef GOOSE_DENSE
