// Products with grouped weights in plain loops.
#include <cmath>
#include <cstring>

#include "kernels/grouped/grouped.h"

namespace goose::kernels::reference {
namespace {

// Of row m in the block of its kRows: where its codes, its groups and its scale stand.
struct Row {
  const std::uint8_t *codes, *sizes, *zeros;
  float scale;

  Row(const std::uint8_t* blocks, int bits, std::int64_t groups, std::int64_t m) {
    const std::uint8_t* block = blocks + m / kRows * grouped_block(bits, groups);
    const std::int64_t r = m % kRows, per = bits == 4 ? 2 : 1;
    codes = block + r * groups * 8 * bits;
    sizes = block + kRows * groups * 8 * bits + r * groups * per;
    zeros = bits == 4 ? sizes + groups : nullptr;
    std::memcpy(&scale, block + kRows * groups * (8 * bits + per) + r * 4, sizeof scale);
  }

  std::int32_t code(int bits, std::int64_t g, std::int64_t k) const {
    if (bits == 8) return static_cast<std::int8_t>(codes[64 * g + k]);
    const std::uint8_t both = codes[32 * g + k % 32];
    return k < 32 ? both & 15 : both >> 4;
  }
};

void product(int bits, const std::uint8_t* blocks, const Octets& x, float* y, std::int64_t groups,
             std::int64_t from, std::int64_t to) {
  for (std::int64_t m = from; m < to; ++m) {
    const Row row(blocks, bits, groups, m);
    double sum = 0;
    for (std::int64_t g = 0; g < groups; ++g) {
      std::int32_t dot = 0;
      for (std::int64_t k = 0; k < 64; ++k) dot += row.code(bits, g, k) * x.codes[64 * g + k];
      const double zero = row.zeros == nullptr ? 0 : row.zeros[g] / 16.0 * x.sums[g];
      sum += static_cast<double>(x.amplitude[g]) * row.sizes[g] * (dot - zero);
    }
    y[m] = static_cast<float>(row.scale * sum);
  }
}

}  // namespace

void grouped_4(const std::uint8_t* blocks, const Octets& x, float* y, std::int64_t groups,
               std::int64_t from, std::int64_t to, std::int32_t) {
  product(4, blocks, x, y, groups, from, to);
}

void grouped_8(const std::uint8_t* blocks, const Octets& x, float* y, std::int64_t groups,
               std::int64_t from, std::int64_t to, std::int32_t) {
  product(8, blocks, x, y, groups, from, to);
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
