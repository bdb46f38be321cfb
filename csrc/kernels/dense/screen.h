// What the rough product of kernels.h makes of its sum over weights of four bits.
#pragma once

#include <cstdint>

namespace goose {
namespace {

constexpr float kMiddle = 7.5F;  // of sixteen levels: so many stand above it as below

inline float screened(std::int32_t levels, std::int32_t inputs) {
  return static_cast<float>(levels) - kMiddle * static_cast<float>(inputs);
}

}  // namespace
}  // namespace goose
