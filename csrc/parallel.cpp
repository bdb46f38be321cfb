#include "parallel.h"

#include <dlfcn.h>

#include <system_error>
#include <thread>
#include <vector>

namespace goose {
namespace {

// Entry point of GCC's and LLVM's OpenMP runtimes: body(data) on a team of that many threads.
using GompParallel = void (*)(void (*body)(void*), void* data, unsigned threads, unsigned flags);

void run_on_own_threads(int threads, void (*body)(void*), void* data) {
  std::vector<std::thread> crew;
  for (int worker = 1; worker < threads; ++worker) {
    try {
      crew.emplace_back(body, data);
    } catch (const std::system_error&) {
      break;  // the system allows no more threads: those there are do the work
    }
  }
  body(data);
  for (std::thread& thread : crew) thread.join();
}

}  // namespace

void run_on_threads(int threads, void (*body)(void*), void* data) {
  if (threads == 1) return body(data);
  const auto borrowed = reinterpret_cast<GompParallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
  if (borrowed == nullptr) return run_on_own_threads(threads, body, data);
  borrowed(body, data, static_cast<unsigned>(threads), 0);
}

}  // namespace goose
