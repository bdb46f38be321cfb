// The largest of many numbers, and whether they are any: in loops that compilers use vectors for.
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

// Whether all are numbers, infinite ones included.
inline bool all_numbers(const float* x, std::int64_t count) {
  std::int32_t others = 0;
  for (std::int64_t i = 0; i < count; ++i) others |= x[i] != x[i] ? 1 : 0;
  return others == 0;
}

}  // namespace goose::engine
