// Dense products in plain loops.
#include <cmath>

#include "kernels/dense/dense.h"
#include "kernels/dense/half.h"
#include "kernels/dense/screen.h"

namespace goose::kernels::reference {
namespace {

double real(float x) { return x; }
double real(std::uint16_t half) { return single_of_half(half); }

template <class Weight>
void product(const Weight* w, const float* x, float* y, std::int64_t width, std::int64_t from,
             std::int64_t to) {
  for (std::int64_t m = from; m < to; ++m) {
    double sum = 0;
    for (std::int64_t k = 0; k < width; ++k) sum += real(w[m * width + k]) * x[k];
    y[m] = static_cast<float>(sum);
  }
}

}  // namespace

void dense_f32(const float* w, const float* x, float* y, std::int64_t width, std::int64_t from,
               std::int64_t to, std::int32_t) {
  product(w, x, y, width, from, to);
}

void dense_f16(const std::uint16_t* w, const float* x, float* y, std::int64_t width,
               std::int64_t from, std::int64_t to, std::int32_t) {
  product(w, x, y, width, from, to);
}

void dense_i8(const std::int8_t* w, const float* scale, const std::int16_t* x, float amplitude,
              float* y, std::int64_t width, std::int64_t from, std::int64_t to, std::int32_t) {
  for (std::int64_t m = from; m < to; ++m) {
    std::int32_t sum = 0;
    for (std::int64_t k = 0; k < width; ++k) sum += w[m * width + k] * x[k];
    y[m] = scale[m] * amplitude * static_cast<float>(sum);
  }
}

std::int32_t row_i8(const std::int8_t* w, const std::int16_t* x, std::int64_t width,
                    std::int64_t row) {
  std::int32_t sum = 0;
  for (std::int64_t k = 0; k < width; ++k) sum += w[row * width + k] * x[k];
  return sum;
}

void screen(const std::uint8_t* nibbles, const float* scale, const std::int8_t* x, float amplitude,
            float* y, std::int64_t width, std::int64_t from, std::int64_t to, std::int32_t) {
  std::int32_t inputs = 0;
  for (std::int64_t k = 0; k < width; ++k) inputs += x[k];
  for (std::int64_t m = from; m < to; ++m) {
    std::int32_t levels = 0;
    for (std::int64_t k = 0; k < width; ++k) {
      const std::uint8_t byte = nibbles[(m * width + k / 64 * 64) / 2 + k % 32];
      levels += (k % 64 < 32 ? byte & 15 : byte >> 4) * x[k];
    }
    y[m] = scale[m] * amplitude * screened(levels, inputs);
  }
}

float round_i16(const float* x, std::int16_t* x16, std::int64_t width, std::int32_t limit) {
  float most = 0;
  for (std::int64_t i = 0; i < width; ++i) most = std::fmax(most, std::fabs(x[i]));
  const float inverse = most > 0 && most < INFINITY ? static_cast<float>(limit) / most : 0.0F;
  for (std::int64_t i = 0; i < width; ++i) {
    x16[i] = static_cast<std::int16_t>(std::nearbyint(x[i] * inverse));
  }
  return inverse > 0 ? most / static_cast<float>(limit) : 0.0F;
}

}  // namespace goose::kernels::reference
