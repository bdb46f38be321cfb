// Spikes, sixteen numbers at a time. Widths are multiples of 64.
#include "kernels/magnitudes.h"
#include "kernels/spikes/spikes.h"
#include "simd.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace goose::kernels::GOOSE_ISA {
namespace {

constexpr int kBlock = 16;
constexpr int kVectors = kBlock / kLanes;

typedef std::int16_t Half __attribute__((vector_size(GOOSE_VECTOR_BYTES / 2)));

// Bit i is set where lane i of a block is true (lanes are 0 or -1).
inline unsigned mask_of(const IntVec* truth) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)truth[0]);
#elif defined(__AVX2__)
  return static_cast<unsigned>(_mm256_movemask_ps((__m256)truth[0])) |
         static_cast<unsigned>(_mm256_movemask_ps((__m256)truth[1])) << 8;
#elif defined(__SSE2__)
  unsigned mask = 0;
  for (int v = 0; v < 4; ++v) mask |= static_cast<unsigned>(_mm_movemask_ps((__m128)truth[v])) << 4 * v;
  return mask;
#else
  unsigned mask = 0;
  for (int i = 0; i < kBlock; ++i) mask |= (truth[i / kLanes][i % kLanes] & 1u) << i;
  return mask;
#endif
}

#ifndef __AVX512F__
// Entries of the bits that are set in a byte.
struct Entries {
  std::uint8_t of[256][8];
};
constexpr Entries entries_of_bytes() {
  Entries table{};
  for (int mask = 0; mask < 256; ++mask) {
    int n = 0;
    for (int bit = 0; bit < 8; ++bit) {
      if (mask >> bit & 1) table.of[mask][n++] = static_cast<std::uint8_t>(bit * int{kEntry});
    }
  }
  return table;
}
constexpr Entries kEntries = entries_of_bytes();

// Writes first + byte for eight bytes. Said in vectors, for compilers leave a loop over bytes as it is.
inline void put_eight(const std::uint8_t* bytes, std::uint32_t first, std::uint32_t* to) {
#ifdef __AVX2__
  const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
  const __m256i all = _mm256_add_epi32(_mm256_cvtepu8_epi32(eight),
                                       _mm256_set1_epi32(static_cast<int>(first)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), all);
#elif defined(__SSE2__)
  const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
  const __m128i shorts = _mm_unpacklo_epi8(eight, _mm_setzero_si128());
  const __m128i add = _mm_set1_epi32(static_cast<int>(first));
  auto* out = reinterpret_cast<__m128i*>(to);
  _mm_storeu_si128(out, _mm_add_epi32(_mm_unpacklo_epi16(shorts, _mm_setzero_si128()), add));
  _mm_storeu_si128(out + 1, _mm_add_epi32(_mm_unpackhi_epi16(shorts, _mm_setzero_si128()), add));
#else
  for (int i = 0; i < 8; ++i) to[i] = first + bytes[i];
#endif
}
#endif

// Appends the entries of a block whose bits are set; may write up to 16 entries past the end.
inline std::uint32_t* append(std::uint32_t* to, unsigned mask, int from) {
#ifdef __AVX512F__
  const __m512i lane = _mm512_setr_epi32(0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192,
                                         208, 224, 240);
  const __m512i entries = _mm512_add_epi32(lane, _mm512_set1_epi32(from * int{kEntry}));
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(static_cast<__mmask16>(mask), entries));
  return to + __builtin_popcount(mask);
#else
  for (int half = 0; half < 2; ++half) {
    const unsigned byte = mask >> 8 * half & 255;
    put_eight(kEntries.of[byte], static_cast<std::uint32_t>(from + 8 * half) * kEntry, to);
    to += __builtin_popcount(byte);
  }
  return to;
#endif
}

// Always writes a whole group: how many entries are missing is nothing to guess at.
inline std::int32_t fill_up(std::uint32_t*& to, std::uint32_t* from, std::int32_t empty) {
  for (int i = 0; i < kGroup; ++i) to[i] = static_cast<std::uint32_t>(empty) * kEntry;
  const auto groups = static_cast<std::int32_t>((to - from + kGroup - 1) / kGroup);
  to = from + groups * kGroup;
  return groups;
}

constexpr int kMaxBlocks = 65536 / kBlock;

