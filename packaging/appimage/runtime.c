/* The beginning of Nadir's AppImage: mounts the file system that is appended to this program, and starts what is in it.

   After the AppImage specification, type 2: an ELF file with "AI\2" at byte 8, a squashfs right behind it, `AppRun` in
   its root. The options and the environment (APPIMAGE, APPDIR, ARGV0, OWD) are the ones that specification names.

   Three ways to run, the first that works:
   1. mounted by FUSE; a server process of ours answers until nothing uses the mount any more. Trainings and builds may
      outlive the window, so it goes by whether the mount is busy, not by whether the first process lives;
   2. where FUSE cannot be used: unpacked once into the user's cache, and run from there;
   3. asked for by hand: --appimage-extract.

   The squashfs is read by libsquashfuse, of whose methods of compression zlib and zstd are linked; see the end. */

#define _GNU_SOURCE
#define FUSE_USE_VERSION 32
#include <squashfuse/ll.h>
#include <squashfuse/squashfuse.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char image[PATH_MAX];   /* this file */
static size_t image_offset;    /* where its squashfs begins */
static char scratch[PATH_MAX]; /* what is unpacked at the moment, and is taken away where that fails */

static void say(const char *words, ...) {
    va_list rest;
    va_start(rest, words);
    fputs("Nadir: ", stderr);
    vfprintf(stderr, words, rest);
    fputc('\n', stderr);
    va_end(rest);
}

static void fail(const char *what, const char *path) {
    say("%s %s: %s", what, path, strerror(errno));
    exit(1);
}

/* Join into a buffer of PATH_MAX; a path that is too long ends the program. */
static void join(char *out, const char *words, ...) {
    va_list rest;
    va_start(rest, words);
    int length = vsnprintf(out, PATH_MAX, words, rest);
    va_end(rest);
    if (length < 0 || length >= PATH_MAX) {
        errno = ENAMETOOLONG;
        fail("cannot use", out);
    }
}

/* The size of the ELF file that this program is: its table of sections stands last. */
static size_t elf_size(const char *path) {
    Elf64_Ehdr head;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || read(file, &head, sizeof head) != sizeof head) fail("cannot read", path);
    close(file);
    return head.e_shoff + (size_t)head.e_shnum * head.e_shentsize;
}

/* Mounting --------------------------------------------------------------------------------------------------------- */

static char mount_point[PATH_MAX];
static int alive; /* closed by the system once the program that was started has ended */

