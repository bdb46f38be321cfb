// Functions of vectors of fp32.
#pragma once

#include "simd.h"

namespace goose {
namespace {

inline Vec magnitude(Vec x) { return (Vec)((IntVec)x & 0x7FFFFFFF); }

inline Vec clamp(Vec x, float low, float high) {
  x = x < low ? low + Vec{} : x;
  return x > high ? high + Vec{} : x;
}

// e^x = 2^n e^f with |f| <= ln(2) / 2; relative error below 2e-7.
inline Vec power_of_e(Vec x) {
  constexpr float kRound = 12582912.0F;
  x = clamp(x, -87.0F, 88.0F);
  const Vec n = (x * 1.44269504F + kRound) - kRound;
  const Vec f = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  Vec p = f * 1.9875691500e-4F + 1.3981999507e-3F;
  p = p * f + 8.3334519073e-3F;
  p = p * f + 4.1665795894e-2F;
  p = p * f + 1.6666665459e-1F;
  p = p * f + 5.0000001201e-1F;
  p = p * f * f + f + 1.0F;
  const IntVec exponent = (__builtin_convertvector(n, IntVec) + 127) << 23;
  return p * (Vec)exponent;
}

}  // namespace
}  // namespace goose
