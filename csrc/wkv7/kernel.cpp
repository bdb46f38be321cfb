// WKV-7 in vector instructions; reference.cpp says the same in plain loops.
//
// Value rows of the state are independent of each other, so forward takes a slice of them through
// all tokens, one value row per lane: the dot products over keys then need no horizontal sums, and
// one pass over the slice updates it, reads y_t and already takes S_t alpha_{t+1}.
//
// Backward is two passes. The adjoint G_t = dL/dS_t obeys the same recurrence in reverse with the
// parts exchanged,
//   G_t = G_{t+1} diag(w_{t+1}) + q_{t+1} alpha_{t+1}^T + dy_t r_t^T,   q_t = G_t beta_t,
// so the first pass is the forward sweep once more and yields q and dv_t = G_t k_t. With p and q
// known, every element of S and G is a recurrence of its own. The second pass runs them with one
// key per lane, where all other gradients are sums over rows: no horizontal sums here either. S is
// rebuilt forward from states kept every kSegment tokens; undoing the recurrence would divide by w
// and lose all precision within tens of tokens.
#include <cstdint>

#include "simd.h"
#include "wkv7/head.h"
#include "wkv7/sweep.h"
#include "wkv7/wkv7.h"

namespace goose::wkv7::GOOSE_ISA {
namespace {

constexpr std::int64_t kSegment = 32;
constexpr int kRows = 4;

struct Filled {
  constexpr explicit Filled(float value) {
    for (float& x : at) x = value;
  }
  alignas(64) float at[kMaxHeadSize]{};
};
constexpr Filled kZeros(0.0f), kOnes(1.0f);

template <int kN, int V>
void forward_slice(const Sizes& z, const Inputs& in, const Outputs& out, const Head& head,
                   std::int64_t lane) {
  Slice<V> slice;
  load_state(slice, in.state + head.state + lane * z.N, z.N);
  probe(slice, in.alpha + head.row(0), z.N);
  store_lanes(out.p + head.row(0) + lane, slice.p);
  sweep<kN>(slice, z.T, z.N, [&](std::int64_t t) {
    const std::int64_t row = head.row(t);
    const bool more = t + 1 < z.T;
    return Step{.decay = in.w + row,
                .into = in.beta + row,
                .key = in.k + row,
                .read = in.r + row,
                .probe = more ? in.alpha + row + head.stride : kZeros.at,
                .value = in.v + row + lane,
                .out = out.y + row + lane,
                .probe_out = more ? out.p + row + head.stride + lane : nullptr};
  });
  store_state(slice, out.state + head.state + lane * z.N, z.N);
}

// First pass of backward: dv, and q as (T,N).
template <int kN, int V>
void adjoint_slice(const Sizes& z, const Inputs& in, const Gradients& out, const Head& head,
                   std::int64_t lane, float* q) {
  Slice<V> slice;
  load_state(slice, out.dfinal + head.state + lane * z.N, z.N);
  for (int u = 0; u < V; ++u) slice.p[u] = Vec{};
  sweep<kN>(slice, z.T, z.N, [&](std::int64_t s) {
    const std::int64_t t = z.T - 1 - s;
    const std::int64_t row = head.row(t);
    return Step{.decay = s == 0 ? kOnes.at : in.w + row + head.stride,
                .into = s == 0 ? kZeros.at : in.alpha + row + head.stride,
                .key = in.r + row,
                .read = in.k + row,
                .probe = in.beta + row,
                .value = out.dy + row + lane,
                .out = out.dv + row + lane,
                .probe_out = q + t * z.N + lane};
  });
}

void forward(const Sizes& z, const Inputs& in, const Outputs& out, std::int64_t number) {
  const Head head(z, number);
  each_slice(z.N, [&]<int kN, int V>(std::int64_t lane) {
    forward_slice<kN, V>(z, in, out, head, lane);
  });
}

void adjoint(const Sizes& z, const Inputs& in, const Gradients& out, const Head& head, float* q) {
  each_slice(z.N, [&]<int kN, int V>(std::int64_t lane) {
    adjoint_slice<kN, V>(z, in, out, head, lane, q);
  });
}

// Second pass of backward: one key per lane -------------------------------------------------------

// A token's per-row factors of kRows value rows, together in memory.
struct RowFactors {
  float v[kRows], p[kRows], dy[kRows], q[kRows];
};

// A token's per-key vectors of kLanes keys: the inputs, or the gradients being summed.
struct KeyVectors {
  Vec r, w, k, alpha, beta;
};

struct Scratch {
  Scratch(const Sizes& z, float* floats)
      : segments((z.T + kSegment - 1) / kSegment),
        starts(reinterpret_cast<Vec*>(floats)),
        factors(reinterpret_cast<RowFactors*>(floats + segments * z.N * kLanes)),
        q(floats + segments * z.N * kLanes + segments * kSegment * z.N * 4) {}
  static std::int64_t floats(const Sizes& z) {
    const std::int64_t segments = (z.T + kSegment - 1) / kSegment;
    return segments * z.N * kLanes + segments * kSegment * z.N * 4 + z.T * z.N;
  }