// Of every step, which numbers of each block are +1 and which -1.
class Masks {
 public:
  explicit Masks(const Encoder& e) : blocks_(e.width / kBlock) {}

  std::uint16_t* plus(int step) { return words_ + 2 * step * blocks_; }
  std::uint16_t* minus(int step) { return plus(step) + blocks_; }

 private:
  int blocks_;
  std::uint16_t words_[2 * kMaxSteps * kMaxBlocks];
};

// The columns [from, end) that are set; returns how many groups.
inline std::int32_t column_list(const Encoder& e, const std::uint16_t* masks, int from,
                                std::uint32_t*& to, std::int32_t& active) {
  std::uint32_t* const start = to;
  for (int i = from; i < from + e.group; i += kBlock) {
    // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): the callers have filled all blocks
    to = append(to, masks[i / kBlock], i);
  }
  active += static_cast<std::int32_t>(to - start);
  return fill_up(to, start, e.width);
}

// Lists of all steps.
inline void lists_of(const Encoder& e, Masks& masks, Spikes& out) {
  std::uint32_t* to = out.lists;
  Span* span = out.spans;
  out.active = 0;
  for (int step = 0; step < e.steps; ++step) {
    for (int from = 0; from < e.width; from += e.group, ++span) {
      span->columns = to;
      span->plus = column_list(e, masks.plus(step), from, to, out.active);
      span->minus = column_list(e, masks.minus(step), from, to, out.active);
    }
  }
}

typedef std::int16_t Shorts __attribute__((vector_size(2 * kBlock)));

// A block of small whole numbers.
inline Shorts shorts_of(const IntVec* block) {
#if defined(__AVX512F__)
  return (Shorts)_mm512_cvtepi32_epi16((__m512i)block[0]);
#elif defined(__AVX2__)
  const __m256i lanes = _mm256_packs_epi32((__m256i)block[0], (__m256i)block[1]);
  return (Shorts)_mm256_permute4x64_epi64(lanes, 0xD8);
#else
  Shorts all;
  for (int i = 0; i < kBlock; ++i) all[i] = static_cast<std::int16_t>(block[i / kLanes][i % kLanes]);
  return all;
#endif
}

// The whole number nearest to q / 3, of which no q is half way; |q| stays below 10923.
inline Shorts third(Shorts q) {
#ifdef __AVX2__
  return (Shorts)_mm256_mulhrs_epi16((__m256i)q, _mm256_set1_epi16(10923));
#else
  const auto wide = __builtin_convertvector(q, int __attribute__((vector_size(64))));
  return __builtin_convertvector(((wide + 12289) * 43691 >> 17) - 4096, Shorts);
#endif
}

// Of q = 3 next + digit the digit in {-1,0,1}; next is what rests.
inline Shorts digits(Code code, Shorts& rest, int step) {
  if (code == Code::radix3) {
    const Shorts next = third(rest);
    const Shorts digit = rest - 3 * next;
    rest = next;
    return digit;
  }
  const Shorts sign = (rest > 0) - (rest < 0);  // lanes are 0 or -1, so this is -sign
  const Shorts size = rest < 0 ? -rest : rest;
  if (code == Code::rate) return size > static_cast<short>(step) ? -sign : Shorts{};
  return -sign * (size >> step & 1);
}

inline unsigned short_mask(Shorts truth) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  return _mm256_movepi16_mask((__m256i)truth);
#elif defined(__SSE2__)
  __m128i halves[2];
  __builtin_memcpy(halves, &truth, sizeof halves);
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(halves[0], halves[1])));
#else
  unsigned mask = 0;
  for (int i = 0; i < kBlock; ++i) mask |= (truth[i] & 1u) << i;
  return mask;
#endif
}

// A block's digits of all steps; its codes are just being made.
inline void split(const Encoder& e, Shorts q, int block, Masks& masks) {
  for (int step = 0; step < e.steps; ++step) {
    const Shorts digit = digits(e.code, q, step);
    masks.plus(step)[block] = static_cast<std::uint16_t>(short_mask(digit > 0));
    masks.minus(step)[block] = static_cast<std::uint16_t>(short_mask(digit < 0));
  }
}

