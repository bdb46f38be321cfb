#include "engine/state.h"

namespace goose::engine {

State::State(std::size_t layers, std::size_t heads, std::size_t head_size, std::size_t width,
             bool channel_shift)
    : memory_(heads * head_size * head_size),
      width_(width),
      stride_((memory_ + width * (channel_shift ? 2 : 1) + 15) / 16 * 16),
      numbers_(layers * stride_, 0.0F) {}

}  // namespace goose::engine
