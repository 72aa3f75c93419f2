/* Pairing (service/pairing.h, service/code.h), checked exhaustively: a host that shows a code, a joiner to whom somebody
 * said it, and Eve, who has no code but guesses.  Eve dials the host, twice at the same time, or once and shows the
 * code's tag, too, so that the joiner dials her before it finds the host.  She sends whatever she can make of what she
 * knows: her own shares, tags and identity, and everything that she was sent, in any session, by anybody.  Between the
 * joiner and the host (session 0) Noise leaves her nothing but cutting the line, at any moment.
 *
 * CPace is symbolic.  A share belongs to the generator of its maker's words, session and identities; two sides whose
 * generators are the same have a key that nobody else has, all others have keys that nobody shares.  Eve's share holds
 * one guess: the right one gives her the key, a wrong one nothing.  A tag is of a key and of its maker's share.  What is
 * asserted:
 *
 *   1  who is pinned knew the code: Eve only with a right guess, the joiner only with the right words;
 *   2  a handshake tests one guess at most, and every guess that is tested at the host is counted, to LIMIT wrong ones;
 *   3  who says that it is done has been pinned by the other side, too;
 *   4  left alone, they pair; and whatever came of it, they can do so again.
 *
 * script/check-models docs/models/pairing.pml; each of these makes it find an error:
 * breaks: BREAK_BINDING BREAK_REFLECTION BREAK_ORDER BREAK_COUNT BREAK_PARALLEL BREAK_STORED BREAK_PROOF BREAK_AGAIN */
/* What holds unless it is broken on purpose. */
#ifdef BREAK_BINDING
#define HAS_BINDING false
#else
#define HAS_BINDING true
#endif
#ifdef BREAK_REFLECTION
#define HAS_REFLECTION false
#else
#define HAS_REFLECTION true
#endif
#ifdef BREAK_ORDER
#define HAS_ORDER false
#else
#define HAS_ORDER true
#endif
#ifdef BREAK_COUNT
#define HAS_COUNT false
#else
#define HAS_COUNT true
#endif
#ifdef BREAK_PARALLEL
#define HAS_PARALLEL false
#else
#define HAS_PARALLEL true
#endif
#ifdef BREAK_STORED
#define HAS_STORED false
#else
#define HAS_STORED true
#endif
#ifdef BREAK_PROOF
#define HAS_PROOF false
#else
#define HAS_PROOF true
#endif
#ifdef BREAK_AGAIN
#define HAS_AGAIN false
#else
#define HAS_AGAIN true
#endif

#define LIMIT    1 /* wrong guesses; there are attempts for one more */
#define SESSIONS 4
#define DIRECT   0 /* joiner to host; 1 and 2: Eve to host; 3: joiner to Eve */
#define TO_EVE   3

#define NOBODY 0
#define HOST   1
#define JOINER 2
#define EVE    3

/* shares, of one byte: the joiner's 1 + session, the host's 11 + session, Eve's */
#define SHARE_OF(host, s) ((host) * 10 + 1 + (s))
#define GUESS_RIGHT       20
#define GUESS_WRONG       21
#define IS_JOINERS(x)     ((x) < 11)
#define SESSION_OF(x)     (((x) - 1) % 10)

/* keys: with Eve, of two honest ones, of one's own reflected, of nobody else */
#define KEY_EVE(s)     (30 + (s))
#define KEY_PAIR(j, h) (100 + SESSION_OF(j) * 10 + SESSION_OF(h))
#define KEY_OWN(x)     (40 + (x))
#define KEY_ALONE(x)   (70 + (x))

mtype = {START, SHARE, PROOF, ANSWER, IDENTITY, STORED, FAIL}; /* {type, a, b}: share; key and share; key and whose */
chan to_host   = [6] of {mtype, byte, byte};
chan to_joiner = [6] of {mtype, byte, byte};

bool joiner_right; /* it was told the words that the host shows */
bool calm, cut;    /* nobody cuts; somebody did */
bool refused;      /* somebody was not let in, or a person said no */

byte failures, open_attempts;
bool used;
byte tested_in[SESSIONS], wrong_tested; /* guesses, and wrong ones at the host */
bool met;                               /* the joiner found the host */
byte done;                              /* how many of these two said that they are paired */

/* What Eve was sent. */
bool share_seen[SESSIONS];
byte tag_key[SESSIONS], tag_share[SESSIONS], seal_key[SESSIONS], seal_of[SESSIONS];

bool host_has[4], joiner_has[4]; /* pinned, by identity */
byte running;

