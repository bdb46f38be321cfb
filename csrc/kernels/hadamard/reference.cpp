// The block-Hadamard transform, one number at a time.
#include <cmath>
#include <cstring>

#include "kernels/hadamard/hadamard.h"

namespace goose::kernels::reference {

void hadamard(float* x, std::int64_t width) {
  for (float* block = x; block < x + width; block += 64) {
    for (int d = 1; d < 64; d *= 2) {
      for (int i = 0; i < 64; ++i) {
        if (i & d) continue;
        const float a = block[i], b = block[i + d];
        block[i] = a + b;
        block[i + d] = a - b;
      }
    }
    for (int i = 0; i < 64; ++i) block[i] *= 0.125F;
  }
}

double rotate(const float* x, float* to, std::int64_t width) {
  std::memmove(to, x, sizeof(float) * static_cast<std::size_t>(width));
  hadamard(to, width);
  double sum = 0;
  for (std::int64_t i = 0; i < width; ++i) sum += std::fabs(to[i]);
  return sum;
}

}  // namespace goose::kernels::reference
