/* A service of one's own: requests and responses on a topic.
 *     custom_service HOME                      answer: each text comes back in upper case
 *     custom_service HOME DEVICE TEXT...       ask, print the answers in order
 * The home's password is in $KITH_PASSWORD. */
#include <kith/kith.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOPIC "org.kith.example.upper/1"

static kith_node *node;

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "custom_service: %s: %s\n", what, why);
    return 1;
}

/* One request, one response: messages keep their order, so that nothing needs a number. */
static kith_err respond(const kith_event *request)
{
    const char *in = request->data;
    char *out = malloc(request->data_size + 1);
    if (!out) return KITH_ERR_NOMEM;
    for (size_t i = 0; i < request->data_size; i++) out[i] = (char)toupper((unsigned char)in[i]);
    kith_err err = kith_send_message(node, request->op, out, request->data_size);
    free(out);
    return err;
}

static int serve(void)
{
    kith_op op;
    kith_event event;
    if (kith_serve(node, TOPIC, NULL, &op)) return fail("cannot serve", TOPIC);
    for (;;) {
        kith_wait_event(node, -1, &event);
        if (event.kind == KITH_EVENT_INCOMING) printf("%s asks\n", event.device.name);
        /* Who does not take his responses is cut off; a service that waits instead would do so for WRITABLE. */
        if (event.kind == KITH_EVENT_MESSAGE && respond(&event)) kith_cancel(node, event.op);
        if (event.kind == KITH_EVENT_END && event.op == op) return fail("ended", event.message);
        fflush(stdout);
    }
}

static int ask(const char *device_id, char **texts, size_t count)
{
    kith_op op;
    kith_event event;
    kith_connect_options options = {.size = sizeof options, .topic = TOPIC, .patience_s = 30};
    kith_err err = kith_connect(node, device_id, &options, &op);
    for (size_t i = 0; !err && i < count; i++) err = kith_send_message(node, op, texts[i], strlen(texts[i]));
    if (err) return fail("cannot ask", kith_err_text(err));
    for (size_t answers = 0;;) {
        kith_wait_event(node, -1, &event);
        if (event.kind == KITH_EVENT_END) return event.err ? fail("ended", event.message) : 0;
        if (event.kind != KITH_EVENT_MESSAGE) continue;
        printf("%.*s\n", (int)event.data_size, (const char *)event.data);
        if (++answers == count && kith_finish(node, op)) return fail("cannot finish", "out of memory");
    }
}

int main(int argc, char **argv)
{
    const char *password = getenv("KITH_PASSWORD");
    kith_problem problem;
    kith_device_info device;
    if (argc < 2 || argc == 3 || !password)
        return fail("usage", "KITH_PASSWORD=... custom_service HOME [DEVICE TEXT...]");
    kith_options options = {
        .size = sizeof options, .home = argv[1], .password = password, .password_size = strlen(password)};
    if (kith_open(&options, &node, &problem)) return fail("cannot open the home", problem.message);
    if (argc > 2 && kith_find(argv[1], argv[2], &device, &problem)) return fail(argv[2], problem.message);
    int status = argc > 2 ? ask(device.id, argv + 3, (size_t)argc - 3) : serve();
    kith_close(node);
    return status;
}
