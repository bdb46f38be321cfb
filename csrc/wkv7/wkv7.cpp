#include "wkv7/wkv7.h"

#include "kernel_table.h"
#include "parallel.h"
#include "scratch.h"

namespace goose::wkv7 {

GOOSE_KERNEL_TABLE

namespace {

// State elements to update below which other threads cost more than they bring (about 0.1 ms). All
// or one: an OpenMP team of yet another size would make the runtime end and start threads.
constexpr std::int64_t kWorthElements = 1 << 19;

int useful_threads(const Sizes& z, int threads) {
  return z.B * z.H * z.T * z.N * z.N < kWorthElements ? 1 : threads;
}

}  // namespace

void forward(const Sizes& z, const Inputs& in, const Outputs& out, int threads) {
  const Kernel& kernel = selected_kernel();
  parallel_for(z.B * z.H, useful_threads(z, threads),
               [&](int, std::int64_t head) { kernel.forward(z, in, out, head); });
}

void backward(const Sizes& z, const Inputs& in, const Gradients& out, int threads) {
  const Kernel& kernel = selected_kernel();
  const int useful = useful_threads(z, threads);
  const Scratch scratch(kernel.scratch(z) * std::int64_t{sizeof(float)}, useful);
  parallel_for(z.B * z.H, useful, [&](int worker, std::int64_t head) {
    kernel.backward(z, in, out, head, scratch.of<float>(worker));
  });
}

}  // namespace goose::wkv7
