// A vector of fp32 as wide as the instruction set being compiled for (see isa.cmake).
#pragma once

#ifndef GOOSE_VECTOR_BYTES
#error "include simd.h only from sources added by goose_add_isa_sources"
#endif

// Of internal linkage, since it means something else in every object.
namespace goose {
namespace {

typedef float Vec __attribute__((vector_size(GOOSE_VECTOR_BYTES)));
typedef float UnalignedVec __attribute__((vector_size(GOOSE_VECTOR_BYTES), aligned(4), may_alias));

constexpr int kLanes = GOOSE_VECTOR_BYTES / sizeof(float);

inline Vec load(const float* from) { return *reinterpret_cast<const UnalignedVec*>(from); }
inline void store(float* to, Vec value) { *reinterpret_cast<UnalignedVec*>(to) = value; }

}  // namespace
}  // namespace goose
