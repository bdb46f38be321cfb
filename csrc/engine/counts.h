// How often a place was visited, and how many spikes came.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace goose::engine {

// Vectors since they were last forgotten, and spikes in them; threads may count at the same time.
class Counts {
 public:
  std::int64_t vectors() const { return numbers_->vectors; }
  std::int64_t active() const { return numbers_->active; }
  void add(std::int64_t vectors, std::int64_t active) const {
    numbers_->vectors += vectors;
    numbers_->active += active;
  }
  void forget() const { numbers_->vectors = numbers_->active = 0; }

  // Column of this place where spikes are told apart by sequence (Engine::Sequence::spikes).
  std::int64_t column() const { return numbers_->column; }
  void set_column(std::int64_t column) const { numbers_->column = column; }

 private:
  struct Numbers {
    std::atomic<std::int64_t> vectors{0}, active{0};
    std::int64_t column = 0;
  };
  std::unique_ptr<Numbers> numbers_ = std::make_unique<Numbers>();
};

}  // namespace goose::engine
