#include "train/train.h"

#include <algorithm>

#include "isa.h"
#include "kernels/kernels.h"
#include "parallel.h"
#include "scratch.h"

namespace goose::train {
namespace {

#define GOOSE_KERNEL(isa)                                                             \
  {                                                                                   \
    isa::quantise, isa::dense, isa::code, isa::code_back, isa::values, isa::product,  \
        isa::product_back, isa::turn, isa::delta_keys, isa::delta_keys_back,          \
        isa::norm, isa::norm_back, isa::divergence, isa::top_divergence               \
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
constexpr std::int64_t kWorthTables = 1 << 20;  // products of two numbers
constexpr std::int64_t kRun = 16;  // rows that one thread takes at a time

template <class Each>
void each_row(std::int64_t rows, std::int64_t columns, int threads, const Each& each) {
  const int useful = rows * columns < kWorthThreads ? 1 : threads;
  parallel_for((rows + kRun - 1) / kRun, useful, [&](int, std::int64_t run) {
    const std::int64_t last = (run + 1) * kRun < rows ? (run + 1) * kRun : rows;
    for (std::int64_t row = run * kRun; row < last; ++row) each(row);
  });
}

template <class P>
void tabulated(const Tables<P>& tables, const P& p, std::int64_t summed, std::int64_t outputs,
               int threads) {
  const int useful = p.tokens * summed * outputs < kWorthTables ? 1 : threads;
  const std::int64_t groups = groups_of(summed), size = outputs * kPlaces;
  const Scratch memory(groups * size * std::int64_t{sizeof(std::uint16_t)}, 1);
  auto* const places = memory.of<std::uint16_t>(0);
  parallel_for(groups, useful,
               [&](int, std::int64_t group) { tables.places(p, group, places + group * size); });
  const Scratch scratch(tables.bytes(p), useful);
  parallel_for((p.tokens + tables.block - 1) / tables.block, useful,
               [&](int worker, std::int64_t block) {
                 tables.block_of(p, places, block, scratch.of<void>(worker));
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

void values(const Coding& c, const Coded& of, int threads) {
  const Kernel& kernel = selected_kernel();
  each_row(c.tokens, c.columns, threads,
           [&](std::int64_t token) { kernel.values(c, of, token); });
}

void product(const Product& p, int threads) {
  const Planes& m = p.matrix;
  tabulated(selected_kernel().product, p, m.columns, m.planes * m.rows, threads);
}

void product_back(const ProductBack& p, int threads) {
  const Planes& m = p.matrix;
  tabulated(selected_kernel().product_back, p, m.planes * m.rows, m.columns, threads);
}

void turn(const Turn& t, int threads) {
  const Kernel& kernel = selected_kernel();
  each_row(t.tokens, t.heads * t.size, threads, [&](std::int64_t token) { kernel.turn(t, token); });
}

namespace {

template <class Each>
void each_head(const Keys& z, int threads, const Each& each) {
  const int useful = z.tokens * z.heads * z.size < kWorthThreads ? 1 : threads;
  parallel_for(z.heads, useful, [&](int, std::int64_t head) { each(head); });
}

}  // namespace

void delta_keys(const Keys& z, const KeyOutputs& out, int threads) {
  const Kernel& kernel = selected_kernel();
  each_head(z, threads, [&](std::int64_t head) { kernel.delta_keys(z, out, head); });
}

void delta_keys_back(const Keys& z, const KeyGradients& g, int threads) {
  const Kernel& kernel = selected_kernel();
  each_head(z, threads, [&](std::int64_t head) { kernel.delta_keys_back(z, g, head); });
}

void norm(const Norm& z, float* y, int threads) {
  const Kernel& kernel = selected_kernel();
  each_row(z.tokens, z.columns, threads, [&](std::int64_t token) { kernel.norm(z, y, token); });
}

void norm_back(const Norm& z, const NormGradients& g, int threads) {
  const Kernel& kernel = selected_kernel();
  const std::int64_t blocks = (z.tokens + kNormBlock - 1) / kNormBlock;
  const Scratch parts(blocks * z.columns * std::int64_t{sizeof(float)}, 1);
  const NormGradients with_parts{g.dy, g.dx, g.dweight, parts.of<float>(0)};
  const int useful = z.tokens * z.columns < kWorthThreads ? 1 : threads;
  parallel_for(blocks, useful,
               [&](int, std::int64_t block) { kernel.norm_back(z, with_parts, block); });
  for (std::int64_t i = 0; i < z.columns; ++i) g.dweight[i] = 0;
  for (std::int64_t block = 0; block < blocks; ++block) {
    const float* part = with_parts.parts + block * z.columns;
    for (std::int64_t i = 0; i < z.columns; ++i) g.dweight[i] += part[i];
  }
}

void divergence(const Divergence& d, int threads) {
  const Kernel& kernel = selected_kernel();
  const auto one = d.ids == nullptr ? kernel.divergence : kernel.top_divergence;
  each_row(d.tokens, d.words, threads, [&](std::int64_t token) { one(d, token); });
}

}  // namespace goose::train
