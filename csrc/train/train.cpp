#include "train/train.h"

#include <algorithm>
#include <vector>

#include "isa.h"
#include "kernels/kernels.h"
#include "parallel.h"

namespace goose::train {
namespace {

#define GOOSE_KERNEL(isa)                                                             \
  {                                                                                   \
    isa::quantise, isa::dense, isa::code, isa::code_back, isa::product,               \
        isa::panel_rows, isa::divergence, isa::top_divergence                         \
  }

const Kernel& selected_kernel() {
  static const Kernel reference = GOOSE_KERNEL(reference), baseline = GOOSE_KERNEL(baseline);
#ifdef GOOSE_X86
  static const Kernel avx2 = GOOSE_KERNEL(avx2), avx512 = GOOSE_KERNEL(avx512);
#endif
  switch (selected_isa()) {
    case Isa::reference: return reference;
#ifdef GOOSE_X86
    case Isa::avx2: return avx2;
    case Isa::avx512: case Isa::avx512vnni: return avx512;
#endif
    default: return baseline;
  }
}

#undef GOOSE_KERNEL

// Numbers to read below which other threads cost more than they bring. All or one: an OpenMP team of
// yet another size would make the runtime end and start threads.
constexpr std::int64_t kWorthThreads = 1 << 16;
constexpr std::int64_t kRun = 16;  // rows that one thread takes at a time

template <class Each>
void each_row(std::int64_t rows, std::int64_t columns, int threads, const Each& each) {
  const int useful = rows * columns < kWorthThreads ? 1 : threads;
  parallel_for((rows + kRun - 1) / kRun, useful, [&](int, std::int64_t run) {
    const std::int64_t last = (run + 1) * kRun < rows ? (run + 1) * kRun : rows;
    for (std::int64_t row = run * kRun; row < last; ++row) each(row);
  });
}

}  // namespace

void quantise(const float* weight, float factor, const Planes& p, int threads) {
  const Kernel& kernel = selected_kernel();
  each_row(p.rows, p.columns, threads,
           [&](std::int64_t row) { kernel.quantise(weight, factor, p, row); });
}

void dense(const Planes& p, float* out, int threads) {
  const Kernel& kernel = selected_kernel();
  each_row(p.rows, p.columns, threads, [&](std::int64_t row) { kernel.dense(p, row, out); });
}

void rotate(const float* x, float* out, std::int64_t tokens, std::int64_t columns, int threads) {
  const kernels::Table& table = kernels::selected_table();
  each_row(tokens, columns, threads, [&](std::int64_t token) {
    table.rotate(x + token * columns, out + token * columns, columns);
  });
}

void code(const Coding& c, const float* x, const Coded& out, int threads) {
  const Kernel& kernel = selected_kernel();
  each_row(c.tokens, c.columns, threads,
           [&](std::int64_t token) { kernel.code(c, x, out, token); });
}

void code_back(const Coding& c, const std::uint8_t* passes, const float* dvalues, float* dx,
               int threads) {
  const Kernel& kernel = selected_kernel();
  each_row(c.tokens, c.columns, threads,
           [&](std::int64_t token) { kernel.code_back(c, passes, dvalues, dx, token); });
}

void product(const Product& p, int threads) {
  const Kernel& kernel = selected_kernel();
  const int useful = p.tokens * p.rows * p.columns < (1 << 20) ? 1 : threads;
  const std::int64_t bytes = panel_bytes(kernel, p.columns);
  std::vector<std::int8_t> scratch(static_cast<std::size_t>(bytes * useful));
  const std::int64_t panels = (p.rows + kernel.panel_rows - 1) / kernel.panel_rows;
  parallel_for(panels, useful, [&](int worker, std::int64_t panel) {
    kernel.product(p, panel, scratch.data() + bytes * worker);
  });
}

void divergence(const Divergence& d, int threads) {
  const Kernel& kernel = selected_kernel();
  const auto one = d.ids == nullptr ? kernel.divergence : kernel.top_divergence;
  each_row(d.tokens, d.words, threads, [&](std::int64_t token) { one(d, token); });
}

}  // namespace goose::train
