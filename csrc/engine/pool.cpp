#include "engine/pool.h"

#include <system_error>

namespace goose::engine {
namespace {

constexpr int kSpins = 4000;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// Waits until `value` is no longer `old`.
template <class T>
void await(const std::atomic<T>& value, T old) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (value.load(std::memory_order_acquire) != old) return;
    relax();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

Pool::Pool(int threads) {
  for (int worker = 1; worker < threads; ++worker) {
    try {
      crew_.emplace_back([this, worker] { live(worker); });
    } catch (const std::system_error&) {
      break;  // the system allows no more: those there are do the work
    }
  }
}

Pool::~Pool() {
  over_ = true;
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (std::thread& thread : crew_) thread.join();
}

void Pool::run(std::int64_t items, Call call, const void* body) {
  call_ = call;
  body_ = body;
  items_ = items;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(static_cast<std::int32_t>(crew_.size()), std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  work(0);
  for (std::int32_t left = busy_.load(std::memory_order_acquire); left != 0;
       left = busy_.load(std::memory_order_acquire)) {
    await(busy_, left);
  }
}

void Pool::work(int worker) {
  for (std::int64_t item = next_++; item < items_; item = next_++) call_(body_, worker, item);
}

void Pool::live(int worker) {
  std::uint32_t seen = 0;
  for (;;) {
    await(round_, seen);
    seen = round_.load(std::memory_order_acquire);
    if (over_) return;
    work(worker);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_all();
  }
}

}  // namespace goose::engine
