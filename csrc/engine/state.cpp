#include "engine/state.h"

#include <algorithm>

namespace goose::engine {

State::State(std::size_t layers, std::size_t heads, std::size_t head_size, std::size_t width,
             bool channel_shift, std::size_t values)
    : memory_(heads * head_size * head_size),
      width_(width),
      values_(memory_ + width * (channel_shift ? 2 : 1)),
      stride_((values_ + values + 15) / 16 * 16),
      size_(layers * stride_),
      numbers_(size_) {
  std::fill_n(numbers_.data(), size_, 0.0F);
}

State::State(const State& other)
    : position(other.position),
      memory_(other.memory_),
      width_(other.width_),
      values_(other.values_),
      stride_(other.stride_),
      size_(other.size_),
      numbers_(size_) {
  std::copy_n(other.numbers_.data(), size_, numbers_.data());
}

void State::assign(const State& other) {
  position = other.position;
  std::copy_n(other.numbers_.data(), size_, numbers_.data());
}

}  // namespace goose::engine
