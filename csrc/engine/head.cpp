#include "engine/head.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/largest.h"
#include "engine/sizes.h"

namespace goose::engine {
namespace {

constexpr std::int64_t kWordsPerItem = 4096;
constexpr std::int64_t kWordsAhead = 16;
constexpr float kMargins[kernels::kMargins] = {3, 5, 7, 9, 10, 12, 15, 90};
constexpr float kRest = 4.61F;  // deviation of what four bits leave out, evenly from 0 to 15
constexpr float kSure = 6;  // deviations by which the first word may be misjudged

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

// Upper halves of the weights, as `screen` reads them (kernels.h).
const std::uint8_t* upper_halves(const std::int8_t* rows, std::int64_t count, std::int64_t width,
                                 Arena& arena) {
  const std::int64_t height = round_up(count, kernels::kRows);
  auto* to = arena.take<std::uint8_t>(size(height * width / 2));
  const auto upper = [](std::int8_t w) { return static_cast<std::uint8_t>((w >> 4) + 8); };
  for (std::int64_t line = 0; line < height * width / 64; ++line) {
    const std::int8_t* from = rows + line * 64;
    for (std::int64_t i = 0; i < 32; ++i) {
      to[line * 32 + i] = static_cast<std::uint8_t>(upper(from[i]) | upper(from[i + 32]) << 4);
    }
  }
  return to;
}

}  // namespace

Head::Head(Matrix matrix, const kernels::Table& table, Arena& arena)
    : matrix_(std::move(matrix)), table_(table), width_(Inputs::stride(matrix_.width())) {
  if (matrix_.rows() == nullptr || matrix_.encoding().spikes()) return;
  nibbles_ = upper_halves(matrix_.rows(), matrix_.height(), width_, arena);
  for (std::int64_t m = 0; m < matrix_.height(); ++m) mean_scale_ += matrix_.scale()[m];
  mean_scale_ /= static_cast<float>(matrix_.height());
}

void Head::multiply(Inputs& x, float* y, float missed, Pool& pool) const {
  if (missed <= 0 || nibbles_ == nullptr) {
    matrix_.multiply(x, y, pool);
    return;
  }
  const Encoding& encoding = matrix_.encoding();
  const float* analogue = x.analogue(encoding, pool);
  const Inputs::Rounded exact = x.rounded(encoding, pool);
  for (std::int64_t row = 0; row < x.rows(); ++row) {
    float* logits = y + row * matrix_.height();
    const float noise = screen(analogue + row * width_, logits, pool);
    correct(exact.x + row * width_, exact.amplitude[row], missed, noise, logits);
  }
  matrix_.counts().add(x.rows(), 0);
}

float Head::screen(const float* x, float* y, Pool& pool) const {
  static thread_local Buffer<std::int16_t> rounded;
  static thread_local Buffer<std::int8_t> bytes;
  std::int16_t* x16 = rounded.at_least(size(width_));
  std::int8_t* x8 = bytes.at_least(size(width_));
  const float amplitude = table_.round_i16(x, x16, width_, kernels::kScreenLimit);
  for (std::int64_t k = 0; k < width_; ++k) x8[k] = static_cast<std::int8_t>(x16[k]);
  const std::int64_t words = matrix_.height();
  pool.each(divide_up(words, kWordsPerItem), [&](int, std::int64_t item) {
    const std::int64_t from = item * kWordsPerItem;
    table_.screen(nibbles_, matrix_.scale(), x8, amplitude, y, width_, from,
                  std::min(words, from + kWordsPerItem));
  });
  float squares = 0;
  for (std::int64_t k = 0; k < width_; ++k) squares += x[k] * x[k];
  return kRest * mean_scale_ * std::sqrt(squares);
}

// Rows are read here and there, which memory answers late.
void Head::prefetch(std::int64_t row) const {
  const std::int8_t* weights = matrix_.rows() + row * width_;
  for (std::int64_t k = 0; k < width_; k += 64) __builtin_prefetch(weights + k);
}

void Head::correct(const std::int16_t* x, float amplitude, float missed, float noise,
                   float* y) const {
  const std::int64_t words = matrix_.height();
  const float most = largest(y, words);
  float masses[kernels::kMargins];
  table_.masses(y, words, most, kMargins, masses);
  int margin = 0;
  while (margin + 1 < kernels::kMargins &&
         masses[margin] < (1 - missed) * masses[kernels::kMargins - 1]) {
    ++margin;
  }
  static thread_local Buffer<std::uint32_t> entries;
  std::uint32_t* chosen = entries.at_least(size(words + 16));
  // The first word may look less likely than others by what the first pass may be wrong.
  const float least = most - std::max(missed < 1 ? kMargins[margin] : 0.0F, kSure * noise);
  const std::int64_t count = table_.select(y, words, least, chosen);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t word = chosen[i] / kernels::kEntry;
    if (i + kWordsAhead < count) prefetch(chosen[i + kWordsAhead] / kernels::kEntry);
    const std::int32_t sum = table_.row_i8(matrix_.rows(), x, width_, word);
    y[word] = matrix_.scale()[word] * amplitude * static_cast<float>(sum);
  }
}

}  // namespace goose::engine
