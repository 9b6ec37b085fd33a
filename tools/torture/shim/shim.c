/* Preloaded into the server (LD_PRELOAD): counts its calls on files of the data directory, makes
 * the n-th of them fail, and moves the clock.
 *
 * TORTURE_DATA is the data directory. TORTURE_CONTROL is a file of words, listed below, that this
 * library and the campaign share as memory. The campaign arms the fault and reads how often it hit.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The words of the control file, as in shim.rs. */
enum { ARMED, CALLS, SCOPES, NTH, FAULT, STICKY, MATCHED, HITS, CLOCK_MS, COUNTS };
/* Calls, as bits of CALLS and as rows of COUNTS. */
enum { WRITE, FDATASYNC, FSYNC, OPEN, RENAME, TRUNCATE, ALLOCATE, SYNC_RANGE, READ, CALL_KINDS };
/* Scopes, as bits of SCOPES and as columns of COUNTS. */
enum { JOURNAL, PROJECTION, OTHER, SCOPE_KINDS, NOT_OURS = -1 };
enum { NONE, FAIL_EIO, FAIL_ENOSPC, SHORT, STALL, SKIP, DONE_BUT_EIO };
enum { WORDS = COUNTS + CALL_KINDS * SCOPE_KINDS };

static _Atomic int64_t *control;
static const char *data;
static size_t data_len;

static void __attribute__((constructor)) load(void) {
  const char *path = getenv("TORTURE_CONTROL");
  data = getenv("TORTURE_DATA");
  if (!data) return;
  data_len = strlen(data);
  int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
  int fd = path && real ? real(path, O_RDWR) : -1;
  if (fd < 0) return;
  void *at = mmap(NULL, WORDS * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at != MAP_FAILED) control = at;
}

/* Delays the end of the process, so that a thread that still runs uses what the exit has freed, and
 * crashes visibly. */
static void __attribute__((destructor)) linger(void) {
  struct timespec while_they_end = {0, 20 * 1000 * 1000};
  nanosleep(&while_they_end, NULL);
}

static int scope_of(const char *path) {
  if (strncmp(path, data, data_len) != 0) return NOT_OURS;
  const char *below = path + data_len;
  if (strncmp(below, "/journal", 8) == 0) return JOURNAL;
  if (strncmp(below, "/projection", 11) == 0) return PROJECTION;
  return *below == '/' || *below == 0 ? OTHER : NOT_OURS;
}

static int scope_of_fd(int fd) {
  char link[32], path[512];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t len = readlink(link, path, sizeof path - 1);
  if (len < 0) return NOT_OURS;
  path[len] = 0;
  return scope_of(path);
}

/* The fault of this call, or NONE. */
static int verdict(int call, int scope) {
  if (scope == NOT_OURS || !control[ARMED]) return NONE;
  control[COUNTS + call * SCOPE_KINDS + scope]++;
  if (!(control[CALLS] >> call & 1) || !(control[SCOPES] >> scope & 1)) return NONE;
  int64_t n = ++control[MATCHED], nth = control[NTH];
  if (!nth || n < nth || (n > nth && !control[STICKY])) return NONE;
  control[HITS]++;
  int fault;
  struct timespec look = {0, 5 * 1000 * 1000};
  while ((fault = control[FAULT]) == STALL) nanosleep(&look, NULL);
  if (fault == FAIL_EIO) errno = EIO;
  if (fault == FAIL_ENOSPC) errno = ENOSPC;
  return fault;
}

static int fails(int fault) { return fault == FAIL_EIO || fault == FAIL_ENOSPC || fault == SHORT; }

/* The result of a call that was made: an error, if the fault is to fail after the work is done. */
static ssize_t after_call(int fault, ssize_t result) {
  if (fault != DONE_BUT_EIO) return result;
  errno = EIO;
  return -1;
}

#define REAL(name)                                              \
  static __typeof__(&name) real;                                \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
/* The path of a descriptor is looked up only while armed, because that is slow. */
#define OF_FD(call, fd) (control && control[ARMED] ? verdict(call, scope_of_fd(fd)) : NONE)
#define OF_PATH(call, path) (control && control[ARMED] ? verdict(call, scope_of(path)) : NONE)

static ssize_t write_at(const char *name, int fd, const void *bytes, size_t len, off64_t at) {
  ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, name);
  int fault = OF_FD(WRITE, fd);
  if (fault == SHORT && len > 1) return real(fd, bytes, len / 2, at);
  if (fault == SKIP) return len;
  if (fails(fault)) return -1;
  return after_call(fault, real(fd, bytes, len, at));
}
ssize_t pwrite(int fd, const void *b, size_t n, off_t at) { return write_at("pwrite", fd, b, n, at); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t at) { return write_at("pwrite64", fd, b, n, at); }

ssize_t write(int fd, const void *bytes, size_t len) {
  REAL(write);
  int fault = fd > 2 ? OF_FD(WRITE, fd) : NONE;
  if (fault == SHORT && len > 1) return real(fd, bytes, len / 2);
  if (fault == SKIP) return len;
  if (fails(fault)) return -1;
  return after_call(fault, real(fd, bytes, len));
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at) {
  REAL(pwritev);
  int fault = OF_FD(WRITE, fd);
  if (fault == SHORT) return real(fd, v, 1, at);
  if (fails(fault)) return -1;
  return after_call(fault, real(fd, v, n, at));
}

