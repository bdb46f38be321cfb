#include "lif/lif.h"

#include "kernel_table.h"
#include "parallel.h"

namespace goose::lif {

GOOSE_KERNEL_TABLE

void forward(const Sizes& z, const Neuron& neuron, const Inputs& in, const Outputs& out, int threads) {
  const Kernel& kernel = selected_kernel();
  parallel_strips(z.B, z.T, z.K, kernel.strip, threads, [&](std::int64_t b, std::int64_t k) {
    kernel.forward(z, neuron, in, out, b, k);
  });
}

void backward(const Sizes& z, const Neuron& neuron, const Inputs& in, const Gradients& out, int threads) {
  const Kernel& kernel = selected_kernel();
  parallel_strips(z.B, z.T, z.K, kernel.strip, threads, [&](std::int64_t b, std::int64_t k) {
    kernel.backward(z, neuron, in, out, b, k);
  });
}

}  // namespace goose::lif
