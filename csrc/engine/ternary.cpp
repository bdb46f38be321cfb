#include "engine/ternary.h"

#include <algorithm>

#include "engine/sizes.h"
#include "kernels/spikes/spikes.h"

namespace goose::engine {
namespace {

// Heights of the segments for `units` times 64 rows. At most one narrow one: two cost as much as
// one of 256 rows.
std::vector<std::int32_t> heights(std::int64_t units, std::int32_t widest) {
  std::vector<std::int32_t> result;
  while (units > 1) {
    const std::int32_t rows = widest == 512 && units >= 7 ? 512 : 256;
    result.push_back(rows);
    units -= rows / 64;
  }
  if (units == 1) result.push_back(64);
  return result;
}

// Words of a segment with its empty column, such that the next one is aligned as well.
std::int64_t segment_words(std::int64_t columns, std::int64_t rows) {
  return round_up((columns + 1) * rows / 32, 8);
}

// Bit i of a byte at the lowest bit of byte i.
struct Spread {
  std::uint64_t of[256];
};
constexpr Spread spread_bytes() {
  Spread table{};
  for (int byte = 0; byte < 256; ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      if (byte >> bit & 1) table.of[byte] |= std::uint64_t{1} << 8 * bit;
    }
  }
  return table;
}
constexpr Spread kSpread = spread_bytes();

// Row r of a segment stands at bit 8 * (r % eighth) + r / eighth (kernels.h): every byte of a word
// of 64 rows is spread over the eight bytes of another word.
void set_bits(std::uint64_t word, std::int64_t first_row, std::int64_t rows, std::uint64_t* to) {
  const std::int64_t eighth = rows / 8;
  for (int byte = 0; byte < 8; ++byte) {
    const std::int64_t r = first_row + 8 * byte;
    to[r % eighth / 8] |= kSpread.of[word >> 8 * byte & 255] << r / eighth;
  }
}

}  // namespace

Ternary::Ternary(const std::uint64_t* planes, const float* scale, std::int64_t P, std::int64_t M,
                 std::int64_t K, std::int64_t groups, bool sides, const kernels::Table& table,
                 Arena& arena)
    : planes_(P),
      M_(M),
      groups_(groups),
      sides_(sides),
      scale_(scale),
      table_(table),
      columns_(round_up(K, 64)) {
  const std::int64_t units = divide_up(M, 64);
  std::int64_t from = 0, words = 0;
  for (const std::int32_t rows : heights(units, table.widest)) {
    rows_.push_back({from, std::min<std::int64_t>(rows, M - from), {nullptr, rows}});
    words += P * segment_words(columns_, rows);
    from += rows;
  }
  auto* to = arena.take<std::uint64_t>(static_cast<std::size_t>(words));
  for (Part& part : rows_) {
    part.segment.columns = to;
    for (std::int64_t p = 0; p < P; ++p) {
      fill(part, planes + p * units * K * 2, K, to);
      to += segment_words(columns_, part.segment.rows);
    }
  }
}

// Columns of one segment from the units of 64 rows of a plane.
void Ternary::fill(const Part& part, const std::uint64_t* plane, std::int64_t K,
                   std::uint64_t* to) const {
  const std::int64_t words = part.segment.rows / 64, first = part.from / 64;
  const std::int64_t units = std::min(words, divide_up(M_, 64) - first);
  for (std::int64_t u = 0; u < units; ++u) {
    const std::uint64_t* source = plane + (first + u) * K * 2;
    for (std::int64_t k = 0; k < K; ++k) {
      std::uint64_t* column = to + k * 2 * words;
      set_bits(source[2 * k], 64 * u, part.segment.rows, column);
      set_bits(source[2 * k + 1], 64 * u, part.segment.rows, column + words);
    }
  }
}

// A part in one plane, and behind it what is read next: the next plane, the next part or, most likely
// with a part as high as the first one here, the next matrix.
kernels::Segment Ternary::segment(std::size_t part, std::int64_t plane, bool ahead) const {
  const kernels::Segment& first = rows_[part].segment;
  const std::int64_t words = segment_words(columns_, first.rows);
  kernels::Segment result{first.columns + plane * words, first.rows};
  result.next = result.columns + words;
  const Part& after = rows_[part + 1 < rows_.size() ? part + 1 : 0];
  const std::int32_t rows = plane + 1 < planes_ ? first.rows : after.segment.rows;
  if (ahead) result.ahead = static_cast<std::int32_t>(8 * segment_words(columns_, rows));
  return result;
}

void Ternary::multiply(std::int64_t part, const kernels::Encoder& e, const kernels::Spikes& spikes,
                       float* y, bool ahead) const {
  const auto index = static_cast<std::size_t>(part);
  const Part& rows = rows_[index];
  std::int32_t worth[kernels::kMaxSteps];
  for (std::int32_t step = 0; step < e.steps; ++step) worth[step] = kernels::worth(e.code, step);
  // Where few fire, asking for all columns would keep memory busy with what nobody reads.
  const bool asks = ahead && 8 * spikes.active >= 3 * e.count;
  if (sides_) return multiply_sides(index, spikes, worth, e.steps, y + rows.from, asks);
  alignas(64) std::int32_t integers[512];
  float* to = y + rows.from;
  const std::int64_t terms = planes_ * groups_;
  for (std::int64_t term = 0; term < terms; ++term) {
    const std::int64_t p = term / groups_, g = term % groups_;
    table_.tile(segment(index, p, asks && g == 0), spikes.spans + g, worth, e.steps,
                static_cast<std::int32_t>(groups_), integers);
    table_.scale(integers, scale_ + term * M_ + rows.from, spikes.amplitude, term == 0,
                 term + 1 == terms, to, rows.rows);
  }
}

// Group by group, and of each +1 before -1.
void Ternary::multiply_sides(std::size_t part, const kernels::Spikes& spikes,
                             const std::int32_t* worth, std::int32_t steps, float* y,
                             bool ahead) const {
  const Part& rows = rows_[part];
  alignas(64) std::int32_t integers[2 * 512];
  for (std::int64_t g = 0; g < groups_; ++g) {
    table_.sides(segment(part, 0, ahead && g == 0), spikes.spans + g, worth, steps,
                 static_cast<std::int32_t>(groups_), integers);
    const float *plus = scale_ + g * M_ + rows.from, *minus = plus + groups_ * M_;
    table_.scale(integers, plus, spikes.amplitude, g == 0, false, y, rows.rows);
    table_.scale(integers + rows.segment.rows, minus, spikes.amplitude, false, g + 1 == groups_, y,
                 rows.rows);
  }
}

}  // namespace goose::engine