static bool unmount_unless_busy(void) {
    if (geteuid() == 0) return umount2(mount_point, 0) == 0 || errno == EINVAL;
    pid_t helper = fork();
    if (helper == 0) { /* without -z, which would take the mount away under whoever uses it */
        execlp("fusermount3", "fusermount3", "-u", mount_point, (char *)NULL);
        _exit(127);
    }
    int status = 1;
    if (helper > 0) waitpid(helper, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Wait for the end of the program, then for the end of all that still runs from here. */
static void *wait_for_the_end(void *nothing) {
    char byte;
    ssize_t got;
    do got = read(alive, &byte, 1);
    while (got > 0 || (got < 0 && errno == EINTR));
    for (unsigned pause = 100; !unmount_unless_busy(); pause = pause < 4000 ? 2 * pause : 5000) usleep(pause * 1000);
    return nothing;
}

/* Answer for the mount until it is gone. Writes a byte to `ready` once it stands; never returns. */
static void serve(int ready) {
    struct fuse_lowlevel_ops operations = {
        .getattr = sqfs_ll_op_getattr, .opendir = sqfs_ll_op_opendir, .releasedir = sqfs_ll_op_releasedir,
        .readdir = sqfs_ll_op_readdir, .lookup = sqfs_ll_op_lookup, .open = sqfs_ll_op_open,
        .create = sqfs_ll_op_create, .release = sqfs_ll_op_release, .read = sqfs_ll_op_read,
        .readlink = sqfs_ll_op_readlink, .listxattr = sqfs_ll_op_listxattr, .getxattr = sqfs_ll_op_getxattr,
        .forget = sqfs_ll_op_forget, .statfs = stfs_ll_op_statfs};
    char *words[] = {"nadir", "-o", "ro,nosuid,nodev,fsname=Nadir.AppImage,subtype=squashfuse", NULL};
    struct fuse_args options = FUSE_ARGS_INIT(3, words);
    sqfs_ll_chan channel = {0};
    /* What the libraries say where FUSE is not to be had would only confuse: there is another way. */
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(nowhere, 0);
    dup2(nowhere, 1);
    dup2(nowhere, 2);
    sqfs_ll *files = sqfs_ll_open(image, image_offset);
    if (files == NULL) _exit(1);
    if (sqfs_ll_mount(&channel, mount_point, &options, &operations, sizeof operations, files) != SQFS_OK) _exit(1);
    fuse_set_signal_handlers(channel.session);
    pthread_t waiter;
    if (pthread_create(&waiter, NULL, wait_for_the_end, NULL) != 0) {
        sqfs_ll_unmount(&channel, mount_point);
        _exit(1);
    }
    if (write(ready, "", 1) != 1) _exit(1);
    close(ready);
    fuse_session_loop(channel.session); /* ends when the mount is gone, or we are told to go */
    sqfs_ll_unmount(&channel, mount_point);
    rmdir(mount_point);
    _exit(0);
}

/* Have the files under `mount_point`; false where FUSE cannot be used. */
static bool mount_image(void) {
    const char *scratch = getenv("TMPDIR");
    join(mount_point, "%s/.mount_nadirXXXXXX", scratch && *scratch ? scratch : "/tmp");
    if (mkdtemp(mount_point) == NULL) return false;
    int living[2], ready[2];
    /* The writing end of `living` goes on into the program, and is closed by its end, however that comes. */
    if (pipe(living) != 0 || pipe2(ready, O_CLOEXEC) != 0) fail("cannot make", "a pipe");
    fcntl(living[0], F_SETFD, FD_CLOEXEC);
    pid_t child = fork();
    if (child == 0) { /* twice, so that the server is no child that the program did not ask for */
        if (fork() != 0) _exit(0);
        setsid();
        close(living[1]);
        close(ready[0]);
        alive = living[0];
        if (chdir("/") != 0) _exit(1);
        serve(ready[1]);
    }
    close(living[0]);
    close(ready[1]);
    if (child > 0) waitpid(child, NULL, 0);
    char byte;
    ssize_t got;
    do got = read(ready[0], &byte, 1);
    while (got < 0 && errno == EINTR);
    close(ready[0]);
    if (got == 1) return true;
    close(living[1]);
    rmdir(mount_point);
    return false;
}

/* Unpacking -------------------------------------------------------------------------------------------------------- */

static void damaged(void) {
    say("%s is damaged: get it anew", image);
    exit(1);
}

static void write_file(sqfs *files, sqfs_inode *node, const char *path) {
    static char block[1 << 20];
    unlink(path); /* what is there may be a link that leads elsewhere */
    int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, node->base.mode & 0777);
    if (out < 0) fail("cannot write", path);
    uint64_t size = node->xtra.reg.file_size;
    for (uint64_t at = 0; at < size;) {
        sqfs_off_t count = sizeof block;
        if (sqfs_read_range(files, node, (sqfs_off_t)at, &count, block) != SQFS_OK || count <= 0) damaged();
        for (sqfs_off_t done = 0; done < count;) {
            ssize_t wrote = write(out, block + done, (size_t)(count - done));
            if (wrote < 0 && errno != EINTR) fail("cannot write", path);
            if (wrote > 0) done += wrote;
        }
        at += (uint64_t)count;
    }
    if (close(out) != 0) fail("cannot write", path);
}

/* Have a folder of our own: a link, or another user's, would lead what is written elsewhere. */
static void own_folder(const char *path, mode_t mode) {
    struct stat facts;
    if (mkdir(path, mode) == 0) return;
    if (errno != EEXIST) fail("cannot make", path);
    if (lstat(path, &facts) != 0 || !S_ISDIR(facts.st_mode) || facts.st_uid != geteuid()) {
        errno = EEXIST;
        fail("will not write into", path);
    }
}

/* Have the folders that lead from `folder` to a file in it. */
static void folders_to(const char *folder, char *path) {
    for (char *at = strchr(path + strlen(folder) + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        own_folder(path, 0755);
        *at = '/';
    }
}

/* Unpack what fits the pattern (all, where that is NULL) into a folder that is there; whether anything did. */
static bool unpack(const char *folder, const char *pattern) {
    sqfs files;
    sqfs_traverse walk;
    sqfs_err trouble = SQFS_OK;
    bool any = false;
    sqfs_fd_t file = open(image, O_RDONLY | O_CLOEXEC);
    if (file < 0 || sqfs_init(&files, file, image_offset) != SQFS_OK ||
        sqfs_traverse_open(&walk, &files, sqfs_inode_root(&files)) != SQFS_OK)
        damaged();
    while (sqfs_traverse_next(&walk, &trouble)) {
        if (walk.dir_end || (pattern != NULL && fnmatch(pattern, walk.path, FNM_LEADING_DIR) != 0)) continue;
        char path[PATH_MAX], link[PATH_MAX];
        size_t length = sizeof link;
        sqfs_inode node;
        join(path, "%s/%s", folder, walk.path);
        if (sqfs_inode_get(&files, &node, walk.entry.inode) != SQFS_OK) damaged();
        any = true;
        folders_to(folder, path);
        if (S_ISDIR(node.base.mode)) {
            own_folder(path, 0755);
        } else if (S_ISLNK(node.base.mode)) {
            if (sqfs_readlink(&files, &node, link, &length) != SQFS_OK) damaged();
            unlink(path);
            if (symlink(link, path) != 0) fail("cannot make", path);
        } else if (S_ISREG(node.base.mode)) {
            write_file(&files, &node, path);
        }
    }
    sqfs_traverse_close(&walk);
    close(file);
    if (trouble != SQFS_OK) damaged();
    return any;
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *where) {
    (void)facts, (void)kind, (void)where;
    return remove(path);
}

static void remove_tree(const char *path) { nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS); }

/* What tells this image from all others: a sum (FNV-1a) over its end, where the places of all its blocks stand. */
static uint64_t fingerprint(void) {
    static unsigned char end[1 << 16];
    int file = open(image, O_RDONLY | O_CLOEXEC);
    off_t size = file < 0 ? -1 : lseek(file, 0, SEEK_END);
    off_t from = size > (off_t)sizeof end ? size - (off_t)sizeof end : 0;
    ssize_t count = file < 0 ? -1 : pread(file, end, sizeof end, from);
    if (count < 0) fail("cannot read", image);
    close(file);
    uint64_t sum = 14695981039346656037u ^ (uint64_t)size;
    for (ssize_t at = 0; at < count; at++) sum = (sum ^ end[at]) * 1099511628211u;
    return sum;
}

static void no_cache(const char *path) {
    int why = errno;
    say("cannot unpack into %s: %s. Unpack by hand, in a folder of your own: --appimage-extract", path, strerror(why));
    exit(1);
}

static void make_folders(char *path) {
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST) no_cache(path);
        *at = '/';
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST) no_cache(path);
}