/* The key of who has share `x` and got `y` in session s. */
inline agree(x, y, s, right, key)
{
    if
    :: y == GUESS_RIGHT -> key = KEY_EVE(s)
    :: y == x -> key = KEY_OWN(x)
    :: y != GUESS_RIGHT && y != GUESS_WRONG && y != x && IS_JOINERS(x) != IS_JOINERS(y) && joiner_right &&
       (!HAS_BINDING || SESSION_OF(x) == SESSION_OF(y)) ->
       if
       :: IS_JOINERS(x) -> key = KEY_PAIR(x, y)
       :: else -> key = KEY_PAIR(y, x)
       fi
    :: else -> key = KEY_ALONE(x)
    fi
}

inline say(type, a, b)
{
    if
    :: s == DIRECT && host && !cut -> to_joiner!type, a, b
    :: s == DIRECT && !host && !cut -> to_host!type, a, b
    :: s == DIRECT && cut
    :: s != DIRECT ->
       if
       :: type == START || type == SHARE -> share_seen[s] = true
       :: type == PROOF -> tag_key[s] = a; tag_share[s] = b
       :: type == IDENTITY -> seal_key[s] = a; seal_of[s] = b
       :: else
       fi
    fi
}

/* One message for this run into m, a, b; FAIL stands for a stream that is over, too. */
inline hear()
{
    if
    :: s == DIRECT && host && len(to_host) -> to_host?m, a, b
    :: s == DIRECT && !host && len(to_joiner) -> to_joiner?m, a, b
    :: s == DIRECT && cut -> m = FAIL
    :: s != DIRECT -> eve()
    fi
}

/* What Eve can make, at any time: of the messages that could be taken all that differ, else one that cannot. */
inline eve()
{
    a = 0;
    b = 0;
    if
    :: m = FAIL
    :: m = (host -> START : SHARE);
       if
       :: a = GUESS_RIGHT
       :: a = GUESS_WRONG
       :: select (i : 1 .. TO_EVE); /* somebody else's, or its own */
          if
          :: share_seen[i] -> a = SHARE_OF(i != TO_EVE, i)
          :: else -> m = FAIL
          fi
       fi
    :: m = PROOF;
       if
       :: peer_share == GUESS_RIGHT -> a = KEY_EVE(s); b = GUESS_RIGHT
       :: true /* made up: what a wrong guess comes to */
       :: select (i : 1 .. TO_EVE); a = tag_key[i]; b = tag_share[i]
       fi
    :: m = ANSWER
    :: m = IDENTITY;
       if
       :: peer_share == GUESS_RIGHT -> a = KEY_EVE(s); b = EVE
       :: select (i : 1 .. TO_EVE); a = seal_key[i]; b = seal_of[i]
       fi
    :: m = STORED
    fi;
    i = 0
}

/* ---- one attempt, on either side ---- */

#define AWAIT_START    1
#define AWAIT_SHARE    2
#define AWAIT_PROOF    3
#define AWAIT_ANSWER   4
#define AWAIT_IDENTITY 5
#define AWAIT_STORED   6
#define OVER           7

/* Eve learns whether the guess in her share was right. */
inline test_guess()
{
    if
    :: s != DIRECT && !tested_now ->
       tested_now = true;
       tested_in[s]++;
       wrong_tested = wrong_tested + (host && peer_share == GUESS_WRONG)
    :: else
    fi
}

inline prove()
{
    say(PROOF, key, share);
    test_guess() /* against the tag */
}

inline begin_attempt()
{
    if
    :: used || failures >= LIMIT || (HAS_PARALLEL && failures + open_attempts >= LIMIT) -> refused = true; at = OVER
    :: else -> counted = true; open_attempts++
    fi
}

inline end_attempt(wrong)
{
    if
    :: counted ->
       counted = false;
       open_attempts--;
       failures = failures + (HAS_COUNT && wrong)
    :: else
    fi
}

inline take_share()
{
    peer_share = a;
    if
    :: HAS_REFLECTION && a == share -> at = OVER /* our own, reflected */
    :: else ->
       agree(share, a, s, joiner_right, key);
       if
       :: host ->
          say(SHARE, share, 0);
          if
          :: !HAS_ORDER -> prove() /* the host first */
          :: else
          fi
       :: else -> prove()
       fi;
       at = AWAIT_PROOF
    fi
}

inline take_proof()
{
    if
    :: host -> test_guess() /* by what we say to it */
    :: else
    fi;
    if
    :: HAS_PROOF && (a != key || b != peer_share) -> end_attempt(host); at = OVER
    :: else ->
       if
       :: host && used -> refused = true; end_attempt(0); at = OVER /* somebody else was first */
       :: else ->
          end_attempt(0);
          if
          :: host -> used = true; prove()
          :: else
          fi;
          at = AWAIT_ANSWER;
          /* Nobody gets here who did not know the words. */
          assert(peer != EVE || peer_share == GUESS_RIGHT);
          assert(peer == EVE || joiner_right)
       fi
    fi
}

