// WKV-4 with a channel per lane; reference.cpp says the same in plain loops.
//
// Of the two exponents at a maximum one is 0, so that every pair of factors takes one e^x.
#include "simd.h"
#include "simd_math.h"
#include "wkv4/wkv4.h"

namespace goose::wkv4::GOOSE_ISA {
namespace {

// `count` channels of a row; where they do not fill a vector the rest is 0, and never written.
struct Lanes {
  std::int64_t count;

  Vec load(const float* from) const {
    if (count >= kLanes) return goose::load(from);
    Vec x{};
    __builtin_memcpy(&x, from, sizeof(float) * static_cast<std::size_t>(count));
    return x;
  }
  void store(float* to, Vec x) const {
    if (count >= kLanes) return goose::store(to, x);
    __builtin_memcpy(to, &x, sizeof(float) * static_cast<std::size_t>(count));
  }
};

// e^(x - m) and e^(y - m), m the larger of both.
struct Pair {
  Pair(Vec x, Vec y) {
    const Vec gap = x - y, size = gap < 0.0F ? gap : -gap, less = power_of_e(size);
    const Vec one = 1.0F + Vec{};
    m = gap < 0.0F ? y : x;
    first = gap < 0.0F ? less : one;
    second = gap < 0.0F ? one : less;
  }
  Vec m, first, second;
};

struct State {
  Vec a, n, p;

  State(const Lanes& lanes, const float* from, std::int64_t C)
      : a(lanes.load(from)), n(lanes.load(from + C)), p(lanes.load(from + 2 * C)) {}
  void store(const Lanes& lanes, float* to, std::int64_t C) const {
    lanes.store(to, a);
    lanes.store(to + C, n);
    lanes.store(to + 2 * C, p);
  }
  void forget() {
    a = n = Vec{};
    p = kNever + Vec{};
  }
  void write(Vec k, Vec v, Vec w) {
    const Pair x(p - w, k);
    a = x.first * a + x.second * v;
    n = x.first * n + x.second;
    p = x.m;
  }
};

inline std::uint8_t mark(const Sizes& z, const Inputs& in, std::int64_t b, std::int64_t t) {
  return in.marks == nullptr ? 0 : in.marks[b * z.T + t];
}

void forward(const Sizes& z, const Inputs& in, const Outputs& out, std::int64_t b,
             std::int64_t c) {
  const Lanes lanes{z.C - c};
  State state(lanes, in.state + b * 3 * z.C + c, z.C);
  const Vec w = lanes.load(in.w + c), u = lanes.load(in.u + c);
  for (std::int64_t t = 0; t < z.T; ++t) {
    const std::int64_t at = (b * z.T + t) * z.C + c;
    const std::uint8_t m = mark(z, in, b, t);
    if (m == kStart) state.forget();
    if (m == kPadding) {
      lanes.store(out.y + at, Vec{});
      lanes.store(out.q + at, Vec{});
      lanes.store(out.d + at, 1.0F + Vec{});
      continue;
    }
    const Vec k = lanes.load(in.k + at), v = lanes.load(in.v + at);
    const Pair x(state.p, u + k);
    const Vec d = x.first * state.n + x.second;
    lanes.store(out.y + at, (x.first * state.a + x.second * v) / d);
    lanes.store(out.q + at, x.m);
    lanes.store(out.d + at, d);
    state.write(k, v, w);
  }
  state.store(lanes, out.state + b * 3 * z.C + c, z.C);
}

// Sums over later tokens t of c_t e^{-(t-1-i)w}, c_t = dy_t / denominator_t, all times e^{-o}: m
// plain, r with y_t; m1 and r1 with the distance t-1-i in front, for the gradient of w.
struct Later {
  Vec m{}, r{}, m1{}, r1{}, o = kNever + Vec{};

  void before(Vec share, Vec y, Vec q, Vec w) {
    const Pair x(o - w, -q);
    const Vec c = x.second * share;
    m1 = x.first * (m1 + m);
    r1 = x.first * (r1 + r);
    m = x.first * m + c;
    r = x.first * r + c * y;
    o = x.m;
  }
};

void backward(const Sizes& z, const Inputs& in, const Gradients& out, std::int64_t b,
              std::int64_t c) {
  const Lanes lanes{z.C - c};
  const Vec w = lanes.load(in.w + c), u = lanes.load(in.u + c);
  Vec dw{}, du{};
  Later later;
  for (std::int64_t t = z.T - 1; t >= 0; --t) {
    const std::int64_t at = (b * z.T + t) * z.C + c;
    const std::uint8_t m = mark(z, in, b, t);
    if (m == kPadding) {
      lanes.store(out.dk + at, Vec{});
      lanes.store(out.dv + at, Vec{});
      continue;
    }
    const Vec k = lanes.load(in.k + at), v = lanes.load(in.v + at), y = lanes.load(out.y + at);
    const Vec q = lanes.load(out.q + at), d = lanes.load(out.d + at);
    // Lanes beyond the last channel hold d = 0: what they make of it is never written.
    const Vec share = lanes.load(out.dy + at) / d, write = power_of_e(k + later.o);
    const Vec own = power_of_e(u + k - q) * share;
    lanes.store(out.dv + at, write * later.m + own);
    lanes.store(out.dk + at, write * (v * later.m - later.r) + own * (v - y));
    dw -= write * (v * later.m1 - later.r1);
    du += own * (v - y);
    later.before(share, y, q, w);
    if (m == kStart) later = Later{};
  }
  const State state(lanes, in.state + b * 3 * z.C + c, z.C);
  const Vec write = power_of_e(state.p + later.o);
  const Vec da = write * later.m, db = -write * later.r;
  dw -= write * (state.a * later.m1 - state.n * later.r1);
  float* dstate = out.dstate + b * 3 * z.C + c;
  lanes.store(dstate, da);
  lanes.store(dstate + z.C, db);
  lanes.store(dstate + 2 * z.C, state.a * da + state.n * db);
  lanes.store(out.dw + b * z.C + c, dw);
  lanes.store(out.du + b * z.C + c, du);
}

}  // namespace

extern const Kernel kernel{forward, backward, kLanes};

}  // namespace goose::wkv4::GOOSE_ISA
