// A vector of fp32 as wide as the instruction set being compiled for (see isa.cmake).
#pragma once

#include <cstdint>

#ifndef GOOSE_VECTOR_BYTES
#error "include simd.h only from sources added by goose_add_isa_sources"
#endif

// Of internal linkage, since it means something else in every object.
namespace goose {
namespace {

typedef float Vec __attribute__((vector_size(GOOSE_VECTOR_BYTES)));
typedef float UnalignedVec __attribute__((vector_size(GOOSE_VECTOR_BYTES), aligned(4), may_alias));

typedef std::int32_t IntVec __attribute__((vector_size(GOOSE_VECTOR_BYTES)));

constexpr int kLanes = GOOSE_VECTOR_BYTES / sizeof(float);

inline Vec load(const float* from) { return *reinterpret_cast<const UnalignedVec*>(from); }
inline void store(float* to, Vec value) { *reinterpret_cast<UnalignedVec*>(to) = value; }

typedef float Four __attribute__((vector_size(16)));
typedef std::int32_t FourInts __attribute__((vector_size(16)));

// Adds the quarters of a vector, which are what all instruction sets have.
inline Four folded(Vec x) {
  Four part[sizeof x / 16];
  __builtin_memcpy(part, &x, sizeof x);
  for (unsigned i = 1; i < sizeof x / 16; ++i) part[0] += part[i];
  return part[0];
}
inline FourInts folded(IntVec x) {
  FourInts part[sizeof x / 16];
  __builtin_memcpy(part, &x, sizeof x);
  for (unsigned i = 1; i < sizeof x / 16; ++i) part[0] += part[i];
  return part[0];
}

// Sum of all lanes.
inline float sum_of(Vec x) {
  const Four four = folded(x);
  return (four[0] + four[1]) + (four[2] + four[3]);
}

// Sums of four vectors, one in each lane.
template <class V>
inline auto sums_of(const V* x) {
  const auto a = folded(x[0]), b = folded(x[1]), c = folded(x[2]), d = folded(x[3]);
  const auto ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const auto cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

}  // namespace
}  // namespace goose