void single(const Encoder& e, const float* x, float threshold, Spikes& out) {
  Masks masks(e);
  Magnitudes sum;
  for (int i = 0; i < e.width; i += kBlock) {
    IntVec fires_plus[kVectors], fires_minus[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const Vec value = load(x + i + v * kLanes);
      fires_plus[v] = value > threshold;
      fires_minus[v] = value < -threshold;
      sum.add(v % 2, (Vec)((IntVec)value & (fires_plus[v] | fires_minus[v])));
    }
    for (int v = 0; v < kVectors; ++v) {
      const Half codes = __builtin_convertvector(fires_minus[v] - fires_plus[v], Half);
      __builtin_memcpy(out.codes + i + v * kLanes, &codes, sizeof codes);
    }
    masks.plus(0)[i / kBlock] = static_cast<std::uint16_t>(mask_of(fires_plus));
    masks.minus(0)[i / kBlock] = static_cast<std::uint16_t>(mask_of(fires_minus));
  }
  lists_of(e, masks, out);
  out.amplitude = out.active > 0 ? static_cast<float>(sum.total() / out.active) : 0.0F;
}

// Nothing fires where nothing comes in, or too little to be divided by.
void silent(const Encoder& e, Spikes& out) {
  __builtin_memset(out.codes, 0, sizeof(std::int16_t) * static_cast<std::size_t>(e.width));
  out.amplitude = 0;
  list(e, out);
}

void several(const Encoder& e, const float* x, float amplitude, Spikes& out) {
  const auto most = static_cast<float>(levels(e.code, e.steps));
  out.amplitude = amplitude;
  const float inverse = 1.0F / out.amplitude;
  if (__builtin_isinf(inverse)) return silent(e, out);
  // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, halves to even.
  constexpr float kRound = 12582912.0F;
  Masks masks(e);
  for (int i = 0; i < e.width; i += kBlock) {
    IntVec codes[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      Vec q = load(x + i + v * kLanes) * inverse;
      q = q == q ? q : Vec{};  // what is no number is silent
      q = q > most ? most + Vec{} : q;
      q = q < -most ? -most + Vec{} : q;
      q = (q + kRound) - kRound;
      codes[v] = __builtin_convertvector(q, IntVec);
    }
    const Shorts block = shorts_of(codes);
    __builtin_memcpy(out.codes + i, &block, sizeof block);
    split(e, block, i / kBlock, masks);
  }
  lists_of(e, masks, out);
}

// An amplitude that all vectors share.
void fixed(const Encoder& e, const float* x, Spikes& out) {
  if (e.steps > 1) return several(e, x, e.amplitude, out);
  single(e, x, e.fires, out);
  out.amplitude = e.amplitude;
}

}  // namespace

void list(const Encoder& e, Spikes& out) {
  Masks masks(e);
  for (int i = 0; i < e.width; i += kBlock) {
    Shorts q;
    __builtin_memcpy(&q, out.codes + i, sizeof q);
    split(e, q, i / kBlock, masks);
  }
  lists_of(e, masks, out);
}

double magnitudes(const float* x, std::int64_t width) {
  Magnitudes sum;
  for (std::int64_t i = 0; i < width; i += 2 * kLanes) {
    sum.add(0, load(x + i));
    sum.add(1, load(x + i + kLanes));
  }
  return sum.total();
}

std::int64_t select(const float* x, std::int64_t width, float threshold, std::uint32_t* to) {
  std::uint32_t* at = to;
  std::int64_t i = 0;
  for (; i + kBlock <= width; i += kBlock) {
    IntVec reached[kVectors];
    for (int v = 0; v < kVectors; ++v) reached[v] = load(x + i + v * kLanes) >= threshold;
    const unsigned mask = mask_of(reached);
    if (mask != 0) at = append(at, mask, static_cast<int>(i));
  }
  for (; i < width; ++i) {
    if (x[i] >= threshold) *at++ = static_cast<std::uint32_t>(i) * kEntry;
  }
  return at - to;
}

void encode(const Encoder& e, const float* x, double sum, Spikes& out) {
  if (e.amplitude > 0) return fixed(e, x, out);
  const auto mean = static_cast<float>(sum / e.count);
  if (!(mean > 0) || !(mean < __builtin_inff())) {
    silent(e, out);
  } else if (e.steps == 1) {
    single(e, x, e.threshold * mean, out);
  } else {
    several(e, x, e.threshold * mean / static_cast<float>(levels(e.code, e.steps)), out);
  }
}

}  // namespace goose::kernels::GOOSE_ISA
