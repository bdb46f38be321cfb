// The ternary product, one weight at a time.
#include "kernels/ternary/ternary.h"

namespace goose::kernels::reference {

extern const std::int32_t widest_segment = 256;

namespace {

int weight_at(const Segment& segment, std::uint32_t column, int row) {
  const int words = segment.rows / 64, eighth = segment.rows / 8;
  const int bit = 8 * (row % eighth) + row / eighth;
  const std::uint64_t* at = segment.columns + std::uint64_t{column} * 2 * words;
  const auto set = [&](const std::uint64_t* plane) { return plane[bit / 64] >> (bit % 64) & 1; };
  if (!set(at + words)) return 0;
  return set(at) ? 1 : -1;
}

}  // namespace

void tile(const Segment& segment, const Span* spans, const std::int32_t* weights,
          std::int32_t steps, std::int32_t stride, std::int32_t* out) {
  for (int r = 0; r < segment.rows; ++r) {
    out[r] = 0;
    for (int step = 0; step < steps; ++step) {
      const Span& span = spans[step * stride];
      for (int i = 0; i < (span.plus + span.minus) * kGroup; ++i) {
        const int w = weight_at(segment, span.columns[i] / kEntry, r);
        out[r] += weights[step] * (i < span.plus * kGroup ? w : -w);
      }
    }
  }
}

void sides(const Segment& segment, const Span* spans, const std::int32_t* weights,
           std::int32_t steps, std::int32_t stride, std::int32_t* out) {
  for (int r = 0; r < segment.rows; ++r) {
    out[r] = out[segment.rows + r] = 0;
    for (int step = 0; step < steps; ++step) {
      const Span& span = spans[step * stride];
      for (int i = 0; i < (span.plus + span.minus) * kGroup; ++i) {
        const int w = weight_at(segment, span.columns[i] / kEntry, r);
        out[(w < 0 ? segment.rows : 0) + r] += weights[step] * (i < span.plus * kGroup ? w : -w);
      }
    }
  }
}

}  // namespace goose::kernels::reference