static bool leads_into(const char *link, const char *folder) {
    char target[PATH_MAX];
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length < 0) return false;
    target[length] = '\0';
    size_t size = strlen(folder);
    return strncmp(target, folder, size) == 0 && (target[size] == '/' || target[size] == '\0');
}

/* Whether any process runs from a folder or stands in it: builds and trainings outlive the window and its locks. */
static bool is_used(const char *folder) {
    char real[PATH_MAX];
    if (realpath(folder, real) == NULL) return false;
    bool used = false;
    DIR *processes = opendir("/proc");
    if (processes == NULL) return true; /* nobody can tell */
    for (struct dirent *entry = readdir(processes); entry && !used; entry = readdir(processes)) {
        char link[PATH_MAX];
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
        join(link, "/proc/%s/exe", entry->d_name);
        used = leads_into(link, real);
        join(link, "/proc/%s/cwd", entry->d_name);
        used = used || leads_into(link, real);
    }
    closedir(processes);
    return used;
}

/* Open a lock file and take the lock; anew where it was deleted meanwhile, for then it would hold nothing. -1 where
   another has it and waiting was not asked for. Where the file system knows no locks, go without. */
static int take_lock(const char *path, int kind) {
    for (;;) {
        struct stat ours, there;
        int held = open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
        if (held < 0) no_cache(path);
        int refused = flock(held, kind) == 0 ? 0 : errno;
        if (refused == EWOULDBLOCK) {
            close(held);
            return -1;
        }
        bool same = fstat(held, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino &&
                    ours.st_dev == there.st_dev;
        if (refused != EINTR && same) return held;
        close(held);
    }
}

/* Take away what other versions have unpacked, or begun to, unless one of them runs. */
static void remove_others(const char *cache, const char *keep) {
    DIR *folder = opendir(cache);
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder)) {
        char path[PATH_MAX], lock[PATH_MAX];
        if (strncmp(entry->d_name, "appimage-", 9) != 0 || strchr(entry->d_name, '.')) continue;
        join(path, "%s/%s", cache, entry->d_name);
        if (strcmp(path, keep) == 0) continue;
        join(lock, "%s.lock", path);
        int held = take_lock(lock, LOCK_EX | LOCK_NB);
        if (held < 0) continue;
        if (!is_used(path)) {
            remove_tree(path);
            unlink(lock);
        }
        close(held);
    }
    if (folder) closedir(folder);
}

