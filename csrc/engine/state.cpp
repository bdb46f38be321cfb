#include "engine/state.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace goose::engine {

State::State(Memory memory, std::size_t layers, std::size_t heads, std::size_t head_size,
             std::size_t width, bool channel_shift, std::size_t values)
    : matrix_(head_size * head_size * bytes_of(memory)),
      memory_(heads * matrix_),
      width_(width),
      values_(memory_ + sizeof(float) * width * (channel_shift ? 2 : 1)),
      stride_((values_ + sizeof(float) * values + 63) / 64 * 64),
      size_(layers * stride_),
      bytes_(size_) {
  std::fill_n(bytes_.data(), size_, '\0');
}

State::State(const State& other)
    : position(other.position),
      matrix_(other.matrix_),
      memory_(other.memory_),
      width_(other.width_),
      values_(other.values_),
      stride_(other.stride_),
      size_(other.size_),
      bytes_(size_) {
  std::copy_n(other.bytes_.data(), size_, bytes_.data());
}

void State::assign(const State& other) {
  position = other.position;
  std::copy_n(other.bytes_.data(), size_, bytes_.data());
}

std::string State::bytes() const {
  std::string result(sizeof position + size_, '\0');
  std::memcpy(result.data(), &position, sizeof position);
  std::memcpy(result.data() + sizeof position, bytes_.data(), size_);
  return result;
}

void State::load(const char* data, std::size_t length) {
  const std::size_t wanted = sizeof position + size_;
  if (length != wanted) {
    throw std::invalid_argument("a state of " + std::to_string(length) +
                                " bytes: this model's has " + std::to_string(wanted));
  }
  std::int64_t seen;
  std::memcpy(&seen, data, sizeof seen);
  if (seen < 0 || seen > kMostPosition) {
    throw std::invalid_argument("a state at position " + std::to_string(seen) +
                                ": must be 0 to 2^53");
  }
  position = seen;
  std::memcpy(bytes_.data(), data + sizeof position, size_);
}

}  // namespace goose::engine
