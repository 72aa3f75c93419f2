/* The cases of test_api_talk.c, with each node a daemon and the application a program attached to it. */
#define THROUGH_DAEMON
#include "test_api_talk.c"
