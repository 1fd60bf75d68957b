// Between a node and its disk: calls on files fail or take long, as a file says that the run may change at any time; and what
// was written and not synced can be taken back when the node is dead, as if its power had been cut.
//
// Preloaded into the node. FAULTS_SHIM_CONTROL names a file of one struct control, which is mapped; while its `pattern` is
// empty nothing is changed. Otherwise it concerns the files whose path contains the pattern.
//
// FAULTS_SHIM_UNDO names a folder. Before a file under FAULTS_SHIM_DATA changes, what it holds there is noted in the folder, in a
// file with the number of its inode; a sync that succeeds removes the notes. So the folder says at any moment what a power cut
// would take, and whoever kills the node reads it (see powercut.py). A change and its note, and a sync and the end of the notes,
// are one step for all threads. Names (create, rename, link, unlink) are not taken back.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
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
static const char *undo_folder, *data_folder;

__attribute__((constructor)) static void set_up(void) {
    data_folder = getenv("FAULTS_SHIM_DATA");
    if (data_folder) undo_folder = getenv("FAULTS_SHIM_UNDO");
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

// The name that an open file has; whether it has one.
static int path_of(int file, char path[static PATH_MAX]) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

// Waits if it is to wait; whether it is to fail.
static int disturbed(int file, const struct operation *operation) {
    if (!control || !control->pattern[0]) return 0;
    char path[PATH_MAX];
    if (!path_of(file, path) || !strstr(path, control->pattern)) return 0;
    if (happens(operation->waits_per_million)) {
        uint32_t wait = operation->wait_milliseconds;
        struct timespec time = {wait / 1000, (long)(wait % 1000) * 1000000};
        nanosleep(&time, NULL);
    }
    return happens(operation->fails_per_million);
}

// What has to be there and be whole; a note that is lost would be a promise that nobody watches.
static void must(int holds, const char *what) {
    if (holds) return;
    perror(what);
    abort();
}

#define REAL(result, name, parameters)  \
    static result(*real) parameters;    \
    if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name)

static ssize_t real_pwrite(int file, const void *bytes, size_t count, off_t offset) {
    REAL(ssize_t, pwrite, (int, const void *, size_t, off_t));
    return real(file, bytes, count, offset);
}

static ssize_t real_pread(int file, void *bytes, size_t count, off_t offset) {
    REAL(ssize_t, pread, (int, void *, size_t, off_t));
    return real(file, bytes, count, offset);
}

// A change of a file: the range that `count` bytes at `offset` replace, of what had `size` bytes; then as many old bytes as
// `kept` says. Old bytes that are all zero are not kept.
struct note {
    uint64_t offset, count, size, kept;
};

static pthread_mutex_t locks[64] = {[0 ... 63] = PTHREAD_MUTEX_INITIALIZER};

static pthread_mutex_t *lock_of(const struct stat *status) { return &locks[status->st_ino % 64]; }

// Whether changes of an open file are to be noted. If so it is locked until `end`.
static int begin(int file, struct stat *status) {
    char path[PATH_MAX];
    if (!undo_folder || fstat(file, status) != 0 || !S_ISREG(status->st_mode)) return 0;
    if (!path_of(file, path) || strncmp(path, data_folder, strlen(data_folder)) != 0) return 0;
    pthread_mutex_lock(lock_of(status));
    // What it is now, not a moment ago. One without a name is nobody's loss.
    if (fstat(file, status) == 0 && status->st_nlink > 0) return 1;
    pthread_mutex_unlock(lock_of(status));
    return 0;
}

static void end(const struct stat *status) {
    int kept = errno;
    pthread_mutex_unlock(lock_of(status));
    errno = kept;
}

static void undo_path(const struct stat *status, char path[static PATH_MAX]) {
    snprintf(path, PATH_MAX, "%s/%llu", undo_folder, (unsigned long long)status->st_ino);
}

static int is_zero(const char *bytes, size_t count) {
    return count == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0);
}

// Notes what a locked file holds where `count` bytes at `offset` are about to change.
static void note(int file, const struct stat *status, off_t offset, size_t count) {
    struct note head = {(uint64_t)offset, count, (uint64_t)status->st_size, 0};
    size_t old = offset >= status->st_size ? 0 : (size_t)(status->st_size - offset);
    if (old > count) old = count;
    char path[PATH_MAX], *record = malloc(sizeof head + old);
    must(record != NULL, "shim: no memory");
    if (old > 0) {
        // Anew: this one may be for writing alone, or want aligned reads.
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
        int reader = open(path, O_RDONLY | O_CLOEXEC);
        must(reader >= 0, "shim: reopen");
        for (size_t done = 0; done < old;) {
            ssize_t got = real_pread(reader, record + sizeof head + done, old - done, offset + (off_t)done);
            must(got > 0 || (got < 0 && errno == EINTR), "shim: read what was there");
            if (got > 0) done += (size_t)got;
        }
        close(reader);
        if (!is_zero(record + sizeof head, old)) head.kept = old;
    }
    memcpy(record, &head, sizeof head);
    undo_path(status, path);
    int notes = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    must(notes >= 0, "shim: open notes");
    off_t place = lseek(notes, 0, SEEK_END);
    // In one call: a kill comes before it or after it.
    must(real_pwrite(notes, record, sizeof head + head.kept, place) == (ssize_t)(sizeof head + head.kept), "shim: note");
    close(notes);
    free(record);
}

