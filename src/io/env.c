#include "io/io.h"

#include "base/mem.h"
#include "io/io_internal.h"
#include "io/mdns.h"

static atomic_size_t leaked;

static void on_wake(uv_async_t *wake)
{
    kith_io *io = wake->data;
    kith_io_posts_deliver(io);
    kith_io_work_deliver(io);
}

static kith_err loop_init(kith_io *io)
{
    int status = uv_loop_init(&io->loop);
    if (status) return kith_io_file_error(-status);
    io->loop_made = true;
    io->wake.data = io;
    status = uv_async_init(&io->loop, &io->wake, on_wake);
    return status ? kith_io_file_error(-status) : KITH_OK;
}

kith_err kith_io_new(kith_io **out)
{
    kith_io *io = kith_calloc(1, sizeof *io);
    if (!io) return KITH_ERR_NOMEM;
    io->env = (kith_env){
        .base = &kith_io_base,
        .timers = &kith_io_timer_table,
        .udp = &kith_io_udp_table,
        .tcp = &kith_io_tcp_table,
        .ws = &kith_io_ws_table,
        .net = &kith_io_net_table,
        .lan = &kith_io_lan,
        .file = &kith_io_file_table,
        .work = &kith_io_work_table,
        .post = &kith_io_post_table,
    };
    io->timers.fd = -1;
    kith_list_init(&io->posts.ready);
    kith_list_init(&io->lingering);
    kith_list_init(&io->ws_unsent);
    pthread_mutex_init(&io->posts.lock, NULL); /* with default attributes these cannot fail */
    pthread_mutex_init(&io->work.lock, NULL);
    pthread_cond_init(&io->work.more, NULL);
    kith_io_read_boot_id(io->boot_id);
    kith_err err = loop_init(io);
    if (!err) err = kith_io_timers_init(io);
    if (!err) err = kith_io_work_init(io);
    if (err) {
        kith_io_free(io);
        return err;
    }
    *out = io;
    return KITH_OK;
}

kith_env *kith_io_env(kith_io *io) { return &io->env; }
struct uv_loop_s *kith_io_loop(kith_io *io) { return &io->loop; }
size_t kith_io_objects(const kith_io *io) { return io->objects; }
size_t kith_io_leaked(void) { return atomic_load(&leaked); }

void kith_io_run(kith_io *io)
{
    while (!atomic_load(&io->stop) || io->objects) uv_run(&io->loop, UV_RUN_ONCE);
}

bool kith_io_stopping(const kith_io *io) { return atomic_load(&io->stop); }

void kith_io_stop(kith_io *io)
{
    atomic_store(&io->stop, true);
    uv_async_send(&io->wake);
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

void kith_io_free(kith_io *io)
{
    if (!io) return;
    if (io->loop_made) {
        while (io->work.jobs) uv_run(&io->loop, UV_RUN_ONCE);
        kith_io_work_done(io); /* the last to use `wake` */
        kith_io_tcp_done(io);
        /* Objects closed without a turn of the loop after it are let go of here; what is open afterwards was forgotten.
         */
        uv_walk(&io->loop, close_handle, NULL);
        while (uv_run(&io->loop, UV_RUN_DEFAULT)) {
        }
        uv_loop_close(&io->loop);
        atomic_fetch_add(&leaked, io->objects);
    }
    kith_io_timers_done(io);
    pthread_cond_destroy(&io->work.more);
    pthread_mutex_destroy(&io->work.lock);
    pthread_mutex_destroy(&io->posts.lock);
    kith_free(io->rx);
    kith_free(io);
}
