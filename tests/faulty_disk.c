/* A disk that fails on demand: the n-th call that changes something below a folder is refused with an error of
   choice, by standing before the C library (LD_PRELOAD). nadir_fault_arm(folder, n, error, last) arms it: call n fails,
   and where last is 0 all after it too, as on a disk that stays full. nadir_fault_calls() says how many calls there
   were since. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static atomic_long calls, refused;
static long fail_at;
static int fail_error, only_once;

void nadir_fault_arm(const char *where, long at, int error, int once) {
    atomic_store(&calls, 0);
    atomic_store(&refused, 0);
    fail_at = at;
    fail_error = error;
    only_once = once;
    snprintf(folder, sizeof folder, "%s", where);
}

long nadir_fault_calls(void) { return atomic_load(&calls); }
long nadir_fault_refused(void) { return atomic_load(&refused); }

static int below(const char *path) {
    size_t length = strlen(folder);
    return length && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static int refuse(int concerned) {
    if (!concerned) return 0;
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (!fail_at || number < fail_at || (only_once && number > fail_at)) return 0;
    atomic_fetch_add(&refused, 1);
    errno = fail_error;
    return 1;
}

static int of_handle(int handle) {
    char link[64], path[PATH_MAX];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below(path);
}

static int of_path(int at, const char *path) {
    char whole[PATH_MAX], link[64];
    if (!folder[0] || !path) return 0;
    if (path[0] == '/') return below(path);
    if (at != AT_FDCWD) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t length = readlink(link, whole, sizeof whole - 1);
        if (length > 0) {
            whole[length] = 0;
            return below(whole);
        }
    }
    return 0;
}

/* Opening what is there needs no room; a disk that may only be read refuses it all the same. */
static int makes(int at, const char *path, int flags) {
    if (!of_path(at, path)) return 0;
    if (flags & O_TRUNC || (fail_error == EROFS && flags & (O_WRONLY | O_RDWR))) return 1;
    return flags & O_CREAT && faccessat(at, path, F_OK, 0);
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))
#define STAND_BEFORE(type, name, parameters, arguments, concerned) \
    type name parameters { return refuse(concerned) ? -1 : REAL(name) arguments; }

STAND_BEFORE(ssize_t, write, (int h, const void *b, size_t n), (h, b, n), of_handle(h))
STAND_BEFORE(ssize_t, pwrite, (int h, const void *b, size_t n, off_t o), (h, b, n, o), of_handle(h))
STAND_BEFORE(ssize_t, pwrite64, (int h, const void *b, size_t n, off64_t o), (h, b, n, o), of_handle(h))
STAND_BEFORE(ssize_t, writev, (int h, const struct iovec *v, int n), (h, v, n), of_handle(h))
STAND_BEFORE(int, fsync, (int h), (h), of_handle(h))
STAND_BEFORE(int, fdatasync, (int h), (h), of_handle(h))
STAND_BEFORE(int, ftruncate, (int h, off_t n), (h, n), of_handle(h))
STAND_BEFORE(int, ftruncate64, (int h, off64_t n), (h, n), of_handle(h))
STAND_BEFORE(int, truncate, (const char *p, off_t n), (p, n), of_path(AT_FDCWD, p))
STAND_BEFORE(int, truncate64, (const char *p, off64_t n), (p, n), of_path(AT_FDCWD, p))
STAND_BEFORE(int, rename, (const char *a, const char *b), (a, b), of_path(AT_FDCWD, b))
STAND_BEFORE(int, renameat, (int c, const char *a, int d, const char *b), (c, a, d, b), of_path(d, b))
STAND_BEFORE(int, link, (const char *a, const char *b), (a, b), of_path(AT_FDCWD, b))
STAND_BEFORE(int, linkat, (int c, const char *a, int d, const char *b, int f), (c, a, d, b, f), of_path(d, b))
STAND_BEFORE(int, unlink, (const char *p), (p), of_path(AT_FDCWD, p))
STAND_BEFORE(int, unlinkat, (int d, const char *p, int f), (d, p, f), of_path(d, p))
STAND_BEFORE(int, rmdir, (const char *p), (p), of_path(AT_FDCWD, p))
STAND_BEFORE(int, mkdir, (const char *p, mode_t m), (p, m), of_path(AT_FDCWD, p))
STAND_BEFORE(int, mkdirat, (int d, const char *p, mode_t m), (d, p, m), of_path(d, p))
STAND_BEFORE(ssize_t, sendfile, (int o, int i, off_t *a, size_t n), (o, i, a, n), of_handle(o))
STAND_BEFORE(ssize_t, sendfile64, (int o, int i, off64_t *a, size_t n), (o, i, a, n), of_handle(o))
STAND_BEFORE(ssize_t, copy_file_range, (int i, off64_t *a, int o, off64_t *b, size_t n, unsigned f),
             (i, a, o, b, n, f), of_handle(o))

size_t fwrite(const void *b, size_t s, size_t n, FILE *f) {
    return refuse(of_handle(fileno(f))) ? 0 : REAL(fwrite)(b, s, n, f);
}

#define STAND_BEFORE_OPENING(name) \
    int name(const char *path, int flags, ...) { \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        return refuse(makes(AT_FDCWD, path, flags)) ? -1 : REAL(name)(path, flags, mode); \
    }
#define STAND_BEFORE_OPENING_AT(name) \
    int name(int at, const char *path, int flags, ...) { \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        return refuse(makes(at, path, flags)) ? -1 : REAL(name)(at, path, flags, mode); \
    }

STAND_BEFORE_OPENING(open)
STAND_BEFORE_OPENING(open64)
STAND_BEFORE_OPENING_AT(openat)
STAND_BEFORE_OPENING_AT(openat64)

static int writes(const char *mode) { return mode[0] != 'r' || strchr(mode, '+'); }

FILE *fopen(const char *path, const char *mode) {
    return refuse(writes(mode) && of_path(AT_FDCWD, path)) ? NULL : REAL(fopen)(path, mode);
}

FILE *fopen64(const char *path, const char *mode) {
    return refuse(writes(mode) && of_path(AT_FDCWD, path)) ? NULL : REAL(fopen64)(path, mode);
}
