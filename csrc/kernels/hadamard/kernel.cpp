// The block-Hadamard transform in registers.
#include "kernels/hadamard/hadamard.h"
#include "kernels/magnitudes.h"
#include "simd.h"

namespace goose::kernels::GOOSE_ISA {
namespace {

// Lane i of `partners` is lane i ^ distance of x; `signs` makes the upper one of a pair negative.
#define GOOSE_FOUR(f, d, i) f(d, i), f(d, i + 1), f(d, i + 2), f(d, i + 3)
#if GOOSE_VECTOR_BYTES == 16
#define GOOSE_EACH_LANE(f, d) GOOSE_FOUR(f, d, 0)
#elif GOOSE_VECTOR_BYTES == 32
#define GOOSE_EACH_LANE(f, d) GOOSE_FOUR(f, d, 0), GOOSE_FOUR(f, d, 4)
#else
#define GOOSE_EACH_LANE(f, d) \
  GOOSE_FOUR(f, d, 0), GOOSE_FOUR(f, d, 4), GOOSE_FOUR(f, d, 8), GOOSE_FOUR(f, d, 12)
#endif
#define GOOSE_PARTNER(d, i) ((i) ^ (d))
#define GOOSE_SIGN(d, i) ((i) & (d) ? -1.0F : 1.0F)

template <int distance>
inline Vec butterfly(Vec x) {
  const Vec partners =
      __builtin_shufflevector(x, x, GOOSE_EACH_LANE(GOOSE_PARTNER, distance));
  const Vec signs = {GOOSE_EACH_LANE(GOOSE_SIGN, distance)};
  return partners + signs * x;
}

inline void across(Vec* x, int distance) {
  constexpr int kCount = 64 / kLanes;
  for (int i = 0; i < kCount; ++i) {
    if (i & distance) continue;
    const Vec a = x[i], b = x[i + distance];
    x[i] = a + b;
    x[i + distance] = a - b;
  }
}

constexpr int kCount = 64 / kLanes;

// Calls put(i, vector) for the vectors of a block that is turned; all of it has been read by then.
template <class Put>
inline void turned(const float* block, const Put& put) {
  Vec v[kCount];
  for (int i = 0; i < kCount; ++i) {
    Vec t = butterfly<2>(butterfly<1>(load(block + i * kLanes)));
    if constexpr (kLanes > 4) t = butterfly<4>(t);
    if constexpr (kLanes > 8) t = butterfly<8>(t);
    v[i] = t;
  }
  for (int d = 1; d < kCount; d *= 2) across(v, d);
  for (int i = 0; i < kCount; ++i) put(i, v[i] * 0.125F);
}

}  // namespace

void hadamard(float* x, std::int64_t width) {
  for (float* block = x; block < x + width; block += 64) {
    turned(block, [=](int i, Vec v) { store(block + i * kLanes, v); });
  }
}

double rotate(const float* x, float* to, std::int64_t width) {
  Magnitudes sum;
  for (std::int64_t from = 0; from < width; from += 64) {
    turned(x + from, [&](int i, Vec v) {
      store(to + from + i * kLanes, v);
      sum.add(i % 2, v);
    });
  }
  return sum.total();
}

}  // namespace goose::kernels::GOOSE_ISA
