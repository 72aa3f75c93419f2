/* kith.h's node: its beginning and its end. */
#include "api/internal.h"
#include "api/visit.h"

#include "base/mem.h"
#include "crypto/secret.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void on_closed(void *user)
{
    kith_node *node = user;
    node->env->post->close(node->post);
    node->post = NULL;
    kith__line_close(node->line);
    node->line = NULL;
    kith__desk_set_core(node->desk, NULL);
    kith_core_free(node->core);
    node->core = NULL;
    kith__door_free(node->door);
    node->door = NULL;
    kith_io_stop(node->io);
}

void kith__api_close(kith_node *node)
{
    if (node->core)
        kith_core_close(node->core, on_closed, node);
    else
        on_closed(node);
}

static void *thread_main(void *user)
{
    kith_node *node = user;
    kith_io_run(node->io);
    return NULL;
}

/* The application's signals stay with its own threads. */
static kith_err start_thread(kith_node *node)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&node->thread, NULL, thread_main, node);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    node->running = !failed;
    return failed ? KITH_ERR_NOMEM : KITH_OK;
}

static kith_err open_pipe(kith_node *node)
{
    if (pipe(node->wake)) {
        node->wake[0] = node->wake[1] = -1;
        return KITH_ERR_LIMIT;
    }
    for (size_t i = 0; i < 2; i++) {
        if (fcntl(node->wake[i], F_SETFL, O_NONBLOCK)) return KITH_ERR_INTERNAL;
        if (fcntl(node->wake[i], F_SETFD, FD_CLOEXEC)) return KITH_ERR_INTERNAL;
    }
    return KITH_OK;
}

static bool keep(char **place, const char *text)
{
    if (text) *place = kith_strdup(text);
    return !text || *place;
}

static kith_err keep_relays(kith_node *node, const kith_options *options, kith_problem *problem)
{
    if (options->relay_count > KITH_OPTIONS_RELAYS_MAX) {
        snprintf(problem->message, sizeof problem->message, "at most %d relays can be used", KITH_OPTIONS_RELAYS_MAX);
        return KITH_ERR_LIMIT;
    }
    bool kept = keep(&node->relay_token, options->relay_token) && keep(&node->relay_ca_file, options->relay_ca_file);
    for (size_t i = 0; i < options->relay_count && kept; i++) kept = keep(&node->relays[i], options->relays[i]);
    return kept ? KITH_OK : KITH_ERR_NOMEM;
}

static kith_err open_core(kith_node *node, const kith_options *options, bool listen_is_wish, kith_problem *problem)
{
    kith_core_config config = {
        .env = node->env,
        .home = node->home,
        .seed = node->seed,
        .listen_is_wish = listen_is_wish,
        .no_lan = options->no_lan,
        .relays = (const char *const *)node->relays,
        .relay_count = options->relay_count,
        .relay_token = node->relay_token,
        .relay_ca_file = node->relay_ca_file,
        .log_level = options->log_level,
        .log = options->log,
        .log_user = options->log_user,
        .emit = kith__desk_event,
        .emit_user = node->desk,
        .talk = &kith__desk_talk,
    };
    if (options->listen && kith_addr_parse(options->listen, &config.listen)) {
        snprintf(problem->message, sizeof problem->message,
                 "\"%s\" is no address to listen on: write ADDR:PORT, such as 0.0.0.0:7777", options->listen);
        return KITH_ERR_ARG;
    }
    kith_err err = kith_core_new(&config, &node->core, problem);
    if (!err) kith__desk_set_core(node->desk, node->core);
    return err;
}

static const desk_sink sink = {.event = kith__api_event, .talk = &kith__api_talk};

static kith_err open_desk(kith_node *node)
{
    kith_err err = kith__desk_new(&kith__api_host, node, &node->desk);
    if (err) return err;
    node->self = kith__desk_join(node->desk, &sink, node, true);
    return node->self ? KITH_OK : KITH_ERR_NOMEM;
}

/* The daemon's, if it is to be one: NOT_FOUND where none runs. */
static kith_err attach(kith_node *node, const kith_options *options, kith_problem *problem)
{
    int fd = -1;
    if (!(node->daemon = kith_calloc(1, sizeof *node->daemon))) return KITH_ERR_NOMEM;
    kith_err err = kith__line_find(options->home, options->daemon_patience_ms, &fd, node->daemon, problem);
    if (!err) err = kith_io_new(&node->io);
    if (!err) node->env = kith_io_env(node->io);
    if (!err) err = kith__line_open(node->env, fd, &sink, node, &node->line);
    if (err && fd >= 0) close(fd);
    if (!err) return KITH_OK;
    kith_free(node->daemon);
    node->daemon = NULL;
    return err;
}

