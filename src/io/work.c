/* A small pool of our own: libuv's belongs to the whole process, which may keep it busy with name look-ups. */
#include "io/io_internal.h"

#include <signal.h>

static void push(kith_io_queue *queue, kith_job *job)
{
    job->reserved[0] = NULL;
    if (queue->last) {
        queue->last->reserved[0] = job;
    } else {
        queue->first = job;
    }
    queue->last = job;
}

static kith_job *pop(kith_io_queue *queue)
{
    kith_job *job = queue->first;
    if (!job) return NULL;
    queue->first = job->reserved[0];
    if (!queue->first) queue->last = NULL;
    return job;
}

static void *worker(void *argument)
{
    kith_io *io = argument;
    kith_io_work *work = &io->work;
    pthread_mutex_lock(&work->lock);
    for (;;) {
        kith_job *job = pop(&work->waiting);
        if (!job) {
            if (work->quit) break;
            pthread_cond_wait(&work->more, &work->lock);
            continue;
        }
        pthread_mutex_unlock(&work->lock);
        job->run(job);
        pthread_mutex_lock(&work->lock);
        if (!work->finished.first) uv_async_send(&io->wake);
        push(&work->finished, job);
    }
    pthread_mutex_unlock(&work->lock);
    return NULL;
}

static void work_submit(kith_env *env, kith_job *job)
{
    kith_io *io = kith_io_of(env);
    io->objects++;
    io->work.jobs++;
    pthread_mutex_lock(&io->work.lock);
    push(&io->work.waiting, job);
    pthread_mutex_unlock(&io->work.lock);
    pthread_cond_signal(&io->work.more);
}

/* Those finished by now; jobs that finish meanwhile wake the loop again. */
void kith_io_work_deliver(kith_io *io)
{
    pthread_mutex_lock(&io->work.lock);
    kith_io_queue finished = io->work.finished;
    io->work.finished = (kith_io_queue){0};
    pthread_mutex_unlock(&io->work.lock);
    for (kith_job *job; (job = pop(&finished));) {
        io->objects--;
        io->work.jobs--;
        job->done(job); /* the job is the caller's again, from its first line */
    }
}

const kith_env_work kith_io_work_table = {work_submit};

kith_err kith_io_work_init(kith_io *io)
{
    /* Signals are for the program's own threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = 0;
    while (!status && io->work.thread_count < KITH_IO_WORKERS) {
        status = pthread_create(&io->work.threads[io->work.thread_count], NULL, worker, io);
        if (status) break;
        pthread_setname_np(io->work.threads[io->work.thread_count++], "kith-work");
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status ? KITH_ERR_LIMIT : KITH_OK;
}

void kith_io_work_done(kith_io *io)
{
    pthread_mutex_lock(&io->work.lock);
    io->work.quit = true;
    pthread_mutex_unlock(&io->work.lock);
    pthread_cond_broadcast(&io->work.more);
    while (io->work.thread_count) pthread_join(io->work.threads[--io->work.thread_count], NULL);
}
