// Threads for kernels that take milliseconds.
#pragma once

#include <atomic>
#include <cstdint>

namespace goose {

// Calls body(data) at the same time from the calling thread and up to threads - 1 others, and waits
// for all. Borrows the workers of the OpenMP runtime that the process (PyTorch) has already loaded,
// because they spin for milliseconds after every parallel operation: threads of our own would have
// to share the cores with them. Without such a runtime, threads are spawned for this call.
void run_on_threads(int threads, void (*body)(void*), void* data);

// Calls body(worker, item) for every item below `items`; worker < threads tells scratch apart.
// Items are handed out as threads become free, so results must not depend on the worker.
template <class Body>
void parallel_for(std::int64_t items, int threads, const Body& body) {
  struct Shared {
    const Body& body;
    std::int64_t items;
    std::atomic<int> workers{0};
    std::atomic<std::int64_t> next{0};
  } shared{body, items};
  run_on_threads(
      threads,
      [](void* data) {
        Shared& s = *static_cast<Shared*>(data);
        const int worker = s.workers++;
        for (std::int64_t item = s.next++; item < s.items; item = s.next++) s.body(worker, item);
      },
      &shared);
}

// Numbers of sequences below which other threads cost more than they bring.
constexpr std::int64_t kWorthStrips = 1 << 15;

// Calls body(sequence, channel) for the first channel of every strip of `width` of them, where
// channels run along the tokens by themselves.
template <class Body>
void parallel_strips(std::int64_t sequences, std::int64_t tokens, std::int64_t channels,
                     std::int64_t width, int threads, const Body& body) {
  const std::int64_t strips = (channels + width - 1) / width;
  const int useful = sequences * tokens * channels < kWorthStrips ? 1 : threads;
  parallel_for(sequences * strips, useful,
               [&](int, std::int64_t item) { body(item / strips, item % strips * width); });
}

}  // namespace goose
