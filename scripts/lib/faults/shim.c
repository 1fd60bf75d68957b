// Between a node and its disk: calls on files fail or take long, as a file says that the run may change at any time.
//
// Preloaded into the node. FAULTS_SHIM_CONTROL names a file of one struct control, which is mapped; while its `pattern` is
// empty nothing is changed. Otherwise it concerns the files whose path contains the pattern.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct operation {
    uint32_t fails_per_million;
    uint32_t waits_per_million;
    uint32_t wait_milliseconds;
};

struct control {
    struct operation sync, write, read;
    char pattern[64];
};

static const struct control *control;
static __thread uint64_t state;

__attribute__((constructor)) static void set_up(void) {
    const char *path = getenv("FAULTS_SHIM_CONTROL");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) control = mapped;
}

static int happens(uint32_t per_million) {
    if (per_million == 0) return 0;
    if (state == 0) state = (uintptr_t)&state ^ ((uint64_t)getpid() << 32) ^ 0x9e3779b97f4a7c15u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % 1000000 < per_million;
}

// Waits if it is to wait; whether it is to fail.
static int disturbed(int file, const struct operation *operation) {
    if (!control || !control->pattern[0]) return 0;
    char link[32], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, control->pattern)) return 0;
    if (happens(operation->waits_per_million)) {
        uint32_t wait = operation->wait_milliseconds;
        struct timespec time = {wait / 1000, (long)(wait % 1000) * 1000000};
        nanosleep(&time, NULL);
    }
    return happens(operation->fails_per_million);
}

#define DISTURBED(result, name, parameters, arguments, kind)                          \
    result name parameters {                                                          \
        static result(*real) parameters;                                              \
        if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name);              \
        if (disturbed(file, control ? &control->kind : NULL)) {                       \
            errno = EIO;                                                              \
            return -1;                                                                \
        }                                                                             \
        return real arguments;                                                        \
    }

DISTURBED(int, fsync, (int file), (file), sync)
DISTURBED(int, fdatasync, (int file), (file), sync)
DISTURBED(ssize_t, write, (int file, const void *bytes, size_t count), (file, bytes, count), write)
DISTURBED(ssize_t, writev, (int file, const struct iovec *parts, int count), (file, parts, count), write)
DISTURBED(ssize_t, pwrite, (int file, const void *bytes, size_t count, off_t offset), (file, bytes, count, offset), write)
DISTURBED(ssize_t, pwrite64, (int file, const void *bytes, size_t count, off_t offset), (file, bytes, count, offset), write)
DISTURBED(ssize_t, pwritev, (int file, const struct iovec *parts, int count, off_t offset), (file, parts, count, offset), write)
DISTURBED(ssize_t, pwritev64, (int file, const struct iovec *parts, int count, off_t offset), (file, parts, count, offset), write)
DISTURBED(ssize_t, pread, (int file, void *bytes, size_t count, off_t offset), (file, bytes, count, offset), read)
DISTURBED(ssize_t, pread64, (int file, void *bytes, size_t count, off_t offset), (file, bytes, count, offset), read)
DISTURBED(ssize_t, preadv, (int file, const struct iovec *parts, int count, off_t offset), (file, parts, count, offset), read)
DISTURBED(ssize_t, preadv64, (int file, const struct iovec *parts, int count, off_t offset), (file, parts, count, offset), read)
