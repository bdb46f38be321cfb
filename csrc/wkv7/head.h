// Where one head lives in (B,T,H,N) and (B,H,N,N).
#pragma once

#include "wkv7/wkv7.h"

// Of internal linkage: an inline function shared between objects could be the AVX-512 one.
namespace goose::wkv7 {
namespace {

struct Head {
  Head(const Sizes& z, std::int64_t head)
      : first(((head / z.H) * z.T * z.H + head % z.H) * z.N),
        stride(z.H * z.N),
        state(head * z.N * z.N) {}
  std::int64_t row(std::int64_t t) const { return first + t * stride; }

  std::int64_t first, stride, state;
};

}  // namespace
}  // namespace goose::wkv7
