#include "engine/rotary.h"

#include <algorithm>
#include <cmath>

namespace goose::engine {

Rotary::Rotary(const Config& c, const kernels::Table& table)
    : table_(table), half_((c.rope_channels > 0 ? c.rope_channels : c.head_size) / 2) {
  std::vector<float> bases;
  for (std::size_t layer = 0; layer < static_cast<std::size_t>(c.layers); ++layer) {
    const float base = c.rotary_base(layer);
    const auto found = std::find(bases.begin(), bases.end(), base);
    base_of_.push_back(base > 0 ? found - bases.begin() : -1);
    if (base > 0 && found == bases.end()) bases.push_back(base);
  }
  for (const float base : bases) {
    for (std::int64_t i = 0; i < half_; ++i) {
      const float exponent = static_cast<float>(i) / static_cast<float>(half_);
      frequencies_.push_back(std::pow(base, -exponent));
    }
  }
}

void Rotary::begin(std::int64_t rows) {
  rows_ = rows;
  turns_.at_least(frequencies_.size() * 2 * static_cast<std::size_t>(rows));
}

void Rotary::place(std::int64_t row, std::int64_t position) {
  const std::int64_t bases = static_cast<std::int64_t>(frequencies_.size()) / half_;
  for (std::int64_t base = 0; base < bases; ++base) {
    float* to = cosines(base, row);
    for (std::int64_t i = 0; i < half_; ++i) {
      const float angle = static_cast<float>(position) *
                          frequencies_[static_cast<std::size_t>(base * half_ + i)];
      to[i] = std::cos(angle);
      to[half_ + i] = std::sin(angle);
    }
  }
}

void Rotary::turn(std::size_t layer, std::int64_t row, float* x) const {
  const std::int64_t base = base_of_[layer];
  if (base < 0) return;
  const float* cosine = cosines(base, row);
  table_.turn(x, cosine, cosine + half_, half_);
}

}  // namespace goose::engine
