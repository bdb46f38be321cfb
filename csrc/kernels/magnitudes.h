// Sums of magnitudes in fp64, whatever the order: rounding to fp32 then hides the order.
#pragma once

#include "simd.h"

namespace goose::kernels {
namespace {

typedef float HalfVec __attribute__((vector_size(GOOSE_VECTOR_BYTES / 2)));
typedef double Doubles __attribute__((vector_size(GOOSE_VECTOR_BYTES)));

inline Vec magnitude(Vec x) { return (Vec)((IntVec)x & 0x7FFFFFFF); }

// Two chains of sums, so that one addition need not wait for another.
class Magnitudes {
 public:
  void add(int chain, Vec x) {
    const Vec sizes = magnitude(x);
    HalfVec halves[2];
    __builtin_memcpy(halves, &sizes, sizeof halves);
    sum_[2 * chain] += __builtin_convertvector(halves[0], Doubles);
    sum_[2 * chain + 1] += __builtin_convertvector(halves[1], Doubles);
  }

  double total() const {
    double total = 0;
    for (const Doubles& sum : sum_) {
      for (int i = 0; i < kLanes / 2; ++i) total += sum[i];
    }
    return total;
  }

 private:
  Doubles sum_[4] = {};
};

}  // namespace
}  // namespace goose::kernels