  std::int64_t segments;
  Vec* starts;          // [segment][row]: states before each segment, for the keys at hand
  RowFactors* factors;  // [segment][row / kRows][token of the segment]
  float* q;             // [token][row]
};

std::int64_t tokens_in(const Sizes& z, std::int64_t segment) {
  const std::int64_t left = z.T - segment * kSegment;
  return left < kSegment ? left : kSegment;
}

RowFactors* factors_of(const Sizes& z, const Scratch& scratch, std::int64_t segment,
                       std::int64_t row) {
  return scratch.factors + (segment * (z.N / kRows) + row / kRows) * kSegment;
}

void gather_factors(const Sizes& z, const Inputs& in, const Gradients& out, const Head& head,
                    const Scratch& scratch) {
  for (std::int64_t t = 0; t < z.T; ++t) {
    for (std::int64_t i = 0; i < z.N; i += kRows) {
      RowFactors& to = factors_of(z, scratch, t / kSegment, i)[t % kSegment];
      const std::int64_t from = head.row(t) + i;
      __builtin_memcpy(to.v, in.v + from, sizeof to.v);
      __builtin_memcpy(to.p, out.p + from, sizeof to.p);
      __builtin_memcpy(to.dy, out.dy + from, sizeof to.dy);
      __builtin_memcpy(to.q, scratch.q + t * z.N + i, sizeof to.q);
    }
  }
}

void load_keys(const Inputs& in, std::int64_t from, std::int64_t stride, std::int64_t tokens,
               KeyVectors* keys) {
  for (std::int64_t t = 0; t < tokens; ++t, from += stride) {
    keys[t] = {load(in.r + from), load(in.w + from), load(in.k + from), load(in.alpha + from),
               load(in.beta + from)};
  }
}

void store_sums(const Gradients& out, std::int64_t to, std::int64_t stride, std::int64_t tokens,
                const KeyVectors* sums) {
  for (std::int64_t t = 0; t < tokens; ++t, to += stride) {
    store(out.dr + to, sums[t].r);
    store(out.dw + to, sums[t].w);
    store(out.dk + to, sums[t].k);
    store(out.dalpha + to, sums[t].alpha);
    store(out.dbeta + to, sums[t].beta);
  }
}

inline Vec next_state(Vec S, const KeyVectors& key, const RowFactors& row, int i) {
  return S * key.w + (row.p[i] * key.beta + row.v[i] * key.k);
}

void states_before_segments(const Sizes& z, const Inputs& in, const Head& head, std::int64_t j,
                            const Scratch& scratch) {
  KeyVectors keys[kSegment];
  for (std::int64_t i = 0; i < z.N; ++i) {
    scratch.starts[i] = load(in.state + head.state + i * z.N + j);
  }
  for (std::int64_t segment = 0; segment + 1 < scratch.segments; ++segment) {
    load_keys(in, head.row(segment * kSegment) + j, head.stride, kSegment, keys);
    for (std::int64_t i = 0; i < z.N; i += kRows) {
      const RowFactors* rows = factors_of(z, scratch, segment, i);
      const Vec* start = scratch.starts + segment * z.N + i;
      Vec S[kRows];
      for (int u = 0; u < kRows; ++u) S[u] = start[u];
      for (std::int64_t t = 0; t < kSegment; ++t) {
        for (int u = 0; u < kRows; ++u) S[u] = next_state(S[u], keys[t], rows[t], u);
      }
      for (int u = 0; u < kRows; ++u) scratch.starts[(segment + 1) * z.N + i + u] = S[u];
    }
  }
}

// kRows rows of one segment: adds their share to the sums and takes G back to before the segment.
void segment_back(std::int64_t tokens, const KeyVectors* keys, const RowFactors* rows,
                  const Vec* start, Vec* G, KeyVectors* sums) {
  Vec S[kSegment + 1][kRows], g[kRows];
  for (int u = 0; u < kRows; ++u) {
    S[0][u] = start[u];
    g[u] = G[u];
  }
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (int u = 0; u < kRows; ++u) S[t + 1][u] = next_state(S[t][u], keys[t], rows[t], u);
  }
  for (std::int64_t t = tokens - 1; t >= 0; --t) {
    const RowFactors& row = rows[t];
    KeyVectors sum = sums[t];
    for (int u = 0; u < kRows; ++u) {
      g[u] += row.dy[u] * keys[t].r;
      sum.r += row.dy[u] * S[t + 1][u];
      sum.k += row.v[u] * g[u];
      sum.beta += row.p[u] * g[u];
      sum.alpha += row.q[u] * S[t][u];
      sum.w += S[t][u] * g[u];
      g[u] = g[u] * keys[t].w + row.q[u] * keys[t].alpha;
    }
    sums[t] = sum;
  }
  for (int u = 0; u < kRows; ++u) G[u] = g[u];
}

void gradients_of_keys(const Sizes& z, const Inputs& in, const Gradients& out, const Head& head,
                       std::int64_t j, const Scratch& scratch) {
  Vec G[kMaxHeadSize];
  for (std::int64_t i = 0; i < z.N; ++i) G[i] = load(out.dfinal + head.state + i * z.N + j);
  for (std::int64_t segment = scratch.segments - 1; segment >= 0; --segment) {
    const std::int64_t tokens = tokens_in(z, segment);
    const std::int64_t at = head.row(segment * kSegment) + j;
    KeyVectors keys[kSegment], sums[kSegment]{};
    load_keys(in, at, head.stride, tokens, keys);
    for (std::int64_t i = 0; i < z.N; i += kRows) {
      segment_back(tokens, keys, factors_of(z, scratch, segment, i),
                   scratch.starts + segment * z.N + i, G + i, sums);
    }
    store_sums(out, at, head.stride, tokens, sums);
  }
  for (std::int64_t i = 0; i < z.N; ++i) store(out.dstate + head.state + i * z.N + j, G[i]);
}

void backward(const Sizes& z, const Inputs& in, const Gradients& out, std::int64_t number,
              float* floats) {
  const Head head(z, number);
  const Scratch scratch(z, floats);
  adjoint(z, in, out, head, scratch.q);
  gather_factors(z, in, out, head, scratch);
  for (std::int64_t j = 0; j < z.N; j += kLanes) {
    states_before_segments(z, in, head, j, scratch);
    gradients_of_keys(z, in, out, head, j, scratch);
  }
}

}  // namespace

extern const Kernel kernel{forward, backward, Scratch::floats};

}  // namespace goose::wkv7::GOOSE_ISA
