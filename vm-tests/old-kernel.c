/*
 * Runs the program behind argv[0] with ".real" as if an old kernel were running: with UNAME26 uname(2) calls every
 * kernel 2.6.x, so that no image holds modules for it.
 */
#include <stdio.h>
#include <sys/personality.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char real[4096];
    (void)argc;
    if (personality(UNAME26) < 0 || snprintf(real, sizeof real, "%s.real", argv[0]) >= (int)sizeof real)
        return 126;
    execv(real, argv);
    return 127;
}
