// Memory of the engine: what grows and is used again, and what holds the weights.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace goose::engine {

constexpr std::size_t kLargePage = std::size_t{1} << 21;

// Uninitialised memory, aligned to 64 bytes; in large pages as far as it fills them and the system
// gives them: with small ones a product that reads megabytes waits for page tables more than for
// numbers. A last page that is not filled stays small, or a state would take a third more. Vectors
// may read 64 bytes beyond the end.
inline char* allocate(std::size_t bytes) {
  const std::size_t large = bytes / kLargePage * kLargePage;
  void* data = nullptr;
  if (posix_memalign(&data, large > 0 ? kLargePage : 64, bytes + 64) != 0) throw std::bad_alloc();
#ifdef __linux__
  if (large > 0) madvise(data, large, MADV_HUGEPAGE);  // a wish
#endif
  return static_cast<char*>(data);
}

// Uninitialised elements of a plain type, aligned to 64 bytes. `at_least` keeps what is there where
// the buffer is large enough, and otherwise drops it.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size) { at_least(size); }

  T* at_least(std::size_t size) {
    if (size > size_) {
      data_.reset();
      data_.reset(reinterpret_cast<T*>(allocate(size * sizeof(T))));
      size_ = size;
    }
    return data_.get();
  }
  T* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* data) const { std::free(data); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t size_ = 0;
};

// Memory for all weights of a model.
class Arena {
 public:
  // Zeroed, aligned to 64 bytes, and there as long as the arena.
  template <class T>
  T* take(std::size_t count) {
    const std::size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
    if (bytes > left_) grow(bytes);
    T* result = reinterpret_cast<T*>(next_);
    next_ += bytes;
    left_ -= bytes;
    return result;
  }

 private:
  static constexpr std::size_t kBlock = 4 * kLargePage;

  void grow(std::size_t bytes) {
    const std::size_t size =
        ((bytes > kBlock ? bytes : kBlock) + kLargePage - 1) / kLargePage * kLargePage;
    blocks_.emplace_back(allocate(size));
    next_ = blocks_.back().get();
    std::memset(next_, 0, size);
    left_ = size;
  }

  struct Free {
    void operator()(char* data) const { std::free(data); }
  };
  std::vector<std::unique_ptr<char, Free>> blocks_;
  char* next_ = nullptr;
  std::size_t left_ = 0;
};

}  // namespace goose::engine
