// What dense products share that go through rows four at a time.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "simd.h"

namespace goose::kernels {
namespace {

// Asks memory for what lies `ahead` bytes after so many bytes of weights (kernels.h).
inline void ask_for(const void* weights, std::int64_t bytes, std::int32_t ahead) {
  if (ahead == 0) return;
  const char* from = static_cast<const char*>(weights) + ahead;
  for (const char* to = from + bytes; from < to; from += 64) __builtin_prefetch(from, 0, 2);
}

// The sums of kRows rows, of which `rows` are there.
inline void put(Four sums, float* y, std::int64_t rows) {
  if (rows >= kRows) {
    __builtin_memcpy(y, &sums, sizeof sums);
  } else {
    for (int r = 0; r < rows; ++r) y[r] = sums[r];
  }
}

}  // namespace
}  // namespace goose::kernels
