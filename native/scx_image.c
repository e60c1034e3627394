/*
 * The scx program and its loader (scx/scx_loader.c), carried inside the shim of a packed
 * executable. A shim that was built without has none of it.
 */
#include "shim.h"

#include <stddef.h>

#ifdef SCX_LOADER_FILE
extern const char scx_image_begin[], scx_image_end[];

__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        ".hidden scx_image_begin\n"
        ".globl scx_image_begin\n"
        "scx_image_begin:\n"
        ".incbin \"" SCX_LOADER_FILE "\"\n"
        ".hidden scx_image_end\n"
        ".globl scx_image_end\n"
        "scx_image_end:\n"
        ".byte 0\n"
        ".popsection\n");
#endif

/* Bytes of the loader; 0 if there is none. */
SHIM_API double shim_scx_image_bytes(void)
{
#ifdef SCX_LOADER_FILE
    return (double)(scx_image_end - scx_image_begin);
#else
    return 0;
#endif
}

/* Where it is; NULL if there is none. */
SHIM_API const void *shim_scx_image(void)
{
#ifdef SCX_LOADER_FILE
    return scx_image_begin;
#else
    return NULL;
#endif
}
