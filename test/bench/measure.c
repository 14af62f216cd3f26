/*
 * What one program costs, measured around fork and exit; static, so that it runs in an initramfs of nothing else.
 *
 *   measure run RESULTS LABEL PROGRAM [ARGUMENT]...
 *       appends "LABEL NANOSECONDS IDLE-NANOSECONDS CPU-MICROSECONDS PEAK-KIB PAGE-FAULTS WAITS STATUS" to the file
 *       RESULTS. Idle is what the processors had nothing to do meanwhile: on a machine with one, the time of waiting.
 *   measure resident RESULTS LABEL PROGRAM [ARGUMENT]...
 *       appends "LABEL KIB STATUS": what is resident when the program exits, counted page by page. The kernel keeps
 *       the peak of `run` in steps of up to 128 KiB for each kind of page (percpu_counter).
 *   measure settle RESULTS LABEL ATTEMPTS
 *       for QEMU's -icount shift=0, where an instruction is a nanosecond: repeats a known loop until it reads as its
 *       own length and not as that and the work of kernel threads; appends "LABEL NANOSECONDS INSTRUCTIONS ATTEMPTS".
 *
 * The exit status is that of the program that was run.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOP_ROUNDS 5000000L
/* A subtraction and a jump. */
#define LOOP_INSTRUCTIONS (2 * LOOP_ROUNDS)

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

static long long nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long microseconds(struct timeval time)
{
    return time.tv_sec * 1000000LL + time.tv_usec;
}

/* How long the processors have idled since the boot, by /proc/timer_list, which only root may read. */
static long long idle_nanoseconds(void)
{
    char line[256];
    long long sum = 0, found;
    FILE *file = fopen("/proc/timer_list", "re");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, " .idle_sleeptime : %lld", &found) == 1 || sscanf(line, " .iowait_sleeptime : %lld", &found) == 1)
            sum += found;
    }
    if (file)
        fclose(file);
    return sum;
}

static int exit_status(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static FILE *append_to(const char *path)
{
    FILE *file = fopen(path, "ae");
    if (!file)
        fail(path);
    return file;
}

static int run(const char *results, const char *label, char **program)
{
    struct rusage usage;
    int status;
    long long idle = idle_nanoseconds();
    long long start = nanoseconds();
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        execv(program[0], program);
        _exit(127);
    }
    if (wait4(child, &status, 0, &usage) != child)
        fail("wait4");
    long long elapsed = nanoseconds() - start;
    idle = idle_nanoseconds() - idle;
    FILE *out = append_to(results);
    fprintf(out, "%s %lld %lld %lld %ld %ld %ld %d\n", label, elapsed, idle,
            microseconds(usage.ru_utime) + microseconds(usage.ru_stime), usage.ru_maxrss, usage.ru_minflt,
            usage.ru_nvcsw, exit_status(status));
    fclose(out);
    return exit_status(status);
}

/* Rss of /proc/PID/smaps_rollup. */
static long resident_kib(pid_t pid)
{
    char path[64], line[256];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        fail(path);
    while (kib < 0 && fgets(line, sizeof line, file))
        sscanf(line, "Rss: %ld", &kib);
    fclose(file);
    return kib;
}

/* The child stops at its exec and, by PTRACE_O_TRACEEXIT, once more when it exits, with its memory still there. */
static int resident(const char *results, const char *label, char **program)
{
    long kib = -1;
    int status;
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execv(program[0], program);
        _exit(127);
    }
    if (waitpid(child, &status, 0) != child)
        fail("waitpid");
    if (WIFSTOPPED(status))
        ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL);
    while (WIFSTOPPED(status)) {
        int stop = WSTOPSIG(status);
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8))
            kib = resident_kib(child);
        ptrace(PTRACE_CONT, child, 0, stop == SIGTRAP ? 0 : stop);
        if (waitpid(child, &status, 0) != child)
            fail("waitpid");
    }
    FILE *out = append_to(results);
    fprintf(out, "%s %ld %d\n", label, kib, exit_status(status));
    fclose(out);
    return exit_status(status);
}

static long long known_loop(void)
{
    long rounds = LOOP_ROUNDS;
    long long start = nanoseconds();
    __asm__ volatile("1: sub $1, %0\n\tjnz 1b" : "+r"(rounds) : : "cc");
    return nanoseconds() - start;
}

/* One part in fifty: the timer's interrupts are less. */
static void settle(const char *results, const char *label, int attempts)
{
    long long read = 0;
    int attempt = 0;
    do
        read = known_loop();
    while (++attempt < attempts && llabs(read - LOOP_INSTRUCTIONS) > LOOP_INSTRUCTIONS / 50);
    FILE *out = append_to(results);
    fprintf(out, "%s %lld %ld %d\n", label, read, LOOP_INSTRUCTIONS, attempt);
    fclose(out);
}

int main(int argc, char **argv)
{
    if (argc >= 5 && strcmp(argv[1], "run") == 0)
        return run(argv[2], argv[3], argv + 4);
    if (argc >= 5 && strcmp(argv[1], "resident") == 0)
        return resident(argv[2], argv[3], argv + 4);
    if (argc == 5 && strcmp(argv[1], "settle") == 0) {
        settle(argv[2], argv[3], atoi(argv[4]));
        return 0;
    }
    fprintf(stderr, "usage: measure run|resident RESULTS LABEL PROGRAM [ARGUMENT]... | settle RESULTS LABEL ATTEMPTS\n");
    return 2;
}
