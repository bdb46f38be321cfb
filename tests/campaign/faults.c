/* Faults of the system on order: the n-th call on files under a folder fails, or ends the process.

   Loaded before libc (LD_PRELOAD), so that whatever writes is met, compiled libraries too. Nothing
   happens before goose_arm is called, and only in the process that called it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITES = 1, REMOVES = 2, SYNCS = 4, READS = 8 };

static char folder[PATH_MAX], note[PATH_MAX];
static int armed_kinds, armed_error, armed_signal;
static pid_t armed_process;
static long armed_first, armed_times;
static atomic_long seen, seen_of[9];
static time_t clock_shift;

void goose_arm(const char *path, const char *told, int kinds, long first, long times, int error,
               int number)
{
    snprintf(folder, sizeof folder, "%s", path);
    snprintf(note, sizeof note, "%s", told);
    armed_kinds = kinds;
    armed_first = first;
    armed_times = times;
    armed_error = error;
    armed_signal = number;
    armed_process = getpid();
    atomic_store(&seen, 0);
    for (int kind = WRITES; kind <= READS; kind *= 2) atomic_store(&seen_of[kind], 0);
}

long goose_seen(int kinds)
{
    long sum = 0;
    for (int kind = WRITES; kind <= READS; kind *= 2)
        if (kinds & kind) sum += atomic_load(&seen_of[kind]);
    return sum;
}

void goose_shift_clock(long seconds) { clock_shift = seconds; }

/* Which call is the first that is hit, for the row of the table. */
static void tell(int kind, const char *path)
{
    const char *word = kind == WRITES ? "write" : kind == REMOVES ? "remove" : kind == SYNCS ? "sync" : "read";
    char line[PATH_MAX + 16];
    int length = snprintf(line, sizeof line, "%s %s", word, path + strlen(folder));
    int file = (int)syscall(SYS_openat, AT_FDCWD, note, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0) return;
    syscall(SYS_write, file, line, (size_t)length);
    syscall(SYS_close, file);
}

/* Whether a call of a kind on a file is one of those that are hit. */
static int hit(int kind, const char *path)
{
    if (!(armed_kinds & kind) || getpid() != armed_process) return 0;
    if (strncmp(path, folder, strlen(folder))) return 0;
    atomic_fetch_add(&seen_of[kind], 1);
    long number = atomic_fetch_add(&seen, 1) - armed_first;
    if (number == 0 && note[0]) tell(kind, path);
    return number >= 0 && number < armed_times;
}

/* Nonzero where the call is to fail, with errno set; a signal comes before the call is made. */
static int fails(int kind, const char *path)
{
    if (!hit(kind, path)) return 0;
    if (armed_signal) {
        kill(getpid(), armed_signal);
        return 0;
    }
    errno = armed_error;
    return 1;
}

static const char *absolute(int at, const char *path, char *into)
{
    char link[64];
    if (path == NULL || path[0] == '/') return path == NULL ? "" : path;
    if (at == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    ssize_t length = readlink(link, into, PATH_MAX - 1);
    if (length < 0) return "";
    snprintf(into + length, PATH_MAX - length, "/%s", path);
    return into;
}

static const char *path_of(int descriptor, char *into)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, into, PATH_MAX - 1);
    if (length < 0) return "";
    into[length] = 0;
    return into;
}

/* The next definition of a function, libc's. */
#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static int opens(const char *name, int at, const char *path, int flags, mode_t mode)
{
    char buffer[PATH_MAX];
    int writes = flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC);
    if (fails(writes ? WRITES : READS, absolute(at, path, buffer))) return -1;
    return REAL(int, name, int, const char *, int, mode_t)(at, path, flags, mode);
}

#define MODE(flags)                                        \
    mode_t mode = 0;                                       \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {               \
        va_list rest;                                      \
        va_start(rest, flags);                             \
        mode = va_arg(rest, mode_t);                       \
        va_end(rest);                                      \
    }

