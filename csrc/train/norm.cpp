// RMSNorm and its gradients, in one pass over memory each.
#include "simd.h"
#include "train/train.h"

namespace goose::train::GOOSE_ISA {
namespace {

// 1 / sqrt(mean x^2 + eps) of a token.
float inverse_size(const Norm& z, const float* x) {
  Vec squares{};
  for (std::int64_t i = 0; i < z.columns; i += kLanes) squares += load(x + i) * load(x + i);
  return 1.0F / __builtin_sqrtf(sum_of(squares) / static_cast<float>(z.columns) + z.eps);
}

}  // namespace

void norm(const Norm& z, float* y, std::int64_t token) {
  const std::int64_t first = token * z.columns;
  const float* x = z.x + first;
  const float inverse = inverse_size(z, x);
  for (std::int64_t i = 0; i < z.columns; i += kLanes) {
    store(y + first + i, load(x + i) * inverse * load(z.weight + i));
  }
}

void norm_back(const Norm& z, const NormGradients& g, std::int64_t block) {
  float* dweight = g.parts + block * z.columns;
  for (std::int64_t i = 0; i < z.columns; ++i) dweight[i] = 0;
  const std::int64_t end = (block + 1) * kNormBlock;
  for (std::int64_t token = block * kNormBlock; token < z.tokens && token < end; ++token) {
    const std::int64_t first = token * z.columns;
    const float *x = z.x + first, *dy = g.dy + first;
    const float inverse = inverse_size(z, x);
    Vec along{};
    for (std::int64_t i = 0; i < z.columns; i += kLanes) {
      const Vec normed = load(x + i) * inverse;
      along += load(dy + i) * load(z.weight + i) * normed;
      store(dweight + i, load(dweight + i) + load(dy + i) * normed);
    }
    // What changes the size alone does not change what comes out.
    const float share = sum_of(along) / static_cast<float>(z.columns);
    for (std::int64_t i = 0; i < z.columns; i += kLanes) {
      const Vec straight = load(dy + i) * load(z.weight + i);
      store(g.dx + first + i, (straight - load(x + i) * inverse * share) * inverse);
    }
  }
}

}  // namespace goose::train::GOOSE_ISA
