// Weights and tokens to integers and back. What decides about an integer must agree with Python to
// the last bit: compiled without contraction.
#include "kernels/hadamard/hadamard.h"
#include "simd_math.h"
#include "train/train.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace goose::train::GOOSE_ISA {
namespace {

constexpr int kBlock = 16;
constexpr int kVectors = kBlock / kLanes;
constexpr float kRound = 12582912.0F;  // adding and subtracting 1.5 * 2^23 rounds, halves to even

typedef float HalfVec __attribute__((vector_size(GOOSE_VECTOR_BYTES / 2)));
typedef double Doubles __attribute__((vector_size(GOOSE_VECTOR_BYTES)));
typedef std::int8_t Bytes __attribute__((vector_size(kLanes)));
typedef std::int16_t Shorts __attribute__((vector_size(2 * kLanes)));

// Conversions of which compilers make several instructions, or take number by number.
#if GOOSE_VECTOR_BYTES == 32
inline Doubles widened(HalfVec x) { return _mm256_cvtps_pd(x); }
inline IntVec load_signed(const void* from) {
  return (IntVec)_mm256_cvtepi8_epi32(_mm_loadu_si64(from));
}
#else
inline Doubles widened(HalfVec x) { return __builtin_convertvector(x, Doubles); }
inline IntVec load_signed(const void* from) {
  Bytes bytes;
  __builtin_memcpy(&bytes, from, sizeof bytes);
  return __builtin_convertvector(__builtin_convertvector(bytes, Shorts), IntVec);
}
#endif
inline void store_bytes(void* to, IntVec x) {
  const Bytes bytes = __builtin_convertvector(__builtin_convertvector(x, Shorts), Bytes);
  __builtin_memcpy(to, &bytes, sizeof bytes);
}

// Sums in fp64, one for each lane and vector of a block.
struct Sum {
  Doubles part[2 * kVectors] = {};
  void add(int v, Vec x) {
    HalfVec half[2];
    __builtin_memcpy(half, &x, sizeof half);
    part[2 * v] += widened(half[0]);
    part[2 * v + 1] += widened(half[1]);
  }
  double total() const {
    double sum = 0;
    for (const Doubles& one : part) {
      for (int i = 0; i < kLanes / 2; ++i) sum += one[i];
    }
    return sum;
  }
};

template <class Each>
inline void each_vector(std::int64_t width, const Each& each) {
  for (std::int64_t i = 0; i < width; i += kBlock) {
    for (int v = 0; v < kVectors; ++v) each(v, i + v * kLanes);
  }
}

inline double sum_of_magnitudes(const float* x, std::int64_t width) {
  Sum sum;
  each_vector(width, [&](int v, std::int64_t i) { sum.add(v, magnitude(load(x + i))); });
  return sum.total();
}

// 1, -1 or 0 in each lane.
inline IntVec sign_beyond(Vec x, float edge) { return (x < -edge) - (x > edge); }

inline bool finite(double x) { return x - x == 0; }

inline std::int64_t total(IntVec x) {
  std::int64_t sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += x[i];
  return sum;
}

struct Plane {
  float scale;
  std::int64_t count;
  double product;  // of the codes with what they code
};

Plane finished(const Sum& kept, std::int64_t count) {
  const double product = kept.total();
  return {static_cast<float>(product / static_cast<double>(count > 0 ? count : 1)), count, product};
}

Plane first_plane(const float* w, std::int64_t width, float edge, std::int8_t* codes) {
  Sum kept;
  IntVec count = {};
  each_vector(width, [&](int v, std::int64_t i) {
    const Vec x = load(w + i);
    const IntVec code = sign_beyond(x, edge), fires = code != 0;
    kept.add(v, (Vec)((IntVec)magnitude(x) & fires));
    count -= fires;
    store_bytes(codes + i, code);
  });
  return finished(kept, total(count));
}

inline Vec left(const float* w, const std::int8_t* codes, float scale, std::int64_t i) {
  return load(w + i) - __builtin_convertvector(load_signed(codes + i), Vec) * scale;
}

// What the first plane leaves over, then both scales fitted together (ops.ternary.absmean).
void second_plane(const float* w, std::int64_t width, float factor, const Plane& a,
                  const std::int8_t* first, std::int8_t* second, float* s, float* t) {
  Sum sizes;
  each_vector(width,
              [&](int v, std::int64_t i) { sizes.add(v, magnitude(left(w, first, a.scale, i))); });
  const float edge = factor * static_cast<float>(sizes.total() / static_cast<double>(width));
  Sum kept, with_weight;
  IntVec count = {}, both = {};
  each_vector(width, [&](int v, std::int64_t i) {
    const Vec x = left(w, first, a.scale, i);
    const IntVec code = sign_beyond(x, edge), fires = code != 0;
    kept.add(v, (Vec)((IntVec)magnitude(x) & fires));
    with_weight.add(v, load(w + i) * __builtin_convertvector(code, Vec));
    count -= fires;
    both += code * load_signed(first + i);
    store_bytes(second + i, code);
  });
  const Plane b = finished(kept, total(count));
  const auto aa = static_cast<double>(a.count), bb = static_cast<double>(b.count);
  const auto ab = static_cast<double>(total(both));
  const double wa = a.product, wb = with_weight.total(), determinant = aa * bb - ab * ab;
  *s = determinant > 0 ? static_cast<float>((bb * wa - ab * wb) / determinant) : a.scale;
  *t = determinant > 0 ? static_cast<float>((aa * wb - ab * wa) / determinant) : b.scale;
}

void silent(const Coding& c, std::uint8_t* levels) {
  __builtin_memset(levels, c.top, static_cast<std::size_t>(c.columns));
}

float one_step(const Coding& c, const float* h, float edge, std::uint8_t* levels) {
  Sum kept;
  IntVec count = {};
  each_vector(c.columns, [&](int v, std::int64_t i) {
    const Vec x = load(h + i);
    const IntVec code = sign_beyond(x, edge), fires = code != 0;
    kept.add(v, (Vec)((IntVec)magnitude(x) & fires));
    count -= fires;
    store_bytes(levels + i, code + c.top);
  });
  const std::int64_t fired = total(count);
  return static_cast<float>(kept.total() / static_cast<double>(fired > 0 ? fired : 1));
}

float several_steps(const Coding& c, const float* h, float amplitude, std::uint8_t* levels) {
  const float inverse = 1.0F / amplitude;
  const auto top = static_cast<float>(c.top);
  if (__builtin_isinf(inverse)) {
    silent(c, levels);
    return 0;
  }
  each_vector(c.columns, [&](int, std::int64_t i) {
    const Vec q = (clamp(load(h + i) * inverse, -top, top) + kRound) - kRound;
    store_bytes(levels + i, __builtin_convertvector(q, IntVec) + c.top);
  });
  return amplitude;
}

}  // namespace

