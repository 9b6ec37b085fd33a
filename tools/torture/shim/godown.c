/* Cuts the power of a file system: from now on ext4 writes neither data nor journal to its device,
 * as if the machine had lost power (FS_IOC_SHUTDOWN without a flush). */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

int main(int count, char **arguments) {
  uint32_t without_flush = 2;
  int fd = count == 2 ? open(arguments[1], O_RDONLY | O_DIRECTORY) : -1;
  if (fd < 0 || ioctl(fd, _IOR('X', 125, uint32_t), &without_flush) != 0) {
    perror("godown");
    return 1;
  }
  return 0;
}
