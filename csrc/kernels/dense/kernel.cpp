// Dense products, a strip of rows at a time.
#include "kernels/dense/dense.h"
#include "kernels/dense/half.h"
#include "kernels/dense/screen.h"
#include "simd.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace goose::kernels::GOOSE_ISA {
namespace {

inline Vec load(const std::uint16_t* half) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_cvtph_ps(
      static_cast<__mmask16>(0xFFFF),  // GCC 12 warns of the plain one
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(half)));
#elif defined(__F16C__)
  return (Vec)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(half)));
#else
  Vec x;
  for (int i = 0; i < kLanes; ++i) x[i] = single_of_half(half[i]);
  return x;
#endif
}
using goose::load;

// Sums of one strip.
template <class Weight>
inline Four strip(const Weight* w, const float* x, std::int64_t width) {
  constexpr int kLine = 64 / sizeof(Weight);
  Vec sum[kStrip] = {};
  for (std::int64_t k = 0; k < width; k += kLine, w += kStrip * kLine) {
#pragma GCC unroll 8
    for (int i = 0; i < kLine; i += kLanes) {
      const Vec value = goose::load(x + k + i);
#pragma GCC unroll 4
      for (int r = 0; r < kStrip; ++r) sum[r] += load(w + r * kLine + i) * value;
    }
  }
  return sums_of(sum);
}

inline void put(Four sums, float* y, std::int64_t rows) {
  if (rows >= kStrip) {
    __builtin_memcpy(y, &sums, sizeof sums);
  } else {
    for (int r = 0; r < rows; ++r) y[r] = sums[r];
  }
}

template <class Weight>
inline void product(const Weight* w, const float* x, float* y, std::int64_t width,
                    std::int64_t from, std::int64_t to) {
  for (std::int64_t m = from; m < to; m += kStrip) {
    put(strip(w + m * width, x, width), y + m, to - m);
  }
}

constexpr int kBytes = GOOSE_VECTOR_BYTES / 2;  // int8 weights that fill a vector of int16
typedef std::int8_t Bytes __attribute__((vector_size(kBytes)));
typedef std::int16_t Shorts __attribute__((vector_size(GOOSE_VECTOR_BYTES)));

// Sums of products of neighbours.
inline IntVec multiply_add(Shorts a, Shorts b) {
#if defined(__AVX512BW__)
  return (IntVec)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (IntVec)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return (IntVec)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
  IntVec sum;
  for (int i = 0; i < kLanes; ++i) sum[i] = a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1];
  return sum;
#endif
}

inline Shorts widened(const std::int8_t* w) {
  Bytes bytes;
  __builtin_memcpy(&bytes, w, sizeof bytes);
#if defined(__AVX512BW__)
  return (Shorts)_mm512_maskz_cvtepi8_epi16(~0u, (__m256i)bytes);
#elif defined(__AVX2__)
  return (Shorts)_mm256_cvtepi8_epi16((__m128i)bytes);
#else
  return __builtin_convertvector(bytes, Shorts);
#endif
}

inline FourInts strip(const std::int8_t* w, const std::int16_t* x, std::int64_t width) {
  IntVec sum[kStrip] = {};
  for (std::int64_t k = 0; k < width; k += 64, w += kStrip * 64) {
#pragma GCC unroll 8
    for (int i = 0; i < 64; i += kBytes) {
      Shorts value;
      __builtin_memcpy(&value, x + k + i, sizeof value);
#pragma GCC unroll 4
      for (int r = 0; r < kStrip; ++r) sum[r] += multiply_add(widened(w + r * 64 + i), value);
    }
  }
  return sums_of(sum);
}

// Sums of products of neighbours, bytes without sign times bytes with one; a sum fits 16 bits.
typedef std::uint8_t Nibbles __attribute__((vector_size(GOOSE_VECTOR_BYTES)));
inline Shorts multiply_add(Nibbles a, Nibbles b) {
#if defined(__AVX512BW__)
  return (Shorts)_mm512_maddubs_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (Shorts)_mm256_maddubs_epi16((__m256i)a, (__m256i)b);
#else
  const Shorts even = ((Shorts)a & 255) * ((Shorts)((Shorts)b << 8) >> 8);
  return even + (((Shorts)a >> 8) & 255) * ((Shorts)b >> 8);
#endif
}

