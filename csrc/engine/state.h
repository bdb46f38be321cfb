// What one sequence carries from token to token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/buffer.h"

namespace goose::engine {

// Tokens that a state may have seen: what can be added to it stays a number of 64 bits.
constexpr std::int64_t kMostPosition = std::int64_t{1} << 53;

// What the matrices of a state are kept in.
enum class Memory { f32, bf16 };
inline std::size_t bytes_of(Memory memory) { return memory == Memory::f32 ? 4 : 2; }

// Per layer the matrices of all heads [H, key, value], the mixer's last input and, where they are
// shifted, the MLP's last input and the last values. Its size does not depend on how many tokens
// were seen.
class State {
 public:
  State(Memory memory, std::size_t layers, std::size_t heads, std::size_t head_size,
        std::size_t width, bool channel_shift, std::size_t values);

  // The matrix of a head: fp32, or bf16 as whole numbers.
  char* wkv(std::size_t layer, std::size_t head) {
    return bytes_.data() + layer * stride_ + head * matrix_;
  }
  float* shift(std::size_t layer) { return at(layer, memory_); }
  float* channel_shift(std::size_t layer) { return shift(layer) + width_; }

  float* values(std::size_t layer) { return at(layer, values_); }

  std::int64_t position = 0;  // tokens seen

  State(const State& other);
  State(State&&) = default;
  // Takes over another one's contents; both are of the same model.
  void assign(const State& other);

  // For saving: the position, then the numbers, layer by layer.
  std::string bytes() const;
  // Takes over what `bytes` gave. Throws std::invalid_argument for another length or no position.
  void load(const char* data, std::size_t length);
  std::size_t size() const { return size_; }  // in bytes

 private:
  float* at(std::size_t layer, std::size_t offset) {
    return reinterpret_cast<float*>(bytes_.data() + layer * stride_ + offset);
  }

  // In bytes, but for the width.
  std::size_t matrix_, memory_, width_, values_, stride_, size_;
  Buffer<char> bytes_;
};

}  // namespace goose::engine
