#include "wkv4/wkv4.h"

#include "isa.h"
#include "parallel.h"

namespace goose::wkv4 {

namespace reference {
extern const Kernel kernel;
}
namespace baseline {
extern const Kernel kernel;
}
#ifdef GOOSE_X86
namespace avx2 {
extern const Kernel kernel;
}
namespace avx512 {
extern const Kernel kernel;
}
#endif

namespace {

const Kernel& selected_kernel() {
  switch (selected_isa()) {
    case Isa::reference: return reference::kernel;
#ifdef GOOSE_X86
    case Isa::avx2: return avx2::kernel;
    case Isa::avx512: return avx512::kernel;
#endif
    default: return baseline::kernel;
  }
}

// Numbers below which other threads cost more than they bring.
constexpr std::int64_t kWorthThreads = 1 << 15;

template <class One>
void each_strip(const Sizes& z, const Kernel& kernel, int threads, const One& one) {
  const std::int64_t strips = (z.C + kernel.lanes - 1) / kernel.lanes;
  const int useful = z.B * z.T * z.C < kWorthThreads ? 1 : threads;
  parallel_for(z.B * strips, useful, [&](int, std::int64_t item) {
    one(item / strips, item % strips * kernel.lanes);
  });
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
