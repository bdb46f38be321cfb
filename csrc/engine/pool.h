// The engine's own threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace goose::engine {

// Threads that wait for work, first spinning for some microseconds, then asleep: a product of
// microseconds cannot wait for a thread to be woken, and a waiting engine must not burn a core.
class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(crew_.size()) + 1; }

  // Calls body(worker, item) for every item below `items` and waits for all. Items are handed out
  // as threads become free. An exception must not leave `body`.
  template <class Body>
  void each(std::int64_t items, const Body& body) {
    if (items <= 1 || crew_.empty()) {
      for (std::int64_t item = 0; item < items; ++item) body(0, item);
      return;
    }
    run(items, [](const void* b, int worker, std::int64_t item) {
      (*static_cast<const Body*>(b))(worker, item);
    }, &body);
  }

 private:
  using Call = void (*)(const void* body, int worker, std::int64_t item);

  void run(std::int64_t items, Call call, const void* body);
  void work(int worker);
  void live(int worker);

  Call call_ = nullptr;
  const void* body_ = nullptr;
  std::int64_t items_ = 0;
  std::atomic<std::int64_t> next_{0};
  std::atomic<std::uint32_t> round_{0};
  std::atomic<std::int32_t> busy_{0};
  std::atomic<bool> over_{false};
  std::vector<std::thread> crew_;
};

}  // namespace goose::engine
