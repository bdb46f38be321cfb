// What dense products share that go through rows four at a time.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "simd.h"

namespace goose::kernels {
namespace {

// Asks memory for what lies `ahead` bytes after what is read (kernels.h), a few lines at a time: a
// core that is asked for more than it can wait for forgets the rest.
class Asking {
 public:
  Asking(const void* weights, std::int32_t ahead)
      : at_(static_cast<const char*>(weights) + ahead), to_(at_), asks_(ahead != 0) {}

  // As much as is read meanwhile.
  void ask(std::int64_t bytes) {
    if (!asks_) return;
    for (to_ += bytes; at_ < to_; at_ += 64) __builtin_prefetch(at_, 0, 2);
  }

 private:
  const char *at_, *to_;
  bool asks_;
};

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
