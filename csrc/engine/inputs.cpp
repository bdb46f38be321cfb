#include "engine/inputs.h"

#include <algorithm>

namespace goose::engine {
namespace {

std::int32_t largest_int16(std::int64_t width) {
  return static_cast<std::int32_t>(std::min<std::int64_t>(32767, 0x7FFFFFFF / (128 * width)));
}

}  // namespace

void Inputs::set(const float* x, std::int64_t rows, std::int64_t width) {
  x_ = x;
  rows_ = rows;
  width_ = width;
  is_encoded_ = is_rotated_ = is_rounded_ = is_spread_ = is_filled_ = is_octets_ = is_summed_ = false;
}

std::int64_t Inputs::active() const {
  std::int64_t total = 0;
  for (std::int64_t row = 0; row < rows_; ++row) total += active(row);
  return total;
}

const float* Inputs::rotated(Pool& pool) {
  if (is_rotated_) return rotated_.data();
  float* to = rotated_.at_least(static_cast<std::size_t>(rows_ * width_));
  double* sums = rotated_sums_.at_least(static_cast<std::size_t>(rows_));
  pool.each(rows_, [&](int, std::int64_t row) {
    sums[row] = table_.rotate(x_ + row * width_, to + row * width_, width_);
  });
  is_rotated_ = true;
  return to;
}

// Of the rows as they are filled up.
const double* Inputs::sums(Pool& pool) {
  if (is_summed_) return sums_.data();
  const float* from = filled(pool);
  const std::int64_t wide = stride(width_);
  double* sums = sums_.at_least(static_cast<std::size_t>(rows_));
  pool.each(rows_, [&](int, std::int64_t row) {
    sums[row] = table_.magnitudes(from + row * wide, wide);
  });
  is_summed_ = true;
  return sums;
}

const float* Inputs::filled(Pool& pool) {
  if (stride(width_) == width_) return x_;
  if (is_filled_) return filled_.data();
  const std::int64_t wide = stride(width_);
  float* to = filled_.at_least(static_cast<std::size_t>(rows_ * wide));
  pool.each(rows_, [&](int, std::int64_t row) {
    float* out = std::copy_n(x_ + row * width_, width_, to + row * wide);
    std::fill(out, to + (row + 1) * wide, 0.0F);
  });
  is_filled_ = true;
  return to;
}

void Inputs::encode(const Encoding& encoding, Pool& pool) {
  const kernels::Encoder& e = encoding.encoder;
  const float* from = encoding.rotate ? rotated(pool) : filled(pool);
  const double* all = encoding.rotate ? rotated_sums_.data() : e.amplitude > 0 ? nullptr : sums(pool);
  const auto rows = static_cast<std::size_t>(rows_);
  const auto ranges = static_cast<std::size_t>(e.steps) * static_cast<std::size_t>(e.width / e.group);
  const auto capacity = static_cast<std::size_t>(kernels::list_capacity(e));
  const auto width = static_cast<std::size_t>(e.width);
  kernels::Spikes* spikes = spikes_.at_least(rows);
  kernels::Span* spans = spans_.at_least(rows * ranges);
  std::uint32_t* lists = lists_.at_least(rows * capacity);
  std::int16_t* codes = codes_.at_least(rows * width);
  pool.each(rows_, [&](int, std::int64_t row) {
    const auto r = static_cast<std::size_t>(row);
    spikes[r] = {0, 0, spans + r * ranges, lists + r * capacity, codes + r * width};
    table_.encode(e, from + row * e.width, all == nullptr ? 0.0 : all[row], spikes[r]);
  });
  encoded_ = encoding;
  is_encoded_ = true;
}

const kernels::Spikes* Inputs::spikes(const Encoding& encoding, Pool& pool) {
  if (!is_encoded_ || !(encoded_ == encoding)) encode(encoding, pool);
  return spikes_.data();
}

const float* Inputs::analogue(const Encoding& encoding, Pool& pool) {
  if (!encoding.spikes()) return encoding.rotate ? rotated(pool) : filled(pool);
  if (is_spread_ && spread_by_ == encoding) return spread_.data();
  const kernels::Spikes* s = spikes(encoding, pool);
  const auto width = static_cast<std::size_t>(stride(width_));
  float* to = spread_.at_least(static_cast<std::size_t>(rows_) * width);
  pool.each(rows_, [&](int, std::int64_t row) {
    for (std::size_t i = 0; i < width; ++i) {
      to[static_cast<std::size_t>(row) * width + i] = s[row].amplitude * s[row].codes[i];
    }
  });
  spread_by_ = encoding;
  is_spread_ = true;
  return to;
}

Inputs::Rounded Inputs::rounded(const Encoding& encoding, Pool& pool) {
  if (!is_rounded_ || !(rounded_by_ == encoding)) {
    const float* from = analogue(encoding, pool);
    const std::int64_t wide = stride(width_);
    std::int16_t* to = rounded_.at_least(static_cast<std::size_t>(rows_ * wide));
    float* amplitude = amplitude_.at_least(static_cast<std::size_t>(rows_));
    pool.each(rows_, [&](int, std::int64_t row) {
      amplitude[row] = table_.round_i16(from + row * wide, to + row * wide, wide, largest_int16(width_));
    });
    rounded_by_ = encoding;
    is_rounded_ = true;
  }
  return {rounded_.data(), amplitude_.data()};
}

kernels::Octets Inputs::octets(std::int64_t row) const {
  const std::int64_t groups = divide_up(width_, 64), apart = groups + kernels::kSpare;
  return {octets_.data() + row * groups * 64, octet_amplitude_.data() + row * apart,
          octet_sums_.data() + row * apart};
}

void Inputs::make_octets(const Encoding& encoding, Pool& pool) {
  if (is_octets_ && octets_by_ == encoding) return;
  const float* from = analogue(encoding, pool);
  const std::int64_t groups = divide_up(width_, 64), apart = groups + kernels::kSpare;
  octets_.at_least(static_cast<std::size_t>(rows_ * groups * 64));
  octet_amplitude_.at_least(static_cast<std::size_t>(rows_ * apart));
  octet_sums_.at_least(static_cast<std::size_t>(rows_ * apart));
  pool.each(rows_, [&](int, std::int64_t row) {
    const kernels::Octets to = octets(row);
    table_.round_i8(from + row * groups * 64, to, groups);
    std::fill_n(to.amplitude + groups, kernels::kSpare, 0.0F);
    std::fill_n(to.sums + groups, kernels::kSpare, 0);
  });
  octets_by_ = encoding;
  is_octets_ = true;
}

}  // namespace goose::engine
