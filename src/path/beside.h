/* Which of a peer's addresses are dialled over TCP, and when, beside a connection over datagrams that has no direct way
 * or could do with a cheaper one.  A state machine: it dials nothing, and does not know whose the addresses are.
 *
 * - They are tried in the order given, KITH_BESIDE_STAGGER_NS apart (RFC 8305, section 5), KITH_BESIDE_AT_ONCE at once.
 * - The first of the two sides waits KITH_BESIDE_FIRST_NS, since datagrams that find a direct way do so within that;
 *   the other one as long again and more, so that mostly only one side dials.
 * - When all have failed, or what came of it is lost, it begins again, ever more seldom.
 *
 * What a peer says of its addresses is data: KITH_BESIDE_MAX of them, and no more attempts than these. */
#ifndef KITH_PATH_BESIDE_H
#define KITH_PATH_BESIDE_H

#include "base/addr.h"

#define KITH_BESIDE_MAX        24
#define KITH_BESIDE_AT_ONCE    4
#define KITH_BESIDE_STAGGER_NS UINT64_C(250000000)
#define KITH_BESIDE_FIRST_NS   UINT64_C(500000000)
#define KITH_BESIDE_SECOND_NS  UINT64_C(1500000000)
#define KITH_BESIDE_TRY_NS     UINT64_C(3000000000)   /* what is not connected by then has failed */
#define KITH_BESIDE_AGAIN_NS   UINT64_C(5000000000)   /* until the next round, doubling */
#define KITH_BESIDE_AGAIN_MAX  UINT64_C(600000000000) /* up to this */
#define KITH_BESIDE_STEADY_NS  UINT64_C(60000000000)  /* what lasted for so long and is lost was worth it */
#define KITH_BESIDE_REFUSED_NS UINT64_C(500000000)    /* until what could not be begun is tried again */

typedef struct kith_beside {
    struct {
        kith_addr addr;
        bool named, due, trying;
    } places[KITH_BESIDE_MAX];
    size_t count, trying;
    bool first, wanted, there;
    uint64_t not_before_ns, begun_ns; /* the last attempt */
    uint64_t again_ns, again_after_ns, there_ns;
} kith_beside;

void kith_beside_init(kith_beside *b, bool first);
/* These, the likeliest first, and no others.  One that is new makes a round begin. */
void kith_beside_offer(kith_beside *b, const kith_addr *addrs, size_t count, uint64_t now_ns);
void kith_beside_anew(kith_beside *b, uint64_t now_ns); /* the network is another: what failed may do */
void kith_beside_want(kith_beside *b, bool wanted);     /* at first it is not */
/* Something came of it, by whoever dialled; or it is gone again. */
void kith_beside_there(kith_beside *b, bool there, uint64_t now_ns);
/* An address to dial now; false: none. */
bool kith_beside_next(kith_beside *b, kith_addr *out, uint64_t now_ns);
void kith_beside_refused(kith_beside *b, const kith_addr *addr, uint64_t now_ns); /* it could not be begun */
void kith_beside_over(kith_beside *b, const kith_addr *addr, uint64_t now_ns);    /* the attempt is, however it ended */
uint64_t kith_beside_deadline_ns(const kith_beside *b);                           /* UINT64_MAX: none */

#endif