static bool is_whole(const char *folder) {
    char program[PATH_MAX];
    join(program, "%s/AppRun", folder);
    return access(program, X_OK) == 0;
}

static void clean_up(void) {
    if (*scratch) remove_tree(scratch);
}

/* Have the files under `mount_point`, a folder of the user's cache; unpacked by the first start alone. */
static void unpack_once(const char *why) {
    char cache[PATH_MAX], lock[PATH_MAX];
    const char *home = getenv("HOME"), *caches = getenv("XDG_CACHE_HOME");
    if (caches && *caches == '/') {
        join(cache, "%s/nadir", caches);
    } else if (home && *home == '/') {
        join(cache, "%s/.cache/nadir", home);
    } else {
        say("%sHOME is not set: there is no place to unpack to. Try --appimage-extract", why);
        exit(1);
    }
    make_folders(cache);
    join(mount_point, "%s/appimage-%016llx", cache, (unsigned long long)fingerprint());
    join(lock, "%s.lock", mount_point);
    /* The lock goes on into the program; what that starts may not have it, and is found by where it runs. */
    int held = take_lock(lock, LOCK_SH);
    if (is_whole(mount_point)) return;
    close(held);
    held = take_lock(lock, LOCK_EX);
    if (!is_whole(mount_point)) { /* another start has not done it meanwhile */
        say("%sUnpacking once into %s; later starts use that.", why, mount_point);
        remove_others(cache, mount_point);
        remove_tree(mount_point);
        join(scratch, "%s.new", mount_point);
        atexit(clean_up);
        remove_tree(scratch);
        own_folder(scratch, 0700);
        unpack(scratch, NULL);
        int folder = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder >= 0) {
            syncfs(folder);
            close(folder);
        }
        if (rename(scratch, mount_point) != 0) fail("cannot make", mount_point);
        *scratch = '\0';
    }
    flock(held, LOCK_SH);
}

/* Starting --------------------------------------------------------------------------------------------------------- */

