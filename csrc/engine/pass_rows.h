// What the halves of a pass share: sizes, and the last rows of pieces.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "engine/pass.h"

namespace goose::engine {

inline std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

// Copies the last row of every piece to where `to` says.
template <class To>
void keep_last(const std::vector<Piece>& pieces, const float* x, std::int64_t width, const To& to) {
  for (const Piece& piece : pieces) {
    std::memcpy(to(*piece.state), x + (piece.row + piece.count - 1) * width,
                sizeof(float) * size(width));
  }
}

}  // namespace goose::engine
