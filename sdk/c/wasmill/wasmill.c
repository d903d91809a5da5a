/* What needs no host: memory, answers, text. */
#include "wasmill_internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory ------------------------------------------------------------------------------------------------------------- */

#define BLOCK_BYTES ((size_t)64 * 1024)
#define ALIGNMENT ((size_t)16)

typedef struct block {
    struct block *next;
    size_t used, size;
    _Alignas(16) char data[];
} block;

/* The newest first. */
static block *blocks;

static block *add_block(size_t bytes) {
    size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
    block *made = malloc(sizeof(block) + size);
    if (made == NULL) {
        fputs("wasmill: no memory left\n", stderr);
        abort();
    }
    made->next = blocks;
    made->used = 0;
    made->size = size;
    blocks = made;
    return made;
}

void *wasmill_alloc(size_t bytes) {
    if (bytes > SIZE_MAX / 2) abort();
    bytes = (bytes + ALIGNMENT) & ~(ALIGNMENT - 1); /* at least one, so that every place is another */
    block *current = blocks;
    if (current == NULL || current->size - current->used < bytes) current = add_block(bytes);
    void *given = current->data + current->used;
    current->used += bytes;
    return memset(given, 0, bytes);
}

/* What went wrong last; it may be the arena's. */
static const char *last_detail = "";

void wasmill_forget_detail(void) {
    last_detail = "";
}

/* One block of the usual size stays for the next delivery. */
void wasmill_arena_reset(void) {
    wasmill_forget_detail();
    block *kept = NULL;
    while (blocks != NULL) {
        block *next = blocks->next;
        if (kept == NULL && blocks->size == BLOCK_BYTES) kept = blocks;
        else free(blocks);
        blocks = next;
    }
    if (kept != NULL) {
        kept->next = NULL;
        kept->used = 0;
    }
    blocks = kept;
}

static bool is_done;

void wasmill_arena_done(void) {
    is_done = true;
}

#ifdef __wasm__
/* All that the host gives comes by this function: from the arena, and with a zero byte behind it, so that text is a C string.
 * It takes the place of the weak ones in the bindings. */
__attribute__((__export_name__("cabi_realloc")))
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t new_size) {
    (void)align; /* at most 8, and the arena's is 16 */
    if (is_done) wasmill_arena_reset();
    is_done = false;
    void *given = wasmill_alloc(new_size + 1);
    if (old != NULL && old_size > 0) memcpy(given, old, old_size < new_size ? old_size : new_size);
    return given;
}
#endif

/* ---- Text --------------------------------------------------------------------------------------------------------------- */

wasmill_bytes wasmill_text(const char *text) {
    return (wasmill_bytes){ text, text == NULL ? 0 : strlen(text) };
}

/* How many bytes the character at `text` has; 0 when it is none. The table of RFC 3629. */
static size_t character(const unsigned char *text, size_t len) {
    unsigned char first = text[0];
    if (first < 0x80) return 1;
    size_t bytes = first >= 0xc2 && first <= 0xdf ? 2 : (first & 0xf0) == 0xe0 ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
    if (bytes == 0 || bytes > len) return 0;
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (text[1] < low || text[1] > high) return 0;
    for (size_t i = 2; i < bytes; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    return bytes;
}

bool wasmill_is_utf8(wasmill_bytes bytes) {
    for (size_t at = 0; at < bytes.len;) {
        size_t step = character((const unsigned char *)bytes.ptr + at, bytes.len - at);
        if (step == 0) return false;
        at += step;
    }
    return true;
}

static char *format_list(const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, arguments);
    char *text = wasmill_alloc(len < 0 ? 1 : (size_t)len + 1);
    if (len > 0) vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}

char *wasmill_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = format_list(format, arguments);
    va_end(arguments);
    return text;
}

/* A reason that is not UTF-8 would end the attempt as a trap, and hide what it says. */
static const char *reason_list(const char *format, va_list arguments) {
    char *text = format_list(format, arguments);
    size_t len = strlen(text);
    for (size_t at = 0; at < len;) {
        size_t step = character((const unsigned char *)text + at, len - at);
        if (step == 0) text[at] = '?';
        at += step == 0 ? 1 : step;
    }
    return text;
}

