/* Ctrl-C and its kin: the first asks the command to stop cleanly, the second ends it at once. */
#ifndef KITH_CLI_INTERRUPT_H
#define KITH_CLI_INTERRUPT_H

#include <stdbool.h>

bool interrupt_start(void);
bool interrupted(void);
int interrupt_fd(void); /* readable since the first signal, and for ever after */

/* From here on (`on`), or not any more: the first ends the command at once, too, and says that nothing was changed. */
void interrupt_ends_at_once(bool on);

#endif