static ssize_t read_at(const char *name, int fd, void *bytes, size_t len, off64_t at) {
  ssize_t (*real)(int, void *, size_t, off64_t) = dlsym(RTLD_NEXT, name);
  int fault = OF_FD(READ, fd);
  if (fault == SHORT && len > 1) return real(fd, bytes, len / 2, at);
  return fails(fault) ? -1 : after_call(fault, real(fd, bytes, len, at));
}
ssize_t pread(int fd, void *b, size_t n, off_t at) { return read_at("pread", fd, b, n, at); }
ssize_t pread64(int fd, void *b, size_t n, off64_t at) { return read_at("pread64", fd, b, n, at); }

ssize_t read(int fd, void *bytes, size_t len) {
  REAL(read);
  int fault = fd > 2 ? OF_FD(READ, fd) : NONE;
  if (fault == SHORT && len > 1) return real(fd, bytes, len / 2);
  return fails(fault) ? -1 : after_call(fault, real(fd, bytes, len));
}

#define SYNC(name, call, parameters, arguments)                 \
  int name parameters {                                         \
    REAL(name);                                                 \
    int fault = OF_FD(call, fd);                                \
    if (fault == SKIP) return 0;                                \
    if (fault == SHORT) errno = EIO;                            \
    if (fails(fault)) return -1;                                \
    return after_call(fault, real arguments);                         \
  }
SYNC(fdatasync, FDATASYNC, (int fd), (fd))
SYNC(fsync, FSYNC, (int fd), (fd))
SYNC(ftruncate, TRUNCATE, (int fd, off_t len), (fd, len))
SYNC(ftruncate64, TRUNCATE, (int fd, off64_t len), (fd, len))
SYNC(fallocate, ALLOCATE, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len))
SYNC(fallocate64, ALLOCATE, (int fd, int mode, off64_t at, off64_t len), (fd, mode, at, len))
SYNC(sync_file_range, SYNC_RANGE, (int fd, off64_t at, off64_t len, unsigned f), (fd, at, len, f))

/* posix_fallocate returns its error instead of setting errno. */
static int allocate(const char *name, int fd, off64_t at, off64_t len) {
  int (*real)(int, off64_t, off64_t) = dlsym(RTLD_NEXT, name);
  int fault = OF_FD(ALLOCATE, fd);
  if (fault == SKIP) return 0;
  if (fault == SHORT || fault == DONE_BUT_EIO) errno = EIO;
  return fails(fault) || fault == DONE_BUT_EIO ? errno : real(fd, at, len);
}
int posix_fallocate(int fd, off_t at, off_t len) { return allocate("posix_fallocate", fd, at, len); }
int posix_fallocate64(int fd, off64_t at, off64_t len) { return allocate("posix_fallocate64", fd, at, len); }

static int opened(const char *name, int dir, const char *path, int flags, mode_t mode, int at) {
  int (*real)(const char *, int, ...) = at ? NULL : dlsym(RTLD_NEXT, name);
  int (*real_at)(int, const char *, int, ...) = at ? dlsym(RTLD_NEXT, name) : NULL;
  int fault = OF_PATH(OPEN, path);
  if (fault == SHORT) errno = EIO;
  if (fails(fault)) return -1;
  return at ? real_at(dir, path, flags, mode) : real(path, flags, mode);
}
#define MODE(flags)                                             \
  mode_t mode = 0;                                              \
  if (flags & (O_CREAT | O_TMPFILE)) {                          \
    va_list rest;                                               \
    va_start(rest, flags);                                      \
    mode = va_arg(rest, mode_t);                                \
    va_end(rest);                                               \
  }
int open(const char *path, int flags, ...) { MODE(flags) return opened("open", 0, path, flags, mode, 0); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened("open64", 0, path, flags, mode, 0); }
int openat(int dir, const char *path, int flags, ...) { MODE(flags) return opened("openat", dir, path, flags, mode, 1); }
int openat64(int dir, const char *path, int flags, ...) { MODE(flags) return opened("openat64", dir, path, flags, mode, 1); }

#define NAME(name, path, parameters, arguments)                 \
  int name parameters {                                         \
    REAL(name);                                                 \
    int fault = OF_PATH(RENAME, path);                          \
    if (fault == SKIP) return 0;                                \
    if (fault == SHORT) errno = EIO;                            \
    if (fails(fault)) return -1;                                \
    return after_call(fault, real arguments);                         \
  }
NAME(rename, to, (const char *from, const char *to), (from, to))
NAME(renameat, to, (int a, const char *from, int b, const char *to), (a, from, b, to))
NAME(renameat2, to, (int a, const char *from, int b, const char *to, unsigned f), (a, from, b, to, f))

int clock_gettime(clockid_t clock, struct timespec *out) {
  REAL(clock_gettime);
  int result = real(clock, out);
  if (result == 0 && clock == CLOCK_REALTIME && control) {
    int64_t ms = control[CLOCK_MS] + out->tv_sec * INT64_C(1000) + out->tv_nsec / 1000000;
    int64_t s = ms / 1000 - (ms % 1000 < 0);
    out->tv_nsec = (ms - s * 1000) * 1000000 + out->tv_nsec % 1000000;
    out->tv_sec = s;
  }
  return result;
}
