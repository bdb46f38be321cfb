// A place where a vector becomes spikes and is read again, with no matrix behind it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "engine/counts.h"
#include "engine/inputs.h"
#include "engine/pool.h"
#include "engine/tensors.h"

namespace goose::engine {

class Site {
 public:
  // Spikes only where the source says so. Throws std::invalid_argument.
  Site(const Source& source, const std::string& name, std::int64_t width)
      : name_(name), width_(width),
        encoding_(source.encoding(name, width, Inputs::stride(width))) {
    if (!encoding_.rotate) return;
    throw std::invalid_argument("site '" + name + "' rotates: only the input of a matrix can");
  }

  const std::string& name() const { return name_; }
  std::int64_t width() const { return width_; }
  const Encoding& encoding() const { return encoding_; }
  const Counts& counts() const { return counts_; }

  // x (rows, width) becomes amplitude times integers, in place; `inputs` is where that is done.
  void code(float* x, std::int64_t rows, Inputs& inputs, Pool& pool) const {
    if (!encoding_.spikes()) return;
    inputs.set(x, rows, width_);
    const float* values = inputs.analogue(encoding_, pool);
    for (std::int64_t row = 0; row < rows; ++row) {
      std::copy_n(values + row * Inputs::stride(width_), width_, x + row * width_);
    }
    counts_.add(rows, inputs.active());
  }

 private:
  std::string name_;
  std::int64_t width_;
  Encoding encoding_;
  Counts counts_;
};

}  // namespace goose::engine
