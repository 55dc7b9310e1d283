// Terminals: what waits until the output is sent is announced; login_tty replaces descriptors.
#include <termios.h>
#include <unistd.h>
#include <utmp.h>
#include "hooks/announce.hpp"
#include "hooks/fdtable.hpp"

using namespace gmp;

GMP_ANNOUNCED(int, tcsetattr, (int fd, int when, const termios* t), (fd, when, t), noexcept) // TCSADRAIN, TCSAFLUSH
GMP_ANNOUNCED(int, tcsendbreak, (int fd, int duration), (fd, duration), noexcept)

GMP_REAL(login_tty);
GMP_HOOK int login_tty(int fd) noexcept {
  if (native()) return REAL(login_tty)(fd);
  const int touched[] = {0, 1, 2, fd}; // closed at the end, if it is none of the three
  uint32_t token[4];
  for (int i = 0; i < 4; i++) token[i] = fd_closing(touched[i]);
  int r = REAL(login_tty)(fd);
  for (int i = 0; i < 4; i++) fd_closed(touched[i], token[i]);
  return r;
}
