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

// Sum of all lanes, by halves.
template <class V>
inline auto sum_of(V x) {
#pragma GCC unroll 4
  for (int half = kLanes / 2; half > 0; half /= 2) {
    IntVec other;
    for (int i = 0; i < kLanes; ++i) other[i] = i ^ half;
    x += __builtin_shuffle(x, other);
  }
  return x[0];
}

}  // namespace
}  // namespace goose
