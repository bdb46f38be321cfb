// The largest of many numbers, in lanes, so that compilers use vectors for it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace goose::engine {

// Numbers that are not a number do not count; -infinity where there is none.
inline float largest(const float* x, std::int64_t count) {
  constexpr std::int64_t kLanes = 16;
  float most[kLanes];
  std::fill_n(most, kLanes, -INFINITY);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      most[lane] = x[i + lane] > most[lane] ? x[i + lane] : most[lane];
    }
  }
  for (; i < count; ++i) most[0] = x[i] > most[0] ? x[i] : most[0];
  return *std::max_element(most, most + kLanes);
}

}  // namespace goose::engine
