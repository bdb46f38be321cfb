#include "wkv4/wkv4.h"

#include "kernel_table.h"
#include "parallel.h"

namespace goose::wkv4 {

GOOSE_KERNEL_TABLE

void forward(const Sizes& z, const Inputs& in, const Outputs& out, int threads) {
  const Kernel& kernel = selected_kernel();
  parallel_strips(z.B, z.T, z.C, kernel.lanes, threads,
                  [&](std::int64_t b, std::int64_t c) { kernel.forward(z, in, out, b, c); });
}

void backward(const Sizes& z, const Inputs& in, const Gradients& out, int threads) {
  const Kernel& kernel = selected_kernel();
  parallel_strips(z.B, z.T, z.C, kernel.lanes, threads,
                  [&](std::int64_t b, std::int64_t c) { kernel.backward(z, in, out, b, c); });
}

}  // namespace goose::wkv4