static const char help[] =
    "Options of the AppImage itself:\n"
    "  --appimage-help              this\n"
    "  --appimage-version           the kind of AppImage\n"
    "  --appimage-offset            where the squashfs begins, in bytes\n"
    "  --appimage-mount             mount, say where, and wait for Ctrl+C\n"
    "  --appimage-extract [PATTERN] unpack into ./squashfs-root\n"
    "  --appimage-extract-and-run   do without FUSE: unpack once into the user's cache, run from there\n"
    "Everything else goes to the program: --help says what it takes.\n";

static int run(char **words) {
    char program[PATH_MAX], here[PATH_MAX];
    join(program, "%s/AppRun", mount_point);
    setenv("APPDIR", mount_point, 1);
    setenv("APPIMAGE", image, 1);
    setenv("ARGV0", words[0], 1);
    if (getcwd(here, sizeof here)) setenv("OWD", here, 1);
    execv(program, words);
    fail("cannot start", program);
    return 1;
}

int main(int count, char **words) {
    const char *asked = count > 1 && strncmp(words[1], "--appimage-", 11) == 0 ? words[1] + 11 : "";
    const char *forced = getenv("APPIMAGE_EXTRACT_AND_RUN");
    ssize_t length = readlink("/proc/self/exe", image, sizeof image - 1);
    if (length < 0) fail("cannot read", "/proc/self/exe");
    image[length] = '\0';
    image_offset = elf_size(image);
    if (strcmp(asked, "help") == 0) {
        fputs(help, stdout);
        return 0;
    }
    if (strcmp(asked, "version") == 0) {
        puts("type 2, of Nadir's own making");
        return 0;
    }
    if (strcmp(asked, "offset") == 0) {
        printf("%zu\n", image_offset);
        return 0;
    }
    if (strcmp(asked, "extract") == 0) {
        own_folder("squashfs-root", 0755);
        if (!unpack("squashfs-root", count > 2 ? words[2] : NULL)) {
            say("nothing in %s is named %s", image, words[2]);
            return 1;
        }
        puts("squashfs-root");
        return 0;
    }
    if (strcmp(asked, "extract-and-run") == 0) {
        unpack_once("");
        words[1] = words[0];
        return run(words + 1);
    }
    if (strcmp(asked, "mount") == 0) {
        if (!mount_image()) {
            say("cannot mount: FUSE cannot be used here");
            return 1;
        }
        puts(mount_point);
        fflush(stdout);
        pause();
        return 0;
    }
    if (*asked) {
        say("no such option: %s\n%s", words[1], help);
        return 2;
    }
    if (forced && *forced && strcmp(forced, "0") != 0) {
        unpack_once("");
    } else if (!mount_image()) {
        unpack_once("FUSE cannot be used here. ");
    }
    return run(words);
}

/* libsquashfuse of the building system asks for methods of compression that our image does not use. LZO's library is
   GPL alone and must not be linked; the others would only make this larger. It fails where they are asked for. */
int lzo1x_decompress_safe(const unsigned char *in, size_t size, unsigned char *out, size_t *made, void *work);
int lzo1x_decompress_safe(const unsigned char *in, size_t size, unsigned char *out, size_t *made, void *work) {
    (void)in, (void)size, (void)out, (void)made, (void)work;
    return -1;
}
int LZ4_decompress_safe(const char *in, char *out, int size, int room);
int LZ4_decompress_safe(const char *in, char *out, int size, int room) {
    (void)in, (void)out, (void)size, (void)room;
    return -1;
}
int lzma_stream_buffer_decode(void *, int, const void *, const void *, void *, size_t, void *, void *, size_t);
int lzma_stream_buffer_decode(void *limit, int flags, const void *own, const void *in, void *in_at, size_t in_size,
                              void *out, void *out_at, size_t out_size) {
    (void)limit, (void)flags, (void)own, (void)in, (void)in_at, (void)in_size, (void)out, (void)out_at, (void)out_size;
    return 11; /* LZMA_PROG_ERROR */
}
