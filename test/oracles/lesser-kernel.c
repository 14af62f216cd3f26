/*
 * lesser-kernel LACKS COMMAND...: runs COMMAND under a kernel that lacks what the letters of LACKS name, by answering its
 * fsconfig(2) and mount_setattr(2) as such a kernel does:
 *
 *   f   EROFS mounts no files, only block devices: ENOTBLK when one is to be mounted (before Linux 6.12, or without
 *       CONFIG_EROFS_FS_BACKED_BY_FILE)
 *   a   overlayfs knows no lowerdir+ and datadir+ (before 6.7)
 *   v   overlayfs knows no verity (before 6.6)
 *   o   overlayfs is from before the mount API: takes every option, and refuses when it is mounted (before 6.5)
 *   m   no mount_setattr(2) (before 5.12)
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_FDS 64
static char type_of[MAX_FDS][16];
static int has_file[MAX_FDS];
static const char *lacks;

static int lack(char letter)
{
    return strchr(lacks, letter) != NULL;
}

static void text_at(pid_t child, unsigned long address, char *text, size_t room)
{
    memset(text, 0, room);
    for (size_t at = 0; address && at + sizeof(long) < room; at += sizeof(long)) {
        long word = ptrace(PTRACE_PEEKDATA, child, address + at, NULL);
        memcpy(text + at, &word, sizeof word);
        if (memchr(&word, 0, sizeof word))
            return;
    }
}

/* What the call is answered with instead of being made; 1: it is made. */
static long answer(pid_t child, const struct user_regs_struct *regs)
{
    char key[64], value[64];
    unsigned fd = regs->rdi;
    if (regs->orig_rax == SYS_mount_setattr)
        return lack('m') ? -ENOSYS : 1;
    if (regs->orig_rax != SYS_fsconfig || fd >= MAX_FDS)
        return 1;
    text_at(child, regs->rdx, key, sizeof key);
    text_at(child, regs->rsi == 1 ? regs->r10 : 0, value, sizeof value);
    int creates = regs->rsi == 6;
    if (!strcmp(type_of[fd], "erofs")) {
        if (!strcmp(key, "source"))
            has_file[fd] = !strncmp(value, "/proc/self/fd/", 14);
        return creates && has_file[fd] && lack('f') ? -ENOTBLK : 1;
    }
    if (strcmp(type_of[fd], "overlay"))
        return 1;
    if (lack('o'))
        return creates ? -EINVAL : 0;
    if (lack('a') && (!strcmp(key, "lowerdir+") || !strcmp(key, "datadir+")))
        return -EINVAL;
    return lack('v') && !strcmp(key, "verity") ? -EINVAL : 1;
}

static int follow(pid_t child)
{
    int status, entering = 1;
    long instead = 1;
    struct user_regs_struct regs;
    char type[16] = "";
    while (waitpid(child, &status, 0) == child && !WIFEXITED(status)) {
        if (WIFSIGNALED(status))
            return 128 + WTERMSIG(status);
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            ptrace(PTRACE_GETREGS, child, NULL, &regs);
            if (entering) {
                instead = answer(child, &regs);
                type[0] = 0;
                if (regs.orig_rax == SYS_fsopen)
                    text_at(child, regs.rdi, type, sizeof type);
                if (instead != 1) {
                    regs.orig_rax = -1;
                    ptrace(PTRACE_SETREGS, child, NULL, &regs);
                }
            } else if (instead != 1) {
                regs.rax = instead;
                ptrace(PTRACE_SETREGS, child, NULL, &regs);
            } else if (type[0] && regs.rax < MAX_FDS) {
                strcpy(type_of[regs.rax], type);
                has_file[regs.rax] = 0;
            }
            entering = !entering;
        }
        ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    }
    return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 126;
    lacks = argv[1];
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    waitpid(child, NULL, 0);
    ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC);
    ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    return follow(child);
}
