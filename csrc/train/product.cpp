// Exact products of coded tokens and ternary weights, of sixteen or thirty-two rows at a time.
//
// Bytes of four columns are multiplied and added in pairs to sixteen-bit sums (maddubs), where as
// many columns fit as cannot overflow. Levels are integers + top, so top * sum of the codes is
// taken off again.
#include "simd.h"
#include "train/train.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace goose::train::GOOSE_ISA {

#ifdef __AVX2__

namespace {

constexpr int kVecs = 2;      // vectors of rows in a panel
constexpr int kTogether = 4;  // tokens that share a load of weights

#ifdef __AVX512BW__
typedef __m512i Ints;
inline Ints zero() { return _mm512_setzero_si512(); }
inline Ints four(std::int32_t x) { return _mm512_set1_epi32(x); }
inline Ints pairs(Ints levels, Ints codes) { return _mm512_maddubs_epi16(levels, codes); }
inline Ints add16(Ints a, Ints b) { return _mm512_add_epi16(a, b); }
inline Ints add32(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
inline Ints sums(Ints x) { return _mm512_madd_epi16(x, _mm512_set1_epi16(1)); }
#else
typedef __m256i Ints;
inline Ints zero() { return _mm256_setzero_si256(); }
inline Ints four(std::int32_t x) { return _mm256_set1_epi32(x); }
inline Ints pairs(Ints levels, Ints codes) { return _mm256_maddubs_epi16(levels, codes); }
inline Ints add16(Ints a, Ints b) { return _mm256_add_epi16(a, b); }
inline Ints add32(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
inline Ints sums(Ints x) { return _mm256_madd_epi16(x, _mm256_set1_epi16(1)); }
#endif

constexpr std::int64_t kRows = kVecs * kLanes;

inline std::int32_t four_of(const std::uint8_t* levels) {
  std::int32_t found;
  __builtin_memcpy(&found, levels, sizeof found);
  return found;
}

// Panel of one plane: for every four columns, four bytes of each row.
void pack(const Product& p, const std::int8_t* codes, std::int64_t count, std::int8_t* panel,
          std::int32_t* sums_of_codes) {
  for (std::int64_t r = 0; r < kRows; ++r) {
    std::int32_t sum = 0;
    const std::int8_t* row = codes + r * p.columns;
    for (std::int64_t k = 0; k < p.columns; k += 4) {
      std::int8_t* to = panel + k * kRows + 4 * r;
      if (r < count) {
        __builtin_memcpy(to, row + k, 4);
        sum += row[k] + row[k + 1] + row[k + 2] + row[k + 3];
      } else {
        __builtin_memset(to, 0, 4);
      }
    }
    sums_of_codes[r] = sum;
  }
}

template <int tokens>
void tile(const Product& p, const std::uint8_t* levels, const std::int8_t* panel,
          Ints (&out)[tokens][kVecs]) {
  for (auto& row : out) {
    for (Ints& one : row) one = zero();
  }
  const std::int64_t safe = 32767 / (2 * p.top) / 2 * 4;  // columns whose sums fit
  for (std::int64_t from = 0; from < p.columns; from += safe) {
    const std::int64_t to = from + safe < p.columns ? from + safe : p.columns;
    Ints part[tokens][kVecs];
    for (auto& row : part) {
      for (Ints& one : row) one = zero();
    }
    for (std::int64_t k = from; k < to; k += 4) {
      Ints codes[kVecs];
      for (int v = 0; v < kVecs; ++v) {
        __builtin_memcpy(&codes[v], panel + k * kRows + v * GOOSE_VECTOR_BYTES, sizeof(Ints));
      }
      for (int t = 0; t < tokens; ++t) {
        const Ints x = four(four_of(levels + t * p.columns + k));
        for (int v = 0; v < kVecs; ++v) part[t][v] = add16(part[t][v], pairs(x, codes[v]));
      }
    }
    for (int t = 0; t < tokens; ++t) {
      for (int v = 0; v < kVecs; ++v) out[t][v] = add32(out[t][v], sums(part[t][v]));
    }
  }
}

struct Panel {
  std::int64_t first, count;
  const std::int8_t* codes;
  std::int32_t sums[kRows];
  float scales[kRows];
  bool begins, ends;
};

template <int tokens>
void tokens_of(const Product& p, const Panel& panel, std::int64_t token) {
  Ints found[tokens][kVecs];
  tile<tokens>(p, p.levels + token * p.columns, panel.codes, found);
  for (int t = 0; t < tokens; ++t) {
    float row[kRows];
    float* y = p.y + (token + t) * p.rows + panel.first;
    for (int v = 0; v < kVecs; ++v) {
      IntVec sum;
      __builtin_memcpy(&sum, panel.sums + v * kLanes, sizeof sum);
      const Vec exact = __builtin_convertvector((IntVec)found[t][v] - sum * p.top, Vec);
      store(row + v * kLanes, exact * load(panel.scales + v * kLanes));
    }
    const float factor = panel.ends ? p.amplitude[token + t] : 1.0F;
    for (std::int64_t r = 0; r < panel.count; ++r) {
      y[r] = factor * (panel.begins ? row[r] : y[r] + row[r]);
    }
  }
}

}  // namespace

const std::int64_t panel_rows = kRows;

void product(const Product& p, std::int64_t number, std::int8_t* scratch) {
  Panel panel{};
  panel.first = number * kRows;
  panel.count = p.rows - panel.first < kRows ? p.rows - panel.first : kRows;
  panel.codes = scratch;
  for (std::int32_t plane = 0; plane < p.planes; ++plane) {
    const std::int64_t row = plane * p.rows + panel.first;
    pack(p, p.codes + row * p.columns, panel.count, scratch, panel.sums);
    for (std::int64_t r = 0; r < kRows; ++r) {
      panel.scales[r] = r < panel.count ? p.scales[row + r] : 0.0F;
    }
    panel.begins = plane == 0;
    panel.ends = plane + 1 == p.planes;
    std::int64_t token = 0;
    for (; token + kTogether <= p.tokens; token += kTogether) tokens_of<kTogether>(p, panel, token);
    for (; token < p.tokens; ++token) tokens_of<1>(p, panel, token);
  }
}

#else

const std::int64_t panel_rows = 16;

void product(const Product& p, std::int64_t number, std::int8_t*) {
  const std::int64_t first = number * panel_rows;
  const std::int64_t last = first + panel_rows < p.rows ? first + panel_rows : p.rows;
  for (std::int64_t token = 0; token < p.tokens; ++token) {
    const std::uint8_t* levels = p.levels + token * p.columns;
    for (std::int64_t row = first; row < last; ++row) {
      float total = 0;
      for (std::int32_t plane = 0; plane < p.planes; ++plane) {
        const std::int8_t* codes = p.codes + (plane * p.rows + row) * p.columns;
        std::int32_t sum = 0;
        for (std::int64_t k = 0; k < p.columns; ++k) sum += (levels[k] - p.top) * codes[k];
        total += p.scales[plane * p.rows + row] * static_cast<float>(sum);
      }
      p.y[token * p.rows + row] = p.amplitude[token] * total;
    }
  }
}

#endif

}  // namespace goose::train::GOOSE_ISA
