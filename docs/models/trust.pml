/* The trust graph's rules for revoking (identity/graph.h), checked exhaustively: three devices, 0 admitted before 1
 * before 2.  One of them is stolen: whoever has it signs what it likes and says of each record what it likes that it
 * knew of (its past), and never has the recovery code.  The others revoke the stolen one, once each, when they please, and the
 * holder of the code, at any of them, resets once, leaving it out.  Records reach devices in any order that brings a
 * record's past with it.
 *
 *   script/check-models docs/models/trust.pml
 *
 * Records are bits: 3 * signer + target a revocation (at most one of each), 9 the reset. */
#define DEVICES 3
#define RECORDS 10
#define RESET   9
#define BIT(r)  (1 << (r))
#define HAS(set, r) (((set) >> (r)) & 1)
#define REV(s, t)   (3 * (s) + (t))

byte stolen;         /* which */
short made;          /* records there are */
short past[RECORDS]; /* of each: what its author said it knew, with all that leads to that */
short heard[DEVICES];
short counts;        /* of judge(): revocations that count */
byte members;        /* of judge() */

/* What a set of records comes to, as kith_graph_judge has it.  `set` has the past of all that it has. */
inline judge(set)
{
    byte s, t, w;
    bool ok;
    counts = 0;
    members = 7;
    if
    :: HAS(set, RESET) -> members = 7 & ~(1 << stolen) /* the roster; who is not in it signs nothing that counts */
    :: else
    fi;
    for (s : 0 .. DEVICES - 1) { /* in order of admission: what counts so far is by earlier devices */
        for (t : 0 .. DEVICES - 1) {
            ok = s != t && HAS(set, REV(s, t)) && (HAS(members, s) || !HAS(set, RESET));
            /* after a reset, only what knows of it is of the epoch */
            if
            :: HAS(set, RESET) && !HAS(past[REV(s, t)], RESET) -> ok = false
            :: else
            fi;
            for (w : 0 .. DEVICES - 1) {
                if
                :: w < s && HAS(counts, REV(w, s)) && (!HAS(past[REV(w, s)], REV(s, t)) || w == t) -> ok = false
                :: else
                fi
            }
            if
            :: ok -> counts = counts | BIT(REV(s, t))
            :: else
            fi
        }
    }
    for (s : 0 .. DEVICES - 1) {
        for (t : 0 .. DEVICES - 1) {
            if
            :: HAS(counts, REV(s, t)) -> members = members & ~(1 << t)
            :: else
            fi
        }
    }
}

/* What must hold of every set that an honest device can have. */
inline check(set)
{
    byte h;
    d_step {
        judge(set);
        for (h : 0 .. DEVICES - 1) {
            if
            :: h != stolen ->
                /* Revoked by who was admitted earlier, or left out by the code's holder, it is out, whatever it signs. */
                assert(!(h < stolen && HAS(set, REV(h, stolen))) || HAS(set, RESET) || !HAS(members, stolen));
                /* And what it signs then counts only if who revoked it knew. */
                assert(!(h < stolen && HAS(set, REV(h, stolen)) && !HAS(set, RESET)) ||
                       (counts & (7 << (3 * stolen)) & ~past[REV(h, stolen)]) == 0);
                /* With the code the others are in, whatever was signed against them. */
                assert(!HAS(set, RESET) || HAS(members, h));
                /* Nobody is out but by the thief's doing, and then by a record of the set. */
                assert(HAS(members, h) || HAS(set, REV(stolen, h)));
                /* Its answer to a later admitted thief is the last word. */
                assert(!(h < stolen && HAS(set, REV(h, stolen))) || !HAS(counts, REV(stolen, h)))
            :: else
            fi
        }
        assert(!HAS(set, RESET) || !HAS(members, stolen));
        members = 0; /* so that states do not differ by it */
        counts = 0;
        h = 0
    }
}

/* An honest device: it knows what it has heard. */
proctype device(byte me)
{
    byte r;
    do
    :: atomic { !HAS(made, REV(me, stolen)) ->
           past[REV(me, stolen)] = heard[me];
           made = made | BIT(REV(me, stolen));
           heard[me] = heard[me] | BIT(REV(me, stolen));
           check(heard[me])
       }
    :: atomic { !HAS(made, RESET) ->
           past[RESET] = heard[me];
           made = made | BIT(RESET);
           heard[me] = heard[me] | BIT(RESET);
           check(heard[me])
       }
    :: atomic { made & ~heard[me] -> /* one more comes, with what leads to it */
           select (r : 0 .. RECORDS - 1);
           if
           :: HAS(made, r) && !HAS(heard[me], r) ->
               heard[me] = heard[me] | past[r] | BIT(r);
               r = 0;
               check(heard[me])
           :: else -> r = 0
           fi
       }
    od
}

/* The thief: any revocation, with any past that can be named. */
proctype thief()
{
    byte t, r;
    short knows;
    do
    :: atomic { select (t : 0 .. DEVICES - 1);
           if
           :: t != stolen && !HAS(made, REV(stolen, t)) ->
               knows = 0;
               for (r : 0 .. RECORDS - 1) {
                   if
                   :: HAS(made, r) -> knows = knows | past[r] | BIT(r)
                   :: true
                   fi
               }
               past[REV(stolen, t)] = knows;
               made = made | BIT(REV(stolen, t))
           :: else
           fi;
           t = 0; r = 0; knows = 0
       }
    od
}

init
{
    byte i;
    atomic {
        select (i : 0 .. DEVICES - 1);
        stolen = i;
        for (i : 0 .. DEVICES - 1) {
            if
            :: i != stolen -> run device(i)
            :: else
            fi
        }
        i = 0;
        run thief()
    }
}
