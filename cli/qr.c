#include "qr.h"

#include "output.h"

#include <qrencode.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MARGIN 2 /* light modules around it; the standard says 4, readers do with 2, and the terminal is small */

static bool dark(const QRcode *code, int x, int y)
{
    return x >= 0 && y >= 0 && x < code->width && y < code->width && (code->data[y * code->width + x] & 1);
}

/* Light is drawn, dark is left out: right on a dark terminal.  With colours it is right on every one. */
static void draw(const QRcode *code, bool colour)
{
    static const char *const blocks[] = {"█", "▄", "▀", " "}; /* by dark: none, above, below, both */
    for (int y = -MARGIN; y < code->width + MARGIN; y += 2) {
        fputs(colour ? "  \033[97;40m" : "  ", stderr);
        for (int x = -MARGIN; x < code->width + MARGIN; x++)
            fputs(blocks[dark(code, x, y) + 2 * (dark(code, x, y + 1) || y + 1 >= code->width + MARGIN)], stderr);
        fputs(colour ? "\033[0m\n" : "\n", stderr);
    }
}

void qr_draw(const char *text)
{
    struct winsize size;
    if (!out()->error_terminal || !out()->utf8 || out()->quiet || out()->json) return;
    QRcode *code = QRcode_encodeString(text, 0, QR_ECLEVEL_L, QR_MODE_8, 1);
    if (!code) return;
    bool fits =
        ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col == 0 || size.ws_col >= code->width + 2 * MARGIN + 2;
    if (fits) draw(code, out()->colour);
    QRcode_free(code);
}
