#include "wkv4/wkv4.h"

#include "kernel_table.h"
#include "parallel.h"

namespace goose::wkv4 {

GOOSE_KERNEL_TABLE

namespace {

// Numbers below which other threads cost more than they bring.
constexpr std::int64_t kWorthThreads = 1 << 15;

template <class One>
void each_strip(const Sizes& z, const Kernel& kernel, int threads, const One& one) {
  const int useful = z.B * z.T * z.C < kWorthThreads ? 1 : threads;
  parallel_strips(z.B, z.C, kernel.lanes, useful, one);
}

}  // namespace

void forward(const Sizes& z, const Inputs& in, const Outputs& out, int threads) {
  const Kernel& kernel = selected_kernel();
  each_strip(z, kernel, threads,
             [&](std::int64_t b, std::int64_t c) { kernel.forward(z, in, out, b, c); });
}

void backward(const Sizes& z, const Inputs& in, const Gradients& out, int threads) {
  const Kernel& kernel = selected_kernel();
  each_strip(z, kernel, threads,
             [&](std::int64_t b, std::int64_t c) { kernel.backward(z, in, out, b, c); });
}

}  // namespace goose::wkv4
