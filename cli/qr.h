#ifndef KITH_CLI_QR_H
#define KITH_CLI_QR_H

/* Draw the text as a QR picture on standard error, two rows of it a line of half blocks; nothing where it cannot be
 * drawn or fit. */
void qr_draw(const char *text);

#endif