inline both_answered()
{
    if
    :: answered && peer_answered -> at = AWAIT_IDENTITY; say(IDENTITY, key, (host -> HOST : JOINER))
    :: else
    fi
}

inline take_stored()
{
    at = OVER;
    if
    :: s == DIRECT -> assert(host_has[JOINER] && joiner_has[HOST]); done++ /* on both sides */
    :: else
    fi
}

inline take_identity()
{
    if
    :: a != key || b != peer -> at = OVER /* sealed with another key, or by our own side, or somebody else's */
    :: else ->
       assert(peer != EVE || peer_share == GUESS_RIGHT);
       assert(peer == EVE || joiner_right);
       if
       :: !HAS_AGAIN && ((host && host_has[peer]) || (!host && joiner_has[peer])) -> at = OVER /* "there already" */
       :: else ->
          if
          :: host -> host_has[peer] = true
          :: else -> joiner_has[peer] = true
          fi;
          say(STORED, 0, 0);
          at = AWAIT_STORED;
          if
          :: !HAS_STORED -> take_stored() /* without waiting */
          :: else
          fi
       fi
    fi
}

inline find_host()
{
    met = true;
    running = running + 2;
    run attempt(true, DIRECT);
    run attempt(false, DIRECT)
}

proctype attempt(bool host; byte s)
{
    byte at = (host -> AWAIT_START : AWAIT_SHARE), share = SHARE_OF(host, s), key, peer_share, a, b, i;
    byte peer = (s != DIRECT -> EVE : (host -> JOINER : HOST));
    bool answered, peer_answered, counted, tested_now, proven; /* proven: the person was asked */
    mtype m;
    if
    :: !host -> atomic { say(START, share, 0) }
    :: else
    fi;
    do
    :: at == OVER -> break
    :: atomic { at == AWAIT_ANSWER && !answered -> /* the person is asked */
           proven = true;
           if
           :: answered = true; say(ANSWER, 0, 0); both_answered()
           :: refused = true; at = OVER
           fi }
    :: atomic { at != OVER && (s != DIRECT || cut || (host && len(to_host)) || (!host && len(to_joiner))) ->
           hear();
           if
           :: m == START && at == AWAIT_START ->
              begin_attempt();
              if
              :: at != OVER -> take_share()
              :: else
              fi
           :: m == SHARE && at == AWAIT_SHARE -> take_share()
           :: m == PROOF && at == AWAIT_PROOF -> take_proof()
           :: m == ANSWER && at == AWAIT_ANSWER && !peer_answered -> peer_answered = true; both_answered()
           :: m == IDENTITY && at == AWAIT_IDENTITY -> take_identity()
           :: m == STORED && at == AWAIT_STORED -> take_stored()
           :: else -> at = OVER
           fi;
           m = 0; a = 0; b = 0;
           assert(tested_in[s] <= 1);
           assert(wrong_tested <= LIMIT) }
    od;
    atomic {
        end_attempt(0);
        say(FAIL, 0, 0);
        if
        :: s == TO_EVE && !proven -> find_host() /* the next who shows the tag */
        :: else
        fi;
        running--
    }
}

/* Between the joiner and the host. */
proctype line()
{
    if
    :: atomic { !calm -> cut = true }
    :: calm || running == 0
    fi
}

init
{
    byte i;
    atomic {
        if
        :: joiner_right = true
        :: true
        fi;
        if
        :: calm = true
        :: true
        fi;
        run line();
        running = 2;
        run attempt(true, 1);
        if /* Eve is between the two, or twice at the host */
        :: run attempt(false, TO_EVE)
        :: run attempt(true, 2); find_host()
        fi
    }
    atomic { running == 0 ->
        assert(wrong_tested <= failures);
        assert(!(calm && met && joiner_right && !refused) || done == 2);
        assert(joiner_right || (!host_has[JOINER] && !joiner_has[HOST]));
        /* A new code, said right, and Eve has gone. */
        joiner_right = true;
        calm = true;
        cut = false;
        refused = false;
        used = false;
        failures = 0;
        wrong_tested = 0;
        done = 0;
        for (i : 0 .. SESSIONS - 1) {
            share_seen[i] = false;
            tag_key[i] = 0; tag_share[i] = 0;
            seal_key[i] = 0; seal_of[i] = 0;
            tested_in[i] = 0
        }
        i = 0;
        do
        :: len(to_host) -> to_host?_, _, _
        :: len(to_joiner) -> to_joiner?_, _, _
        :: else -> break
        od;
        find_host()
    }
    atomic { running == 0 -> assert(refused || done == 2) }
}
