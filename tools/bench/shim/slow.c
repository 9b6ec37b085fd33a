/* Preloaded into a process (LD_PRELOAD): each fdatasync, with which the journal syncs, takes
 * SLOW_SYNC_US microseconds longer, as on a slow disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

int fdatasync(int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
  const char *slow = getenv("SLOW_SYNC_US");
  if (slow) usleep(atoi(slow));
  return real(fd);
}
