/* lan-watch: announce one record on the local network and print what is seen there, one event a line, until SIGTERM:
 *     seen INSTANCE PORT STRING;STRING;... ADDRESS,ADDRESS,...     (in the order to dial)
 *     gone INSTANCE
 *     dropped COUNT           at the end, if any
 * SIGUSR1 opens the pairing code of --later-pair, or closes the one that is open; SIGUSR2 withdraws the record, or
 * announces it again. */
#include "base/mem.h"
#include "discovery/sightings.h"
#include "io/io.h"
#include "io/mdns.h"

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct watch {
    kith_io *io;
    kith_env *env;
    kith_lan *lan;
    void *post;
    atomic_bool end, toggle_pair, toggle_announce;
    bool announce;
    kith_txt txt;
    bool has_later;
    uint32_t later_tag;
    kith_lan_record record;
} watch;

static void print_text(const void *text, size_t size)
{
    char out[1024];
    fputs(kith_printable(text, size, out, sizeof out), stdout);
}

static void on_seen(void *user, const kith_lan_record *record)
{
    (void)user;
    printf("seen ");
    print_text(record->instance, strlen(record->instance));
    printf(" %u ", (unsigned)record->port);
    for (size_t at = 0; at < record->txt_size; at += 1 + (size_t)record->txt[at]) {
        if (at) putchar(';');
        print_text(record->txt + at + 1, record->txt[at]);
    }
    putchar(' ');
    kith_addr addrs[KITH_LAN_ADDRS_MAX];
    size_t count = kith_sightings_order(record->addrs, record->addr_count, addrs, KITH_LAN_ADDRS_MAX);
    for (size_t i = 0; i < count; i++) {
        char text[KITH_ADDR_TEXT_SIZE];
        printf("%s%s", i ? "," : "", kith_addr_text(&addrs[i], text));
    }
    putchar('\n');
}

static void on_gone(void *user, const char *instance)
{
    (void)user;
    printf("gone ");
    print_text(instance, strlen(instance));
    putchar('\n');
}

static void write_record(watch *w)
{
    w->record.txt_size = kith_txt_write(&w->txt, w->record.txt, sizeof w->record.txt);
}

static void on_signal(void *user)
{
    watch *w = user;
    if (atomic_exchange(&w->toggle_announce, false)) w->announce = !w->announce;
    if (atomic_exchange(&w->toggle_pair, false)) {
        w->txt.pairing = !w->txt.pairing;
        if (w->has_later) w->txt.tag = w->later_tag;
    }
    write_record(w);
    if (!atomic_load(&w->end)) {
        if (w->env->lan->update(w->lan, w->announce ? &w->record : NULL)) fputs("lan-watch: update failed\n", stderr);
        return;
    }
    uint64_t dropped = kith_io_lan_dropped(w->lan);
    if (dropped) printf("dropped %llu\n", (unsigned long long)dropped);
    w->env->lan->stop(w->lan);
    w->env->post->close(w->post);
    kith_io_stop(w->io);
}

static void *wait_for_signals(void *user)
{
    watch *w = user;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    for (int number = 0;;) {
        sigwait(&set, &number);
        if (number == SIGUSR1) atomic_store(&w->toggle_pair, true);
        if (number == SIGUSR2) atomic_store(&w->toggle_announce, true);
        bool end = number == SIGTERM || number == SIGINT;
        atomic_store(&w->end, end);
        w->env->post->post(w->post);
        if (end) return NULL;
    }
}

static uint32_t parse_tag(const char *text)
{
    char *end;
    unsigned long tag = strtoul(text, &end, 16);
    if (strlen(text) != 6 || *end || tag >> KITH_TXT_TAG_BITS) {
        fputs("lan-watch: a tag is 6 hex digits, 22 bits\n", stderr);
        exit(2);
    }
    return (uint32_t)tag;
}

static bool parse_options(int argc, char **argv, watch *w, const char **wanted, const char **instance)
{
    static const struct option options[] = {
        {"id", required_argument, NULL, 'i'},
        {"fp", required_argument, NULL, 'f'},
        {"pair", required_argument, NULL, 'p'},
        {"later-pair", required_argument, NULL, 'l'},
        {"port", required_argument, NULL, 'P'},
        {"want", required_argument, NULL, 'w'},
        {"instance", required_argument, NULL, 'n'},
        {"browse-only", no_argument, NULL, 'b'},
        {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'i' && kith_uuid_parse(optarg, w->txt.id)) return false;
        if (c == 'f' && kith_unhex(optarg, w->txt.fingerprint, sizeof w->txt.fingerprint)) return false;
        if (c == 'p') {
            w->txt.pairing = true;
            w->txt.tag = parse_tag(optarg);
        }
        if (c == 'l') {
            w->has_later = true;
            w->later_tag = parse_tag(optarg);
        }
        if (c == 'P') w->record.port = (uint16_t)strtoul(optarg, NULL, 10);
        if (c == 'w') *wanted = optarg;
        if (c == 'n') *instance = optarg;
        if (c == 'b') w->announce = false;
        if (c == '?') return false;
    }
    return optind == argc;
}

static kith_err start(watch *w, const char *wanted)
{
    static const kith_lan_events events = {on_seen, on_gone};
    kith_err err = KITH_OK;
    w->post = w->env->post->open(w->env, on_signal, w);
    if (!w->post) return KITH_ERR_NOMEM;
    err = w->env->lan->start(w->env, w->announce ? &w->record : NULL, &events, w, &w->lan);
    if (!err && wanted) w->env->lan->want(w->lan, &wanted, 1);
    return err;
}

int main(int argc, char **argv)
{
    watch w = {.announce = true, .record.port = 7000};
    const char *wanted = NULL, *instance = NULL;
    if (!parse_options(argc, argv, &w, &wanted, &instance)) {
        fputs("usage: lan-watch [--id UUID] [--fp HEX] [--pair TAG] [--later-pair TAG] [--port N] [--instance NAME]"
              " [--want PREFIX] [--browse-only]\n",
              stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL); /* all threads: one waits for them */
    if (kith_io_new(&w.io)) return 1;
    w.env = kith_io_env(w.io);
    uint16_t node;
    w.env->base->random(w.env, &node, sizeof node);
    if (instance)
        snprintf(w.record.instance, sizeof w.record.instance, "%s", instance);
    else
        kith_instance_name(w.txt.id, node, w.record.instance);
    write_record(&w);
    kith_err err = start(&w, wanted);
    if (err) {
        fprintf(stderr, "lan-watch: %s\n", kith_err_text(err));
        return 1;
    }
    pthread_t waiter;
    if (pthread_create(&waiter, NULL, wait_for_signals, &w)) return 1;
    kith_io_run(w.io);
    pthread_join(waiter, NULL);
    kith_io_free(w.io);
    if (kith_io_leaked() || kith_mem_live()) {
        fprintf(stderr, "lan-watch: %zu objects, %lld blocks leaked\n", kith_io_leaked(), (long long)kith_mem_live());
        return 1;
    }
    return 0;
}
