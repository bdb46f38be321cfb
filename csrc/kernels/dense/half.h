// IEEE half precision to single, one number at a time.
#pragma once

#include <cstdint>

namespace goose {
namespace {

inline float single_of_half(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16, rest = half & 0x7FFFu;
  std::uint32_t bits = sign | (rest << 13);
  float value;
  if (rest >= 0x7C00u) {
    bits |= 0x7F800000u;  // infinite or not a number
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
  }
  __builtin_memcpy(&value, &bits, sizeof value);
  return value * 0x1p112F;  // moves the exponent; exact for subnormal halves too
}

}  // namespace
}  // namespace goose