void quantise(const float* weight, float factor, const Planes& p, std::int64_t row) {
  const std::int64_t groups = p.columns / p.group;
  for (std::int64_t g = 0; g < groups; ++g) {
    const float* w = weight + row * p.columns + g * p.group;
    std::int8_t* codes = p.codes + row * p.columns + g * p.group;
    float* scale = p.scales + row * groups + g;
    const double sum = sum_of_magnitudes(w, p.group);
    const Plane a = first_plane(
        w, p.group, factor * static_cast<float>(sum / static_cast<double>(p.group)), codes);
    *scale = a.scale;
    if (p.planes == 2) {
      second_plane(w, p.group, factor, a, codes, codes + p.rows * p.columns, scale,
                   scale + p.rows * groups);
    }
    if (!finite(sum)) *scale = static_cast<float>(sum - sum);  // no number, so that it is noticed
  }
}

void dense(const Planes& p, std::int64_t row, float* out) {
  const std::int64_t groups = p.columns / p.group;
  out += row * p.columns;
  const std::int8_t* first = p.codes + row * p.columns;
  const std::int8_t* second = first + p.rows * p.columns;
  for (std::int64_t g = 0; g < groups; ++g) {
    const float* scale = p.scales + row * groups + g;
    const float s = scale[0], t = p.planes == 2 ? scale[p.rows * groups] : 0;
    for (std::int64_t i = g * p.group; i < (g + 1) * p.group; i += kLanes) {
      Vec x = __builtin_convertvector(load_signed(first + i), Vec) * s;
      if (p.planes == 2) x += __builtin_convertvector(load_signed(second + i), Vec) * t;
      store(out + i, x);
    }
  }
}

void code(const Coding& c, const float* x, const Coded& out, std::int64_t token) {
  float* h = out.values + token * c.columns;
  std::uint8_t* levels = out.levels + token * c.columns;
  std::uint8_t* passes = out.passes + token * c.columns;
  __builtin_memcpy(h, x + token * c.columns, sizeof(float) * static_cast<std::size_t>(c.columns));
  if (c.rotate) kernels::GOOSE_ISA::hadamard(h, c.columns);
  const double sum = sum_of_magnitudes(h, c.columns);
  const auto mean = static_cast<float>(sum / static_cast<double>(c.columns));
  const float edge = mean * c.threshold;
  float amplitude, unit;
  if (!finite(mean)) {
    silent(c, levels);
    unit = amplitude = mean - mean;
  } else if (c.steps == 1) {
    amplitude = one_step(c, h, edge, levels);
    unit = amplitude > edge ? amplitude : edge;
  } else {
    unit = amplitude = several_steps(c, h, edge / static_cast<float>(c.top), levels);
  }
  out.amplitude[token] = amplitude;
  const float most = unit * (static_cast<float>(c.top) + 0.5F);
  each_vector(c.columns, [&](int, std::int64_t i) {
    store_bytes(passes + i, -(magnitude(load(h + i)) <= most));
  });
  values(c, out, token);
}

void values(const Coding& c, const Coded& of, std::int64_t token) {
  const std::int64_t first = token * c.columns;
  const float amplitude = of.amplitude[token];
  each_vector(c.columns, [&](int, std::int64_t i) {
    const IntVec q = (load_signed(of.levels + first + i) & 255) - c.top;
    store(of.values + first + i, amplitude * __builtin_convertvector(q, Vec));
  });
}

void code_back(const Coding& c, const std::uint8_t* passes, const float* dvalues, float* dx,
               std::int64_t token) {
  const std::int64_t first = token * c.columns;
  each_vector(c.columns, [&](int, std::int64_t i) {
    const IntVec mask = -load_signed(passes + first + i);
    store(dx + first + i, (Vec)((IntVec)load(dvalues + first + i) & mask));
  });
  if (c.rotate) kernels::GOOSE_ISA::hadamard(dx + first, c.columns);
}

}  // namespace goose::train::GOOSE_ISA