// 32 inputs, as often as they fill a vector; on a narrow instruction set half of them.
inline Nibbles spread(const std::int8_t* x) {
#if defined(__AVX512BW__)
  return (Nibbles)_mm512_maskz_broadcast_i64x4(
      static_cast<__mmask8>(0xFF), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
#else
  Nibbles value;
  __builtin_memcpy(&value, x, sizeof value);
  return value;
#endif
}

constexpr int kVectors = kStrip * 32 / GOOSE_VECTOR_BYTES;  // of 64 columns of a strip
constexpr int kSums = 4;  // times 64 columns: 2 * 15 * 127 * 2 each, 30480 in all

inline FourInts screen_strip(const std::uint8_t* w, const std::int8_t* x, std::int64_t width) {
  const Shorts ones = Shorts{} + 1;
  IntVec sum[kVectors] = {};
  for (std::int64_t from = 0; from < width; from += 64 * kSums) {
    const std::int64_t to = width - from < 64 * kSums ? width : from + 64 * kSums;
    Shorts some[kVectors] = {};
    for (std::int64_t k = from; k < to; k += 64, w += kStrip * 32) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        const int half = GOOSE_VECTOR_BYTES < 32 ? v % 2 * 16 : 0;
        Nibbles bytes;
        __builtin_memcpy(&bytes, w + v * GOOSE_VECTOR_BYTES, sizeof bytes);
        const Nibbles upper = (Nibbles)((Shorts)((Shorts)bytes >> 4)) & 15;
        some[v] += multiply_add(bytes & 15, spread(x + k + half));
        some[v] += multiply_add(upper, spread(x + k + 32 + half));
      }
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[v] += multiply_add(some[v], ones);
  }
  // Lanes of a row stand together: eight lanes each, over all vectors.
  FourInts row[kStrip];
  for (int r = 0; r < kStrip; ++r) {
    FourInts part[2];
    const auto* from = reinterpret_cast<const char*>(&sum[r * 32 / GOOSE_VECTOR_BYTES]);
    __builtin_memcpy(part, from + r * 32 % GOOSE_VECTOR_BYTES, sizeof part);
    row[r] = part[0] + part[1];
  }
  const FourInts ab = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5) +
                      __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
  const FourInts cd = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5) +
                      __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

}  // namespace

std::int32_t row_i8(const std::int8_t* w, const std::int16_t* x, std::int64_t width,
                    std::int64_t row) {
  w += row / kStrip * kStrip * width + row % kStrip * 64;
  IntVec sum = {};
  for (std::int64_t k = 0; k < width; k += 64, w += kStrip * 64) {
#pragma GCC unroll 8
    for (int i = 0; i < 64; i += kBytes) {
      Shorts value;
      __builtin_memcpy(&value, x + k + i, sizeof value);
      sum += multiply_add(widened(w + i), value);
    }
  }
  const FourInts four = folded(sum);
  return four[0] + four[1] + four[2] + four[3];
}

void screen(const std::uint8_t* nibbles, const float* scale, const std::int8_t* x, float amplitude,
            float* y, std::int64_t width, std::int64_t from, std::int64_t to) {
  std::int32_t inputs = 0;
  for (std::int64_t k = 0; k < width; ++k) inputs += x[k];
  for (std::int64_t m = from; m < to; m += kStrip) {
    const FourInts upper = screen_strip(nibbles + m * width / 2, x, width);
    Four scales = {}, value;
    __builtin_memcpy(&scales, scale + m, to - m >= kStrip ? sizeof scales : (to - m) * sizeof(float));
    for (int r = 0; r < kStrip; ++r) value[r] = screened(upper[r], inputs);
    put(scales * amplitude * value, y + m, to - m);
  }
}

void dense_f32(const float* w, const float* x, float* y, std::int64_t width, std::int64_t from,
               std::int64_t to) {
  product(w, x, y, width, from, to);
}

void dense_f16(const std::uint16_t* w, const float* x, float* y, std::int64_t width,
               std::int64_t from, std::int64_t to) {
  product(w, x, y, width, from, to);
}

void dense_i8(const std::int8_t* w, const float* scale, const std::int16_t* x, float amplitude,
              float* y, std::int64_t width, std::int64_t from, std::int64_t to) {
  for (std::int64_t m = from; m < to; m += kStrip) {
    const FourInts sums = strip(w + m * width, x, width);
    Four scales = {};
    __builtin_memcpy(&scales, scale + m, to - m >= kStrip ? sizeof scales : (to - m) * sizeof(float));
    put(scales * amplitude * __builtin_convertvector(sums, Four), y + m, to - m);
  }
}

float round_i16(const float* x, std::int16_t* x16, std::int64_t width, std::int32_t limit) {
  Vec most_of = {};
  for (std::int64_t i = 0; i < width; i += kLanes) {
    const Vec size = (Vec)((IntVec)load(x + i) & 0x7FFFFFFF);
    most_of = size > most_of ? size : most_of;
  }
  float most = 0;
  for (int i = 0; i < kLanes; ++i) most = most_of[i] > most ? most_of[i] : most;
  const float inverse =
      most > 0 && most < __builtin_inff() ? static_cast<float>(limit) / most : 0.0F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds halves to even
  for (std::int64_t i = 0; i < width; i += kLanes) {
    typedef std::int16_t Half __attribute__((vector_size(GOOSE_VECTOR_BYTES / 2)));
    const Vec rounded = (load(x + i) * inverse + kRound) - kRound;
    const Half codes = __builtin_convertvector(__builtin_convertvector(rounded, IntVec), Half);
    __builtin_memcpy(x16 + i, &codes, sizeof codes);
  }
  return inverse > 0 ? most / static_cast<float>(limit) : 0.0F;
}

}  // namespace goose::kernels::GOOSE_ISA