/* With what the options and, where they leave something out, the home's settings say. */
static kith_err open_with(kith_node *node, kith_options options, kith_problem *problem)
{
    api_settings settings = {.token = NULL};
    kith_err err = kith__settings_take(node, &options, &settings, problem);
    if (!err) err = keep_relays(node, &options, problem);
    if (!err) err = open_desk(node);
    if (!err) err = open_core(node, &options, settings.listen_is_wish, problem);
    kith__settings_done(&settings);
    return err;
}

static kith_err open_own(kith_node *node, const kith_options *options, kith_problem *problem)
{
    kith_err err = kith_io_new(&node->io);
    if (!err) node->env = kith_io_env(node->io);
    if (!err) node->since_ms = node->env->base->wall_ms(node->env);
    if (!err) err = kith_home_open(node->env, options->home, &node->home);
    if (!err && options->device_file) err = kith_home_refer(node->home, options->device_file, problem);
    if (!err && options->password) {
        kith_bytes password = {options->password, options->password_size};
        err = kith_home_unlock(node->home, password, &node->seed, problem);
    }
    if (!err) err = open_with(node, *options, problem);
    if (!err) node->local = kith_core_local(node->core);
    return err;
}

static kith_err fill(kith_node *node, const kith_options *options, kith_problem *problem)
{
    kith_err err = open_pipe(node), attached = KITH_ERR_NOT_FOUND;
    if (!err && options->daemon != KITH_DAEMON_NEVER) {
        attached = attach(node, options, problem);
        bool own = attached == KITH_ERR_NOT_FOUND && options->daemon == KITH_DAEMON_IF_THERE;
        err = own ? KITH_OK : attached;
        if (own) *problem = (kith_problem){0};
    }
    if (!err && attached) err = open_own(node, options, problem);
    if (!err && !(node->post = node->env->post->open(node->env, kith__commands_run, node))) err = KITH_ERR_NOMEM;
    if (!err) err = start_thread(node);
    return err;
}

kith_err kith_open(const kith_options *options, kith_node **out, kith_problem *problem)
{
    kith_options taken = {0};
    kith_node *node = NULL;
    if (!out || !problem) return kith__visit_refuse(problem);
    *problem = (kith_problem){0};
    kith_err err = kith__options_take(&taken, sizeof taken, options) && taken.home ? KITH_OK : KITH_ERR_ARG;
    if (!err && !(node = kith_calloc(1, sizeof *node))) err = KITH_ERR_NOMEM;
    if (node) {
        pthread_mutex_init(&node->lock, NULL);
        node->commands_end = &node->commands;
        kith_list_init(&node->views);
        node->wake[0] = node->wake[1] = -1;
        err = fill(node, &taken, problem);
    }
    if (!err) {
        *out = node;
        return KITH_OK;
    }
    problem->err = err;
    if (!*problem->message) snprintf(problem->message, sizeof problem->message, "%s", kith_err_text(err));
    kith_close(node);
    return err;
}

void kith_close(kith_node *node)
{
    if (!node) return;
    if (node->running) {
        node->closing = (command){.closing = true};
        if (kith__command_issue(node, &node->closing, true, NULL) == KITH_OK) pthread_join(node->thread, NULL);
    } else if (node->io) {
        if (node->post) node->env->post->close(node->post);
        kith__line_close(node->line);
        kith_core_free(node->core);
        kith_io_stop(node->io);
        kith_io_run(node->io); /* what was opened closes in the loop */
    }
    kith__commands_free(node);
    kith__desk_set_core(node->desk, NULL);
    kith__desk_leave(node->self);
    kith__desk_free(node->desk);
    kith__events_free(node);
    kith__views_free(node);
    kith_home_close(node->home);
    kith_secret_free(node->seed);
    kith_io_free(node->io);
    for (size_t i = 0; i < 2; i++)
        if (node->wake[i] >= 0) close(node->wake[i]);
    for (size_t i = 0; i < KITH_OPTIONS_RELAYS_MAX; i++) kith_free(node->relays[i]);
    kith_free(node->relay_token);
    kith_free(node->relay_ca_file);
    kith_free(node->daemon);
    pthread_mutex_destroy(&node->lock);
    kith_free(node);
}
