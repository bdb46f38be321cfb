// Rows of activations in the forms that matrices ask for, each made once.
#pragma once

#include <cstdint>

#include "engine/buffer.h"
#include "engine/pool.h"
#include "engine/sizes.h"
#include "engine/tensors.h"
#include "kernels/kernels.h"

namespace goose::engine {

// `rows` vectors of `width` numbers. What it gives has rows `stride` apart, filled up with zeros.
class Inputs {
 public:
  static std::int64_t stride(std::int64_t width) { return round_up(width, 64); }

  explicit Inputs(const kernels::Table& table) : table_(table) {}

  // Takes new rows; they must stay where they are until the next call.
  void set(const float* x, std::int64_t rows, std::int64_t width);

  std::int64_t rows() const { return rows_; }
  std::int64_t width() const { return width_; }
  std::int64_t active() const;  // spikes of all rows in the last encoding
  std::int64_t active(std::int64_t row) const { return spikes_.data()[row].active; }

  // Rows as they are, or rotated, or as amplitude times integers where the encoding spikes.
  const float* analogue(const Encoding& encoding, Pool& pool);
  // Spikes of each row.
  const kernels::Spikes* spikes(const Encoding& encoding, Pool& pool);
  // Rows as int16 with an amplitude each, such that a product with int8 cannot overflow.
  struct Rounded {
    const std::int16_t* x;
    const float* amplitude;
  };
  Rounded rounded(const Encoding& encoding, Pool& pool);
  // A row in bytes, in groups of 64 with an amplitude each.
  kernels::Octets octets(std::int64_t row) const;
  void make_octets(const Encoding& encoding, Pool& pool);

 private:
  void encode(const Encoding& encoding, Pool& pool);
  const float* rotated(Pool& pool);
  const float* filled(Pool& pool);
  const double* sums(Pool& pool);

  const kernels::Table& table_;
  const float* x_ = nullptr;
  std::int64_t rows_ = 0, width_ = 0;
  Encoding encoded_;
  bool is_encoded_ = false, is_rotated_ = false, is_rounded_ = false, is_spread_ = false;
  bool is_filled_ = false, is_octets_ = false, is_summed_ = false;
  Encoding rounded_by_, spread_by_, octets_by_;
  Buffer<float> rotated_, filled_, spread_, amplitude_;
  Buffer<double> sums_, rotated_sums_;  // of magnitudes: one for all thresholds
  Buffer<std::int16_t> rounded_;
  Buffer<std::int8_t> octets_;
  Buffer<float> octet_amplitude_;
  Buffer<std::int32_t> octet_sums_;
  Buffer<kernels::Spikes> spikes_;
  Buffer<kernels::Span> spans_;
  Buffer<std::uint32_t> lists_;
  Buffer<std::int16_t> codes_;
};

}  // namespace goose::engine
