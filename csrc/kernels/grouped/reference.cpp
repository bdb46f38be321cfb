// Products with grouped weights in plain loops.
#include <cmath>
#include <cstring>

#include "kernels/grouped/grouped.h"

namespace goose::kernels::reference {
namespace {

std::int32_t dot(const std::uint8_t* codes, const std::int8_t* x) {
  std::int32_t sum = 0;
  for (int k = 0; k < 32; ++k) sum += (codes[k] & 15) * x[k] + (codes[k] >> 4) * x[32 + k];
  return sum;
}

}  // namespace

void grouped(const std::uint8_t* blocks, const Octets& x, float* y, std::int64_t groups,
             std::int64_t from, std::int64_t to, std::int32_t) {
  for (std::int64_t m = from; m < to; ++m) {
    const std::uint8_t* block = blocks + m / kRows * grouped_block(groups);
    const std::int64_t r = m % kRows;
    const std::uint8_t* sizes = block + (kRows * 32 + 2 * r) * groups;
    double sum = 0;
    for (std::int64_t g = 0; g < groups; ++g) {
      const double zeros = static_cast<double>(sizes[groups + g] / kZeroes) * x.sums[g];
      const std::int32_t whole = dot(block + (g * kRows + r) * 32, x.codes + 64 * g);
      sum += static_cast<double>(x.amplitude[g]) * sizes[g] * (whole - zeros);
    }
    float scale;
    std::memcpy(&scale, block + kRows * 34 * groups + 4 * r, sizeof scale);
    y[m] = static_cast<float>(scale * sum);
  }
}

void round_i8(const float* x, const Octets& to, std::int64_t groups) {
  for (std::int64_t g = 0; g < groups; ++g) {
    float most = 0;
    for (std::int64_t k = 64 * g; k < 64 * g + 64; ++k) most = std::fmax(most, std::fabs(x[k]));
    const float inverse = inverse_of(most);
    std::int32_t sum = 0;
    for (std::int64_t k = 64 * g; k < 64 * g + 64; ++k) {
      const float value = x[k] * inverse;
      to.codes[k] = std::isnan(value) ? 0 : static_cast<std::int8_t>(std::nearbyint(value));
      sum += to.codes[k];
    }
    to.amplitude[g] = inverse > 0 ? most / kOctet : 0.0F;
    to.sums[g] = sum;
  }
}

}  // namespace goose::kernels::reference
