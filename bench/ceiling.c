// What one core can do at most: vector logic from registers, and reading memory in order.
#include <stddef.h>
#include <stdint.h>

#if defined(__AVX512F__)
#define WIDTH 64
#define KEEP(a) __asm__ volatile("" : "+v"(a))
#elif defined(__AVX2__)
#define WIDTH 32
#define KEEP(a) __asm__ volatile("" : "+x"(a))
#elif defined(__x86_64__)
#define WIDTH 16
#define KEEP(a) __asm__ volatile("" : "+x"(a))
#else
#define WIDTH 16
#define KEEP(a) __asm__ volatile("" : "+w"(a))
#endif

typedef uint64_t Vector __attribute__((vector_size(WIDTH)));

int vector_bytes(void) { return WIDTH; }

#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
#define BEGIN(i) Vector a##i = b << i;
#define STEP(i) a##i ^= b; KEEP(a##i);
#define JOIN(i) b |= a##i;

// 12 independent operations a round; KEEP stops the compiler from joining rounds.
void logic(int64_t rounds, uint64_t* out) {
  Vector b = {1};
  EACH(BEGIN)
  for (int64_t round = 0; round < rounds; ++round) { EACH(STEP) }
  EACH(JOIN)
  *out = b[0];
}

// Reads `bytes` (a multiple of 8 vectors) from an aligned buffer, `times` times.
void read_all(const void* from, int64_t bytes, int64_t times, uint64_t* out) {
  const Vector* v = (const Vector*)from;
  Vector a0 = {0}, a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0;
  for (; times > 0; --times) {
    for (int64_t i = 0; i < bytes / WIDTH; i += 8) {
      a0 |= v[i], a1 |= v[i + 1], a2 |= v[i + 2], a3 |= v[i + 3];
      a4 |= v[i + 4], a5 |= v[i + 5], a6 |= v[i + 6], a7 |= v[i + 7];
    }
    KEEP(a0);
  }
  a0 |= a1 | a2 | a3 | a4 | a5 | a6 | a7;
  *out = a0[0];
}