/* ---- Answers ------------------------------------------------------------------------------------------------------------ */

wasmill_result wasmill_ok(void) {
    return (wasmill_result){ .outcome = WASMILL_SUCCESS };
}

wasmill_result wasmill_retry(const char *reason, ...) {
    va_list arguments;
    va_start(arguments, reason);
    const char *text = reason_list(reason, arguments);
    va_end(arguments);
    return (wasmill_result){ .outcome = WASMILL_RETRY, .reason = text };
}

wasmill_result wasmill_retry_after(uint64_t after_ms, const char *reason, ...) {
    va_list arguments;
    va_start(arguments, reason);
    const char *text = reason_list(reason, arguments);
    va_end(arguments);
    return (wasmill_result){ .outcome = WASMILL_RETRY, .after_ms = after_ms, .reason = text };
}

wasmill_result wasmill_defer(uint64_t after_ms) {
    return (wasmill_result){ .outcome = WASMILL_DEFER, .after_ms = after_ms };
}

wasmill_result wasmill_reject(const char *reason, ...) {
    va_list arguments;
    va_start(arguments, reason);
    const char *text = reason_list(reason, arguments);
    va_end(arguments);
    return (wasmill_result){ .outcome = WASMILL_REJECT, .reason = text };
}

wasmill_result wasmill_throttle(uint64_t after_ms) {
    return (wasmill_result){ .outcome = WASMILL_THROTTLE, .after_ms = after_ms };
}

/* ---- What went wrong ---------------------------------------------------------------------------------------------------- */

wasmill_status wasmill_fail(wasmill_status status, const char *detail) {
    last_detail = detail == NULL ? "" : detail;
    return status;
}

const char *wasmill_detail(void) {
    return last_detail;
}

const char *wasmill_status_name(wasmill_status status) {
    switch (status) {
    case WASMILL_OK: return "ok";
    case WASMILL_INVALID_TOPIC: return "invalid-topic";
    case WASMILL_INVALID_MESSAGE: return "invalid-message";
    case WASMILL_TOO_LARGE: return "too-large";
    case WASMILL_INVALID_KEY: return "invalid-key";
    case WASMILL_NOT_AN_INTEGER: return "not-an-integer";
    case WASMILL_UNAVAILABLE: return "unavailable";
    case WASMILL_INVALID_CONFIG: return "invalid-config";
    case WASMILL_HTTP_INVALID: return "http-invalid";
    case WASMILL_HTTP_DENIED: return "http-denied";
    case WASMILL_HTTP_TIMED_OUT: return "http-timed-out";
    case WASMILL_HTTP_FAILED: return "http-failed";
    }
    return "unknown";
}

wasmill_result wasmill_failed(const char *doing, wasmill_status status) {
    const char *between = *last_detail == '\0' ? "" : ": ";
    return wasmill_retry("%s: %s%s%s", doing, wasmill_status_name(status), between, last_detail);
}

/* ---- Made of the rest --------------------------------------------------------------------------------------------------- */

const char *wasmill_header(const wasmill_delivery *delivery, const char *name) {
    for (size_t i = 0; i < delivery->headers_len; i++)
        if (strcmp(delivery->headers[i].name, name) == 0) return delivery->headers[i].value;
    return NULL;
}

wasmill_status wasmill_publish_text(const char *topic, const char *key, const char *text) {
    wasmill_outgoing message = { .topic = topic, .key = key, .content_type = "text/plain", .data = wasmill_text(text) };
    return wasmill_publish(&message, NULL);
}

wasmill_status wasmill_config_number(const char *key, double otherwise, double *number) {
    const char *text = wasmill_config(key);
    *number = otherwise;
    if (text == NULL) return WASMILL_OK;
    char *end;
    *number = strtod(text, &end);
    if (end != text && *end == '\0') return WASMILL_OK;
    return wasmill_fail(WASMILL_INVALID_CONFIG, wasmill_format("%s is configured as '%s', which is no number", key, text));
}
