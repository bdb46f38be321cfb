#include "kernels/kernels.h"

#include "isa.h"
#include "kernels/dense/dense.h"
#include "kernels/grouped/grouped.h"
#include "kernels/hadamard/hadamard.h"
#include "kernels/spikes/spikes.h"
#include "kernels/ternary/ternary.h"
#include "kernels/vectors/vectors.h"

namespace goose::kernels {
namespace {

// Grouped weights have a set of their own, for dot products of bytes.
#define GOOSE_TABLE(isa, bytes)                                                                  \
  {                                                                                              \
    isa::widest_segment, isa::tile, isa::sides, isa::rotate, isa::magnitudes, isa::encode, isa::list, \
        isa::select, isa::dense_f32, isa::dense_f16, isa::dense_i8, isa::row_i8, isa::screen,    \
        bytes::grouped, bytes::round_i8, isa::round_i16, isa::rms_norm,      \
        isa::layer_norm, isa::add, isa::multiply, isa::blend, isa::scale, isa::delta, isa::gate, \
        isa::turn, isa::shift, isa::sigmoid, isa::tanh, isa::silu, isa::gelu, isa::gelu_tanh,    \
        isa::relu, isa::square, isa::decay, isa::masses, isa::wkv, isa::wkv_bf16                 \
  }

const Table kReference = GOOSE_TABLE(reference, reference);
const Table kBaseline = GOOSE_TABLE(baseline, baseline);
#ifdef GOOSE_X86
const Table kAvx2 = GOOSE_TABLE(avx2, avx2);
const Table kAvx512 = GOOSE_TABLE(avx512, avx512);
const Table kAvx512Vnni = GOOSE_TABLE(avx512, avx512vnni);
#endif

#undef GOOSE_TABLE

}  // namespace

const Table& selected_table() {
  switch (selected_isa()) {
    case Isa::reference: return kReference;
#ifdef GOOSE_X86
    case Isa::avx2: return kAvx2;
    case Isa::avx512: return kAvx512;
    case Isa::avx512vnni: return kAvx512Vnni;
#endif
    default: return kBaseline;
  }
}

}  // namespace goose::kernels
