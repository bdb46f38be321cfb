// What a packed model brings: named arrays and settings, checked when they are taken.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace goose::engine {

using Shape = std::vector<std::int64_t>;

// The codes of spikes, and the most steps that each can take.
struct CodeLimit {
  const char* word;
  kernels::Code code;
  int steps;
};
constexpr CodeLimit kCodes[] = {{"rate", kernels::Code::rate, 8},
                                {"radix2", kernels::Code::radix2, 6},
                                {"radix3", kernels::Code::radix3, 4}};

// Columns that a rotation mixes; groups of columns with a scale of their own are multiples of it.
constexpr std::int64_t kColumns = 64;

struct Tensor {
  const void* data = nullptr;
  std::string dtype;  // F16, F32, I8, U8, U64
  Shape shape;
};

// How the input of a matrix becomes spikes, as the file says it; steps = 0 leaves it as it is.
struct Spiking {
  int steps = 0;
  std::string code = "radix3";
  bool rotate = false;
};

// The same as the kernels take it.
struct Encoding {
  kernels::Encoder encoder{};
  bool rotate = false;

  bool spikes() const { return encoder.steps > 0; }
  bool operator==(const Encoding& other) const;
};

// Every function throws std::invalid_argument that names the tensor, what was found and what would
// be right.
class Source {
 public:
  std::map<std::string, Tensor> tensors;
  std::map<std::string, Spiking> matrices;

  bool has(const std::string& name) const { return tensors.count(name) != 0; }
  const Tensor& get(const std::string& name) const;
  // The data of a tensor that must have this type and shape.
  template <class T>
  const T* take(const std::string& name, const char* dtype, const Shape& shape) const {
    return static_cast<const T*>(checked(name, dtype, shape));
  }
  const float* floats(const std::string& name, const Shape& shape) const {
    return take<float>(name, "F32", shape);
  }
  const float* floats_or_none(const std::string& name, const Shape& shape) const {
    return has(name) ? floats(name, shape) : nullptr;
  }
  // Of vectors of `columns` numbers that come in at `name`, their lists cut after `group`.
  Encoding encoding(const std::string& name, std::int64_t columns, std::int64_t group) const;

 private:
  const void* checked(const std::string& name, const char* dtype, const Shape& shape) const;
};

}  // namespace goose::engine
