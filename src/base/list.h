/* An intrusive doubly linked list: put a kith_link into the element, a kith_list where the list begins.
 * All operations are O(1); an element is in at most one list per link. */
#ifndef KITH_BASE_LIST_H
#define KITH_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct kith_link {
    struct kith_link *next, *prev;
} kith_link;

typedef struct kith_list {
    kith_link head;
} kith_list;

/* The structure of which `link` is the member `member`. */
#define KITH_OF(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))
/* Visit each element; the body may remove `at`, nothing else. */
#define KITH_EACH(at, list)                                                                                            \
    for (kith_link *at = (list)->head.next, *at##_next = at->next; at != &(list)->head;                                \
         at = at##_next, at##_next = at->next)

static inline void kith_list_init(kith_list *list) { list->head.next = list->head.prev = &list->head; }
static inline bool kith_list_empty(const kith_list *list) { return list->head.next == &list->head; }
static inline kith_link *kith_list_first(kith_list *list) { return kith_list_empty(list) ? NULL : list->head.next; }

static inline void kith_list_append(kith_list *list, kith_link *link)
{
    link->prev = list->head.prev;
    link->next = &list->head;
    link->prev->next = link;
    list->head.prev = link;
}

static inline void kith_list_prepend(kith_list *list, kith_link *link)
{
    link->next = list->head.next;
    link->prev = &list->head;
    link->next->prev = link;
    list->head.next = link;
}

/* Removing what was never inserted (zeroed) or is removed already does nothing. */
static inline void kith_list_remove(kith_link *link)
{
    if (!link->next) return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = link->prev = NULL;
}

static inline kith_link *kith_list_take_first(kith_list *list)
{
    kith_link *link = kith_list_first(list);
    if (link) kith_list_remove(link);
    return link;
}

#endif
