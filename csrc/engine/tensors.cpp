#include "engine/tensors.h"

#include <stdexcept>

namespace goose::engine {
namespace {

std::string words(const std::string& dtype, const Shape& shape) {
  std::string text = dtype + " [";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

}  // namespace

const Tensor& Source::get(const std::string& name) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    throw std::invalid_argument("tensor '" + name + "' is missing: the configuration asks for it");
  }
  return found->second;
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