int open(const char *path, int flags, ...)
{
    MODE(flags)
    return opens("openat", AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE(flags)
    return opens("openat64", AT_FDCWD, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
    MODE(flags)
    return opens("openat", at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...)
{
    MODE(flags)
    return opens("openat64", at, path, flags, mode);
}

/* Half of the bytes are written before a signal: a write that is torn. */
ssize_t write(int descriptor, const void *data, size_t size)
{
    char buffer[PATH_MAX];
    if (armed_kinds & WRITES && hit(WRITES, path_of(descriptor, buffer))) {
        if (!armed_signal) {
            errno = armed_error;
            return -1;
        }
        ssize_t done = REAL(ssize_t, "write", int, const void *, size_t)(descriptor, data, size / 2);
        kill(getpid(), armed_signal);
        if (size / 2 > 0) return done;
    }
    return REAL(ssize_t, "write", int, const void *, size_t)(descriptor, data, size);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
    char buffer[PATH_MAX];
    if (armed_kinds & WRITES && fails(WRITES, path_of(descriptor, buffer))) return -1;
    return REAL(ssize_t, "writev", int, const struct iovec *, int)(descriptor, parts, count);
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t size)
{
    char buffer[PATH_MAX];
    if (armed_kinds & WRITES && fails(WRITES, path_of(to, buffer))) return -1;
    return REAL(ssize_t, "sendfile64", int, int, off64_t *, size_t)(to, from, offset, size);
}

ssize_t copy_file_range(int from, off64_t *in, int to, off64_t *out, size_t size, unsigned flags)
{
    char buffer[PATH_MAX];
    if (armed_kinds & WRITES && fails(WRITES, path_of(to, buffer))) return -1;
    return REAL(ssize_t, "copy_file_range", int, off64_t *, int, off64_t *, size_t, unsigned)(
        from, in, to, out, size, flags);
}

ssize_t read(int descriptor, void *data, size_t size)
{
    char buffer[PATH_MAX];
    if (armed_kinds & READS && fails(READS, path_of(descriptor, buffer))) return -1;
    return REAL(ssize_t, "read", int, void *, size_t)(descriptor, data, size);
}

int ftruncate64(int descriptor, off64_t size)
{
    char buffer[PATH_MAX];
    if (armed_kinds & WRITES && fails(WRITES, path_of(descriptor, buffer))) return -1;
    return REAL(int, "ftruncate64", int, off64_t)(descriptor, size);
}

int fsync(int descriptor)
{
    char buffer[PATH_MAX];
    if (armed_kinds & SYNCS && fails(SYNCS, path_of(descriptor, buffer))) return -1;
    return REAL(int, "fsync", int)(descriptor);
}

int rename(const char *from, const char *to)
{
    char buffer[PATH_MAX];
    if (fails(WRITES, absolute(AT_FDCWD, to, buffer))) return -1;
    return REAL(int, "rename", const char *, const char *)(from, to);
}

int mkdir(const char *path, mode_t mode)
{
    char buffer[PATH_MAX];
    if (fails(WRITES, absolute(AT_FDCWD, path, buffer))) return -1;
    return REAL(int, "mkdir", const char *, mode_t)(path, mode);
}

int unlink(const char *path)
{
    char buffer[PATH_MAX];
    if (fails(REMOVES, absolute(AT_FDCWD, path, buffer))) return -1;
    return REAL(int, "unlink", const char *)(path);
}

int unlinkat(int at, const char *path, int flags)
{
    char buffer[PATH_MAX];
    if (fails(REMOVES, absolute(at, path, buffer))) return -1;
    return REAL(int, "unlinkat", int, const char *, int)(at, path, flags);
}

int rmdir(const char *path)
{
    char buffer[PATH_MAX];
    if (fails(REMOVES, absolute(AT_FDCWD, path, buffer))) return -1;
    return REAL(int, "rmdir", const char *)(path);
}

int clock_gettime(clockid_t which, struct timespec *found)
{
    int code = REAL(int, "clock_gettime", clockid_t, struct timespec *)(which, found);
    if (which == CLOCK_REALTIME && code == 0) found->tv_sec += clock_shift;
    return code;
}
