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

// Adds the parts of a vector: those of four numbers are what all instruction sets have.
template <class Part, class V>
inline Part parts_of(V x) {
  Part part[sizeof x / sizeof(Part)];
  __builtin_memcpy(part, &x, sizeof x);
  for (unsigned i = 1; i < sizeof x / sizeof(Part); ++i) part[0] += part[i];
  return part[0];
}
inline Four folded(Vec x) { return parts_of<Four>(x); }
inline FourInts folded(IntVec x) { return parts_of<FourInts>(x); }

// Sum of all lanes.
inline float sum_of(Vec x) {
  const Four four = folded(x);
  return (four[0] + four[1]) + (four[2] + four[3]);
}

// Sums of four times four numbers, one in each lane.
template <class Part>
inline Part transposed_sums(Part a, Part b, Part c, Part d) {
  const Part ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Part cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

// Sums of four vectors, one in each lane.
template <class Part, class V>
inline Part sums_of(const V* x) {
  return transposed_sums(parts_of<Part>(x[0]), parts_of<Part>(x[1]), parts_of<Part>(x[2]),
                         parts_of<Part>(x[3]));
}

}  // namespace
}  // namespace goose
