/* Mailboxes: names under which strangers reach a registered client. */
#include "relay/hub_internal.h"

#include "base/mem.h"

mailbox *mailbox_find(const kith_hub *hub, uint32_t tag)
{
    uint64_t hash = kith_table_hash(&hub->tags, &tag, sizeof tag);
    for (kith_table_link *at = kith_table_first(&hub->tags, hash); at; at = kith_table_next(at)) {
        mailbox *box = KITH_OF(at, mailbox, link);
        if (box->tag == tag) return box;
    }
    return NULL;
}

static void say_state(kith_hub_client *client, uint32_t tag, kith_relay_mailbox_state state, uint64_t now_ns)
{
    queue_message(client, &(kith_relay_message){.type = KITH_RELAY_MAILBOX, .tag = tag, .mailbox = {state}}, now_ns);
}

static void limited(kith_hub_client *client, uint32_t tag, uint64_t now_ns)
{
    client->hub->stats.mailboxes_limited++;
    queue_message(client,
                  &(kith_relay_message){
                      .type = KITH_RELAY_RATE_LIMITED,
                      .tag = tag,
                      .rate_limited = {KITH_RELAY_LIMIT_MAILBOXES, client->hub->settings.mailbox_ms, .has_tag = true}},
                  now_ns);
}

static void end(mailbox *box)
{
    kith_hub *hub = box->client->hub;
    kith_table_remove(&hub->tags, &box->link);
    kith_list_remove(&box->in_client);
    kith_list_remove(&box->aging);
    box->client->mailbox_count--;
    box->client->source->mailboxes--;
    hub->stats.mailboxes--;
    kith_free(box);
}

void mailbox_open(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    const kith_relay_settings *s = &hub->settings;
    mailbox *box = mailbox_find(hub, m->tag);
    if (box) {
        if (box->client != client) hub->stats.mailboxes_taken++;
        say_state(client, m->tag,
                  box->client == client ? KITH_RELAY_MAILBOX_STATE_OPEN : KITH_RELAY_MAILBOX_STATE_TAKEN, now_ns);
        return;
    }
    bool full = hub->stats.mailboxes >= s->mailboxes || client->mailbox_count >= s->mailboxes_per_client ||
                client->source->mailboxes >= s->mailboxes_per_address;
    box = full ? NULL : kith_calloc(1, sizeof *box);
    if (!box) {
        limited(client, m->tag, now_ns);
        return;
    }
    box->client = client;
    box->tag = m->tag;
    box->made_ns = now_ns;
    kith_table_add(&hub->tags, &box->link, kith_table_hash(&hub->tags, &box->tag, sizeof box->tag));
    kith_list_append(&client->mailboxes, &box->in_client);
    kith_list_append(&hub->mailboxes, &box->aging);
    client->mailbox_count++;
    client->source->mailboxes++;
    hub->stats.mailboxes++;
    hub->stats.mailboxes_opened++;
    say_state(client, m->tag, KITH_RELAY_MAILBOX_STATE_OPEN, now_ns);
}

void mailbox_close(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns)
{
    mailbox *box = mailbox_find(client->hub, m->tag);
    if (box && box->client == client) end(box);
    say_state(client, m->tag, KITH_RELAY_MAILBOX_STATE_CLOSED, now_ns);
}

void mailbox_end_all(kith_hub_client *client)
{
    while (!kith_list_empty(&client->mailboxes)) end(KITH_OF(kith_list_first(&client->mailboxes), mailbox, in_client));
}

uint64_t mailbox_deadline(const kith_hub *hub)
{
    if (kith_list_empty(&hub->mailboxes)) return UINT64_MAX;
    return KITH_OF(hub->mailboxes.head.next, mailbox, aging)->made_ns + hub->settings.mailbox_ms * NS_PER_MS;
}

void mailbox_expire(kith_hub *hub, uint64_t now_ns)
{
    while (mailbox_deadline(hub) <= now_ns) {
        mailbox *box = KITH_OF(kith_list_first(&hub->mailboxes), mailbox, aging);
        kith_hub_client *client = box->client;
        uint32_t tag = box->tag;
        end(box);
        say_state(client, tag, KITH_RELAY_MAILBOX_STATE_CLOSED, now_ns);
    }
}
