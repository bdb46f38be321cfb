// Memory that each worker of a parallel loop has for itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace goose {

// Uninitialised, aligned to 64 bytes.
class Scratch {
 public:
  Scratch(std::int64_t bytes, int workers)
      : stride_((bytes + 63) / 64 * 64),
        bytes_(static_cast<std::byte*>(::operator new(
            static_cast<std::size_t>(stride_ * workers), std::align_val_t{64}))) {}

  template <class T>
  T* of(int worker) const {
    return reinterpret_cast<T*>(bytes_.get() + stride_ * worker);
  }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { ::operator delete(bytes, std::align_val_t{64}); }
  };
  std::int64_t stride_;
  std::unique_ptr<std::byte, Free> bytes_;
};

}  // namespace goose
