/* Telling systemd how a service is: sd_notify(3). */
#ifndef KITH_RELAY_NOTIFY_H
#define KITH_RELAY_NOTIFY_H

void system_notify(const char *state); /* where systemd listens; else nothing */

#endif
