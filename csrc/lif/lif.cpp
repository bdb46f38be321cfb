#include "lif/lif.h"

#include "kernel_table.h"
#include "parallel.h"

namespace goose::lif {

GOOSE_KERNEL_TABLE

namespace {

// Numbers below which other threads cost more than they bring.
constexpr std::int64_t kWorthThreads = 1 << 15;

template <class One>
void each_strip(const Sizes& z, const Kernel& kernel, int threads, const One& one) {
  const int useful = z.B * z.T * z.K < kWorthThreads ? 1 : threads;
  parallel_strips(z.B, z.K, kernel.strip, useful, one);
}

}  // namespace

void forward(const Sizes& z, const Neuron& neuron, const Inputs& in, const Outputs& out, int threads) {
  const Kernel& kernel = selected_kernel();
  each_strip(z, kernel, threads,
             [&](std::int64_t b, std::int64_t k) { kernel.forward(z, neuron, in, out, b, k); });
}

void backward(const Sizes& z, const Neuron& neuron, const Inputs& in, const Gradients& out, int threads) {
  const Kernel& kernel = selected_kernel();
  each_strip(z, kernel, threads,
             [&](std::int64_t b, std::int64_t k) { kernel.backward(z, neuron, in, out, b, k); });
}

}  // namespace goose::lif
