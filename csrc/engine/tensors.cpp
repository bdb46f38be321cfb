#include "engine/tensors.h"

#include <stdexcept>

#include "engine/sizes.h"

namespace goose::engine {
namespace {

std::string words(const std::string& dtype, const Shape& shape) {
  std::string text = dtype + " [";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

const CodeLimit& code_of(const std::string& word, const std::string& name) {
  for (const CodeLimit& code : kCodes) {
    if (word == code.word) return code;
  }
  throw std::invalid_argument("matrix '" + name + "' has code '" + word +
                              "': choose one of rate, radix2, radix3");
}

// Steps that the file asks for, checked.
std::int32_t steps_of(const Spiking& spiking, const CodeLimit& code, const std::string& name) {
  if (spiking.steps >= 0 && spiking.steps <= code.steps) return spiking.steps;
  throw std::invalid_argument("matrix '" + name + "' has " + std::to_string(spiking.steps) +
                              " steps of code " + spiking.code + ": 0 to " +
                              std::to_string(code.steps) + " are possible");
}

}  // namespace

bool Encoding::operator==(const Encoding& other) const {
  const kernels::Encoder &a = encoder, &b = other.encoder;
  return rotate == other.rotate && a.width == b.width && a.group == b.group &&
         a.steps == b.steps && a.code == b.code && a.threshold == b.threshold &&
         a.amplitude == b.amplitude && a.fires == b.fires;
}

const Tensor& Source::get(const std::string& name) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    throw std::invalid_argument("tensor '" + name + "' is missing: the configuration asks for it");
  }
  return found->second;
}

Encoding Source::encoding(const std::string& name, std::int64_t columns,
                          std::int64_t group) const {
  const auto found = matrices.find(name);
  if (found == matrices.end()) return {};
  const Spiking& spiking = found->second;
  if (spiking.rotate && columns % kColumns != 0) {
    throw std::invalid_argument("matrix '" + name + "' rotates " + std::to_string(columns) +
                                " columns: a multiple of 64 is needed");
  }
  if (spiking.steps == 0) return {{}, spiking.rotate};
  const CodeLimit& code = code_of(spiking.code, name);
  kernels::Encoder e{static_cast<std::int32_t>(round_up(columns, 64)),
                     static_cast<std::int32_t>(columns), static_cast<std::int32_t>(group),
                     steps_of(spiking, code, name), code.code, 0};
  if (!has(name + ".amplitude")) {
    e.threshold = *floats(name + ".threshold", {1});
    return {e, spiking.rotate};
  }
  e.amplitude = *floats(name + ".amplitude", {1});
  if (e.steps == 1) e.fires = *floats(name + ".fires", {1});
  if (!(e.amplitude > 0 && e.fires >= 0)) {
    throw std::invalid_argument("tensor '" + name + ".amplitude' must be above 0, and '" + name +
                                ".fires' at least 0");
  }
  return {e, spiking.rotate};
}

const void* Source::checked(const std::string& name, const char* dtype, const Shape& shape) const {
  const Tensor& tensor = get(name);
  if (tensor.dtype != dtype || tensor.shape != shape) {
    throw std::invalid_argument("tensor '" + name + "' is " + words(tensor.dtype, tensor.shape) +
                                ", the configuration asks for " + words(dtype, shape));
  }
  return tensor.data;
}

}  // namespace goose::engine
