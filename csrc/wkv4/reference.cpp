// The plain loops that kernel.cpp is measured against: one channel at a time, in double.
#include <algorithm>
#include <cmath>

#include "wkv4/wkv4.h"

namespace goose::wkv4::reference {
namespace {

std::uint8_t mark(const Sizes& z, const Inputs& in, std::int64_t b, std::int64_t t) {
  return in.marks == nullptr ? 0 : in.marks[b * z.T + t];
}

void forward(const Sizes& z, const Inputs& in, const Outputs& out, std::int64_t b,
             std::int64_t c) {
  const float* state = in.state + b * 3 * z.C + c;
  double a = state[0], n = state[z.C], p = state[2 * z.C];
  const double w = in.w[c], u = in.u[c];
  for (std::int64_t t = 0; t < z.T; ++t) {
    const std::int64_t at = (b * z.T + t) * z.C + c;
    const std::uint8_t m = mark(z, in, b, t);
    if (m == kStart) a = n = 0, p = kNever;
    if (m == kPadding) {
      out.y[at] = out.q[at] = 0;
      out.d[at] = 1;
      continue;
    }
    const double k = in.k[at], v = in.v[at], q = std::max(p, u + k);
    const double d = std::exp(p - q) * n + std::exp(u + k - q);
    out.y[at] = float((std::exp(p - q) * a + std::exp(u + k - q) * v) / d);
    out.q[at] = float(q);
    out.d[at] = float(d);
    const double next = std::max(p - w, k);
    a = std::exp(p - w - next) * a + std::exp(k - next) * v;
    n = std::exp(p - w - next) * n + std::exp(k - next);
    p = next;
  }
  float* final = out.state + b * 3 * z.C + c;
  final[0] = float(a);
  final[z.C] = float(n);
  final[2 * z.C] = float(p);
}

// Sums over later tokens t of c_t e^{-(t-1-i)w}, c_t = dy_t / denominator_t, all times e^{-o}: m
// plain, r with y_t; m1 and r1 with the distance t-1-i in front, for the gradient of w.
struct Later {
  double m = 0, r = 0, m1 = 0, r1 = 0, o = kNever;

  void before(double dy, double y, double q, double d, double w) {
    const double next = std::max(o - w, -q), fade = std::exp(o - w - next);
    const double c = std::exp(-q - next) * dy / d;
    m1 = fade * (m1 + m);
    r1 = fade * (r1 + r);
    m = fade * m + c;
    r = fade * r + c * y;
    o = next;
  }
};

void backward(const Sizes& z, const Inputs& in, const Gradients& out, std::int64_t b,
              std::int64_t c) {
  const double w = in.w[c], u = in.u[c];
  double dw = 0, du = 0;
  Later later;
  for (std::int64_t t = z.T - 1; t >= 0; --t) {
    const std::int64_t at = (b * z.T + t) * z.C + c;
    const std::uint8_t m = mark(z, in, b, t);
    if (m == kPadding) {
      out.dk[at] = out.dv[at] = 0;
      continue;
    }
    const double k = in.k[at], v = in.v[at], y = out.y[at];
    const double write = std::exp(k + later.o);
    const double own = std::exp(u + k - out.q[at]) * out.dy[at] / out.d[at];
    out.dv[at] = float(write * later.m + own);
    out.dk[at] = float(write * (v * later.m - later.r) + own * (v - y));
    dw -= write * (v * later.m1 - later.r1);
    du += own * (v - y);
    later.before(out.dy[at], y, out.q[at], out.d[at], w);
    if (m == kStart) later = {};
  }
  const float* state = in.state + b * 3 * z.C + c;
  const double write = std::exp(state[2 * z.C] + later.o);
  const double da = write * later.m, db = -write * later.r;
  dw -= write * (state[0] * later.m1 - state[z.C] * later.r1);
  float* dstate = out.dstate + b * 3 * z.C + c;
  dstate[0] = float(da);
  dstate[z.C] = float(db);
  dstate[2 * z.C] = float(state[0] * da + state[z.C] * db);
  out.dw[b * z.C + c] = float(dw);
  out.du[b * z.C + c] = float(du);
}

}  // namespace

extern const Kernel kernel{forward, backward, 1};

}  // namespace goose::wkv4::reference
