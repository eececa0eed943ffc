/* Loaded before the C library: the first time that the process listens at a socket, which is long after it has
 * confined itself, this tries what a router never does, and writes a line "NAME ERRNO" for each to the file
 * FORBIDDEN_OUT; 0 is for what was possible. Arguments are such that nothing happens where a call is allowed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static FILE *out;

static void said(const char *name, long result) {
    fprintf(out, "%s %d\n", name, result < 0 ? errno : 0);
}

#define CALL(name, ...) said(#name, syscall(SYS_##name, ##__VA_ARGS__))

static void calls(void) {
    char *none[] = {NULL};
    CALL(execve, "/nothing", none, none);
    CALL(execveat, -1, "/nothing", none, none, 0);
    CALL(ptrace, 0x7fff, 0, 0, 0);
    CALL(process_vm_readv, getpid(), NULL, 0, NULL, 0, 0);
    CALL(process_vm_writev, getpid(), NULL, 0, NULL, 0, 0);
    CALL(pidfd_open, getpid(), 0);
    CALL(pidfd_getfd, -1, 0, 0);
    CALL(kcmp, getpid(), getpid(), 0, 0, 0);
    CALL(unshare, 0);
    CALL(setns, -1, 0);
    CALL(personality, 0xffffffffUL);
    CALL(mount, NULL, NULL, NULL, 0, NULL);
    CALL(umount2, NULL, 0);
    CALL(pivot_root, NULL, NULL);
    CALL(chroot, "/");
    CALL(move_mount, -1, "", -1, "", 0);
    CALL(open_tree, -1, "", 0);
    CALL(fsopen, NULL, 0);
    CALL(fsmount, -1, 0, 0);
    CALL(add_key, NULL, NULL, NULL, 0, 0);
    CALL(request_key, NULL, NULL, NULL, 0);
    CALL(keyctl, 0, 0, 0, 0, 0);
    CALL(bpf, -1, NULL, 0);
    CALL(perf_event_open, NULL, 0, 0, -1, 0);
    CALL(userfaultfd, -1);
    CALL(io_uring_setup, 0, NULL);
    CALL(io_uring_enter, -1, 0, 0, 0, NULL, 0);
    CALL(io_uring_register, -1, 0, NULL, 0);
    CALL(init_module, NULL, 0, NULL);
    CALL(finit_module, -1, "", 0);
    CALL(delete_module, "", 0);
    CALL(kexec_load, 0, 0, NULL, 0xffff);
    CALL(reboot, 0, 0, 0, NULL);
    CALL(swapon, "", 0);
    CALL(swapoff, "");
    CALL(acct, "/nothing/at/all");
    CALL(syslog, 8, NULL, 0);
    CALL(settimeofday, NULL, NULL);
    CALL(clock_settime, 99, NULL);
    CALL(sethostname, NULL, -1);
    CALL(setuid, getuid());
    CALL(setgid, getgid());
    CALL(setresuid, -1, -1, -1);
    CALL(setgroups, -1, NULL);
    CALL(capset, NULL, NULL);
    CALL(mknodat, -1, "", 0, 0);
    CALL(open_by_handle_at, -1, NULL, 0);
    CALL(fanotify_init, -1, 0);
    CALL(memfd_create, "", 0);
    CALL(clone3, NULL, 0);
#ifdef SYS_fork
    long child = syscall(SYS_fork);
    if (child == 0) _exit(0);
    said("fork", child);
    /* The same call as a program of the other ABI makes it. */
    errno = 0;
    said("x32_ptrace", syscall(0x40000000 | SYS_ptrace, 0x7fff, 0, 0, 0));
#endif
    long process = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (process == 0) _exit(0);
    said("clone_process", process);
    while (waitpid(-1, NULL, 0) > 0) continue;
    said("socket_packet", socket(AF_PACKET, SOCK_RAW, 0));
    said("socket_raw", socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 1));
    said("socket_raw6", socket(AF_INET6, SOCK_RAW, 58));
    said("socket_alg", socket(38, SOCK_SEQPACKET, 0));
    said("socket_vsock", socket(40, SOCK_STREAM, 0));
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    said("mprotect_exec", mprotect(page, 4096, PROT_READ | PROT_EXEC));
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    said("mmap_write_exec", page == MAP_FAILED ? -1 : 0);
}

static void open_file(const char *path, int flags) {
    int fd = open(path, flags, 0600);
    fprintf(out, "file:%s %d\n", path, fd < 0 ? errno : 0);
    if (fd >= 0) close(fd);
}

static void files(void) {
    const char *read[] = {"/etc/passwd", "/etc/hostname", "/", "/home", "/root", "/tmp", "/usr/bin/env", "/proc/1/status", NULL};
    for (const char **path = read; *path; path++) open_file(*path, O_RDONLY);
    const char *outside = getenv("FORBIDDEN_OUTSIDE");
    char path[4096];
    snprintf(path, sizeof path, "%s/new", outside);
    open_file(path, O_WRONLY | O_CREAT);
    snprintf(path, sizeof path, "%s/there", outside);
    open_file(path, O_WRONLY);
    said("file:unlink", unlink(path));
    char other[4096];
    snprintf(other, sizeof other, "%s/other", outside);
    said("file:rename", rename(path, other));
    said("file:symlink", symlink("/", other));
    said("file:mkdir", mkdir(other, 0700));
    said("file:truncate", truncate(path, 0));
}

int listen(int fd, int backlog) {
    static atomic_flag done = ATOMIC_FLAG_INIT;
    const char *name = getenv("FORBIDDEN_OUT");
    if (name && !atomic_flag_test_and_set(&done)) {
        char unfinished[4096];
        snprintf(unfinished, sizeof unfinished, "%s.new", name);
        out = fopen(unfinished, "w");
        if (out) {
            calls();
            files();
            fclose(out);
            rename(unfinished, name);
        }
    }
    int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "listen");
    return real(fd, backlog);
}
