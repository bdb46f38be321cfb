#include "wkv7/wkv7.h"

#include <memory>
#include <new>

#include "kernel_table.h"
#include "parallel.h"

namespace goose::wkv7 {

GOOSE_KERNEL_TABLE

namespace {

// State elements to update below which other threads cost more than they bring (about 0.1 ms). All
// or one: an OpenMP team of yet another size would make the runtime end and start threads.
constexpr std::int64_t kWorthElements = 1 << 19;

int useful_threads(const Sizes& z, int threads) {
  return z.B * z.H * z.T * z.N * z.N < kWorthElements ? 1 : threads;
}

class Scratch {
 public:
  Scratch(std::int64_t floats, int threads)
      : stride_((floats + 15) / 16 * 16),
        floats_(static_cast<float*>(
            ::operator new(stride_ * threads * sizeof(float), std::align_val_t{64}))) {}
  float* of(int worker) const { return floats_.get() + stride_ * worker; }

 private:
  struct Free {
    void operator()(float* floats) const { ::operator delete(floats, std::align_val_t{64}); }
  };
  std::int64_t stride_;
  std::unique_ptr<float, Free> floats_;
};

}  // namespace

void forward(const Sizes& z, const Inputs& in, const Outputs& out, int threads) {
  const Kernel& kernel = selected_kernel();
  parallel_for(z.B * z.H, useful_threads(z, threads),
               [&](int, std::int64_t head) { kernel.forward(z, in, out, head); });
}

void backward(const Sizes& z, const Inputs& in, const Gradients& out, int threads) {
  const Kernel& kernel = selected_kernel();
  const int useful = useful_threads(z, threads);
  const Scratch scratch(kernel.scratch(z), useful);
  parallel_for(z.B * z.H, useful, [&](int worker, std::int64_t head) {
    kernel.backward(z, in, out, head, scratch.of(worker));
  });
}

}  // namespace goose::wkv7
