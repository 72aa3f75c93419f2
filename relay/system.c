/* What is the system's: privileges, a filter of system calls, descriptors, systemd. */
#include "server.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

kith_err system_become(const char *user, char why[static KITH_RELAY_WHY_SIZE])
{
    if (geteuid() != 0) {
        if (!user) return KITH_OK;
        snprintf(why, KITH_RELAY_WHY_SIZE, "--user is for a relay that root starts");
        return KITH_ERR_ARG;
    }
    if (!user) user = "nobody";
    const struct passwd *p = getpwnam(user);
    if (!p) {
        snprintf(why, KITH_RELAY_WHY_SIZE, "--user: there is no user %.100s", user);
        return KITH_ERR_ARG;
    }
    if (p->pw_uid == 0) return KITH_OK;
    if (setgroups(1, &p->pw_gid) || setgid(p->pw_gid) || setuid(p->pw_uid) || setuid(0) == 0) {
        snprintf(why, KITH_RELAY_WHY_SIZE, "cannot become %.100s: %s", user, strerror(errno));
        return KITH_ERR_PERMISSION;
    }
    return KITH_OK;
}

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#endif

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define REFUSE(call)                                                                                                   \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

bool system_confine(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return false;
#ifdef OUR_ARCH
    struct sock_filter filter[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        REFUSE(SYS_execve),
        REFUSE(SYS_execveat),
#ifndef __SANITIZE_ADDRESS__ /* whose search for leaks, at the end, wants it */
        REFUSE(SYS_ptrace),
#endif
        REFUSE(SYS_process_vm_readv),
        REFUSE(SYS_process_vm_writev),
        REFUSE(SYS_mount),
        REFUSE(SYS_umount2),
        REFUSE(SYS_pivot_root),
        REFUSE(SYS_chroot),
        REFUSE(SYS_unshare),
        REFUSE(SYS_setns),
        REFUSE(SYS_bpf),
        REFUSE(SYS_perf_event_open),
        REFUSE(SYS_userfaultfd),
        REFUSE(SYS_io_uring_setup),
        REFUSE(SYS_keyctl),
        REFUSE(SYS_add_key),
        REFUSE(SYS_request_key),
        REFUSE(SYS_init_module),
        REFUSE(SYS_finit_module),
        REFUSE(SYS_kexec_load),
        REFUSE(SYS_open_by_handle_at),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    /* The threads that the workers may have begun are under it too. */
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
#else
    return true;
#endif
}

uint64_t system_set_files(uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return wanted;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : (rlim_t)wanted;
    return setrlimit(RLIMIT_NOFILE, &limit) ? limit.rlim_max : limit.rlim_cur;
}
