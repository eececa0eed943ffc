/* Loaded before the C library: kills the process at its KILL_AT-th change of the file system; of those only that come
 * when there is a file KILL_AFTER, if that is set. A write is half done then, anything else is not begun. Pipes, sockets
 * and devices do not count. With FAIL_WITH, an error number, nothing is killed: that change and all that would write
 * more fail with it, as on a disk that is full or broken. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_int calls;

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Whether this call is the one. */
static int now(void) {
    const char *at = getenv("KILL_AT"), *after = getenv("KILL_AFTER");
    if (after && access(after, F_OK) != 0) return 0;
    return at && !getenv("FAIL_WITH") && atomic_fetch_add(&calls, 1) + 1 == atoi(at);
}

/* Whether this call is to fail; the number is in errno then. */
static int fails(void) {
    const char *with = getenv("FAIL_WITH"), *at = getenv("KILL_AT");
    if (!with || !at || atomic_fetch_add(&calls, 1) + 1 < atoi(at)) return 0;
    errno = atoi(with);
    return 1;
}

static int is_file(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *buf, size_t len) {
    if (is_file(fd) && fails()) return -1;
    if (is_file(fd) && now()) {
        REAL(write)(fd, buf, len / 2);
        die();
    }
    return REAL(write)(fd, buf, len);
}

static int open_with(const char *symbol, const char *path, int flags, mode_t mode) {
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, symbol);
    if ((flags & (O_CREAT | O_TRUNC)) && fails()) return -1;
    if ((flags & (O_CREAT | O_TRUNC)) && now()) die();
    return real(path, flags, mode);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list args; \
        va_start(args, flags); \
        mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0; \
        va_end(args); \
        return open_with(#name, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

/* Nothing is removed by an error: a full disk lets files go. */
#define BEFORE(type, name, params, args) \
    type name params { \
        if (#name[0] != 'u' && fails()) return -1; \
        if (now()) die(); \
        return REAL(name) args; \
    }
BEFORE(int, rename, (const char *from, const char *to), (from, to))
BEFORE(int, link, (const char *from, const char *to), (from, to))
BEFORE(int, linkat, (int at, const char *from, int to_at, const char *to, int flags), (at, from, to_at, to, flags))
BEFORE(int, unlink, (const char *path), (path))
BEFORE(int, mkdir, (const char *path, mode_t mode), (path, mode))

#define SYNC(name) \
    int name(int fd) { \
        if (is_file(fd) && fails()) return -1; \
        if (is_file(fd) && now()) die(); \
        return REAL(name)(fd); \
    }
SYNC(fsync)
SYNC(fdatasync)
