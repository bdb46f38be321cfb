// What the rough product of kernels.h makes of its sum over upper halves of weights.
#pragma once

#include <cstdint>

namespace goose {
namespace {

// A weight w = 16 (u - 8) + rest with the rest in 0..15 is taken as 16 u - 120.5.
inline float screened(std::int32_t upper, std::int32_t inputs) {
  return 16.0F * static_cast<float>(upper) - 120.5F * static_cast<float>(inputs);
}

}  // namespace
}  // namespace goose
