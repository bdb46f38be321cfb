#include "engine/head.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/largest.h"
#include "engine/sizes.h"
#include "kernels/dense/screen.h"

namespace goose::engine {
namespace {

constexpr std::int64_t kWordsPerItem = 4096;
constexpr std::int64_t kWordsTogether = 64;  // stay in the first cache for all rows
constexpr std::int64_t kWordsAhead = 16;
// In nats at the drawing's temperature: where a trained student's likely words end, finer.
constexpr float kMargins[kernels::kMargins] = {5, 7, 8, 8.75, 9.5, 10.25, 12, 90};
constexpr float kSure = 6;  // deviations by which the first word may be misjudged
// Sixteen even levels lose least of normal numbers at this step, in deviations (Max 1960).
constexpr float kStep = 0.3352F;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

// One row, rotated, in sixteen levels of `step`, as `screen` reads them (kernels.h); returns the sum
// of squared errors.
double put_levels(const float* row, std::int64_t width, float step, std::uint8_t* to) {
  const float inverse = step > 0 ? 1 / step : 0;
  double squares = 0;
  const auto level = [&](float w) {
    const float u = std::clamp(std::nearbyint(w * inverse + kMiddle), 0.0F, 15.0F);
    const float error = w - step * (u - kMiddle);
    squares += error * error;
    return static_cast<std::uint8_t>(u);
  };
  for (std::int64_t k = 0; k < width; k += 64, to += 32) {
    for (std::int64_t i = k; i < k + 32; ++i) {
      const std::uint8_t low = level(row[i]), high = level(row[i + 32]);
      to[i - k] = static_cast<std::uint8_t>(low | high << 4);
    }
  }
  return squares;
}

float length(const float* x, std::int64_t width) {
  float squares = 0;
  for (std::int64_t k = 0; k < width; ++k) squares += x[k] * x[k];
  return std::sqrt(squares);
}

}  // namespace

Head::Head(Matrix matrix, const kernels::Table& table, Arena& arena)
    : matrix_(std::move(matrix)), table_(table), width_(Inputs::stride(matrix_.width())) {
  if (matrix_.rows() != nullptr && !matrix_.encoding().spikes()) take_levels(arena);
}

void Head::take_levels(Arena& arena) {
  const std::int64_t words = matrix_.height();
  auto* levels = arena.take<std::uint8_t>(size(round_up(words, kernels::kRows) * width_ / 2));
  auto* scale = arena.take<float>(size(words));
  Buffer<float> row(size(width_));
  double squares = 0;
  for (std::int64_t m = 0; m < words; ++m) {
    const std::int8_t* from = matrix_.rows() + m * width_;
    for (std::int64_t k = 0; k < width_; ++k) row.data()[k] = matrix_.scale()[m] * from[k];
    table_.rotate(row.data(), row.data(), width_);
    scale[m] = kStep * length(row.data(), width_) / std::sqrt(static_cast<float>(width_));
    squares += put_levels(row.data(), width_, scale[m], levels + m * width_ / 2);
  }
  error_ = static_cast<float>(std::sqrt(squares / static_cast<double>(words * width_)));
  levels_ = levels;
  level_scale_ = scale;
}

void Head::multiply(Inputs& x, float* y, Rough rough, Pool& pool) const {
  if (rough.missed <= 0 || levels_ == nullptr) {
    matrix_.multiply(x, y, pool);
    return;
  }
  const Encoding& encoding = matrix_.encoding();
  const float* analogue = x.analogue(encoding, pool);
  const Inputs::Rounded exact = x.rounded(encoding, pool);
  Buffer<float> noise(size(x.rows()));
  screen(analogue, x.rows(), y, noise.data(), pool);
  pool.each(x.rows(), [&](int, std::int64_t row) {
    correct(exact.x + row * width_, exact.amplitude[row], rough, noise.data()[row],
            y + row * matrix_.height());
  });
  matrix_.counts().add(x.rows(), 0);
}

void Head::screen(const float* x, std::int64_t rows, float* y, float* noise, Pool& pool) const {
  Buffer<float> rotated(size(width_)), amplitude(size(rows));
  Buffer<std::int16_t> rounded(size(width_));
  Buffer<std::int8_t> bytes(size(rows * width_));
  for (std::int64_t row = 0; row < rows; ++row) {
    table_.rotate(x + row * width_, rotated.data(), width_);
    noise[row] = error_ * length(rotated.data(), width_);
    amplitude.data()[row] =
        table_.round_i16(rotated.data(), rounded.data(), width_, kernels::kScreenLimit);
    for (std::int64_t k = 0; k < width_; ++k) {
      bytes.data()[row * width_ + k] = static_cast<std::int8_t>(rounded.data()[k]);
    }
  }
  const std::int64_t words = matrix_.height(), together = rows > 1 ? kWordsTogether : kWordsPerItem;
  pool.each(divide_up(words, kWordsPerItem), [&](int, std::int64_t item) {
    const std::int64_t end = std::min(words, (item + 1) * kWordsPerItem);
    for (std::int64_t from = item * kWordsPerItem; from < end; from += together) {
      for (std::int64_t row = 0; row < rows; ++row) {
        table_.screen(levels_, level_scale_, bytes.data() + row * width_, amplitude.data()[row],
                      y + row * words, width_, from, std::min(end, from + together),
                      row == 0 ? kernels::kAhead : 0);
      }
    }
  });
}

// Rows are read here and there, which memory answers late.
void Head::prefetch(std::int64_t row) const {
  const std::int8_t* weights = matrix_.rows() + row * width_;
  for (std::int64_t k = 0; k < width_; k += 64) __builtin_prefetch(weights + k);
}

void Head::correct(const std::int16_t* x, float amplitude, Rough rough, float noise,
                   float* y) const {
  const std::int64_t words = matrix_.height();
  const float most = largest(y, words);
  float masses[kernels::kMargins];
  table_.masses(y, words, most, 1 / rough.temperature, kMargins, masses);
  // Words with errors of this deviation hold so much more than they look like: E exp(error).
  const float sigma = noise / rough.temperature;
  const float missed = rough.missed * std::exp(-sigma * sigma / 2);
  int margin = 0;
  while (margin + 1 < kernels::kMargins &&
         masses[margin] < (1 - missed) * masses[kernels::kMargins - 1]) {
    ++margin;
  }
  static thread_local Buffer<std::uint32_t> entries;
  std::uint32_t* chosen = entries.at_least(size(words + 16));
  // The first word may look less likely than others by what the first pass may be wrong.
  const float likely = rough.missed < 1 ? kMargins[margin] * rough.temperature : 0.0F;
  const std::int64_t count =
      table_.select(y, words, most - std::max(likely, kSure * noise), chosen);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t word = chosen[i] / kernels::kEntry;
    if (i + kWordsAhead < count) prefetch(chosen[i + kWordsAhead] / kernels::kEntry);
    const std::int32_t sum = table_.row_i8(matrix_.rows(), x, width_, word);
    y[word] = matrix_.scale()[word] * amplitude * static_cast<float>(sum);
  }
}

}  // namespace goose::engine