// Forgets what was noted of a file, which is safe on the disk or gone for good.
static void forget(const struct stat *status) {
    char path[PATH_MAX];
    undo_path(status, path);
    must(unlink(path) == 0 || errno == ENOENT, "shim: end notes");
}

// Before a name goes: another file may get the number of one whose last name it was. If so it is locked until `end`.
static int forget_if_last(const char *path, struct stat *status) {
    if (!undo_folder || strncmp(path, data_folder, strlen(data_folder)) != 0) return 0;
    if (lstat(path, status) != 0 || !S_ISREG(status->st_mode) || status->st_nlink > 1) return 0;
    pthread_mutex_lock(lock_of(status));
    forget(status);
    return 1;
}

// A call that fails or waits if it is told to.
#define DISTURBED(result, name, parameters, arguments, kind, before, after)           \
    result name parameters {                                                          \
        REAL(result, name, parameters);                                               \
        if (disturbed(file, control ? &control->kind : NULL)) {                       \
            errno = EIO;                                                              \
            return -1;                                                                \
        }                                                                             \
        before;                                                                       \
        result done = real arguments;                                                 \
        after;                                                                        \
        return done;                                                                  \
    }

#define READ(name, parameters, arguments) DISTURBED(ssize_t, name, parameters, arguments, read, (void)0, (void)0)

READ(pread, (int file, void *bytes, size_t count, off_t offset), (file, bytes, count, offset))
READ(pread64, (int file, void *bytes, size_t count, off_t offset), (file, bytes, count, offset))
READ(preadv, (int file, const struct iovec *parts, int count, off_t offset), (file, parts, count, offset))
READ(preadv64, (int file, const struct iovec *parts, int count, off_t offset), (file, parts, count, offset))

#define WRITE(name, parameters, arguments, offset, count)                             \
    DISTURBED(ssize_t, name, parameters, arguments, write,                            \
        struct stat status; int noted = begin(file, &status); if (noted) note(file, &status, offset, count), \
        if (noted) end(&status))

static off_t position(int file) {
    return fcntl(file, F_GETFL) & O_APPEND ? lseek(file, 0, SEEK_END) : lseek(file, 0, SEEK_CUR);
}

static size_t sum(const struct iovec *parts, int count) {
    size_t bytes = 0;
    for (int number = 0; number < count; number++) bytes += parts[number].iov_len;
    return bytes;
}

WRITE(write, (int file, const void *bytes, size_t count), (file, bytes, count), position(file), count)
WRITE(writev, (int file, const struct iovec *parts, int count), (file, parts, count), position(file), sum(parts, count))
WRITE(pwrite, (int file, const void *bytes, size_t count, off_t offset), (file, bytes, count, offset), offset, count)
WRITE(pwrite64, (int file, const void *bytes, size_t count, off_t offset), (file, bytes, count, offset), offset, count)
WRITE(pwritev, (int file, const struct iovec *parts, int count, off_t offset), (file, parts, count, offset), offset,
      sum(parts, count))
WRITE(pwritev64, (int file, const struct iovec *parts, int count, off_t offset), (file, parts, count, offset), offset,
      sum(parts, count))

#define SYNC(name)                                                                    \
    DISTURBED(int, name, (int file), (file), sync, struct stat status; int noted = begin(file, &status), \
        if (noted && done == 0) forget(&status); if (noted) end(&status))

SYNC(fsync)
SYNC(fdatasync)

// What changes a file's size.
#define SIZED(name, parameters, arguments, offset, count)                             \
    int name parameters {                                                             \
        REAL(int, name, parameters);                                                  \
        struct stat status;                                                           \
        int noted = begin(file, &status);                                             \
        if (noted) note(file, &status, offset, count);                                \
        int done = real arguments;                                                    \
        if (noted) end(&status);                                                      \
        return done;                                                                  \
    }

SIZED(ftruncate, (int file, off_t size), (file, size), size, size < status.st_size ? (size_t)(status.st_size - size) : 0)
SIZED(ftruncate64, (int file, off_t size), (file, size), size, size < status.st_size ? (size_t)(status.st_size - size) : 0)
SIZED(posix_fallocate, (int file, off_t offset, off_t size), (file, offset, size), status.st_size, 0)
SIZED(posix_fallocate64, (int file, off_t offset, off_t size), (file, offset, size), status.st_size, 0)

#define NAMED(name, parameters, arguments, gone)                                      \
    int name parameters {                                                             \
        REAL(int, name, parameters);                                                  \
        struct stat status;                                                           \
        int forgotten = forget_if_last(gone, &status);                                \
        int done = real arguments;                                                    \
        if (forgotten) end(&status);                                                  \
        return done;                                                                  \
    }

NAMED(unlink, (const char *path), (path), path)
NAMED(rename, (const char *source, const char *target), (source, target), target)
