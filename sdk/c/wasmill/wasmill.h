/* Handlers for Wasmill in C.
 *
 *     #include "wasmill.h"
 *
 *     static wasmill_result on_quake(const wasmill_delivery *delivery) {
 *         WASMILL_TRY(wasmill_state_increment("seen", 1));
 *         if (delivery->data.len == 0) return wasmill_reject("no data");
 *         WASMILL_TRY(wasmill_publish_text("alerts", delivery->key, "a quake"));
 *         return wasmill_ok();
 *     }
 *     WASMILL_HANDLER(on_quake)
 *
 * Memory: all that Wasmill gives you lives until the handler returns, and Wasmill frees it then: the delivery, what state and
 * configuration hold, answers, what wasmill_alloc and wasmill_format made. All that you give is only read during the call.
 * So there is nothing to free. What shall live longer, as a cache, comes from malloc.
 *
 * Text is UTF-8. Every string ends with a zero byte, and wasmill_bytes have one behind them that `len` does not count.
 *
 * printf and stderr go to the host's log, line by line. */
#ifndef WASMILL_H
#define WASMILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define WASMILL_PRINTF(format, arguments) __attribute__((__format__(__printf__, format, arguments)))
#else
#define WASMILL_PRINTF(format, arguments)
#endif

typedef struct wasmill_bytes {
    const char *ptr; /* NULL: there is nothing, which is not the same as an empty value */
    size_t len;
} wasmill_bytes;

typedef struct wasmill_pair {
    const char *name;
    const char *value;
} wasmill_pair;

/* One message for this handler, now. */
typedef struct wasmill_delivery {
    const char *id;
    const char *topic;
    const char *key;          /* NULL when there is none */
    const char *content_type; /* NULL when there is none */
    const wasmill_pair *headers; /* in their order; names are lower case and may repeat */
    size_t headers_len;
    wasmill_bytes data;
    uint64_t published_at_ms; /* since 1970 */
    const char *queue;
    uint64_t sequence;     /* its place in the queue, from 1 */
    uint32_t attempt;      /* which run of this delivery, from 1 */
    uint32_t max_attempts; /* when `attempt` equals it, a further retry quarantines */
} wasmill_delivery;

/* The first header of that name (in lower case), or NULL. */
const char *wasmill_header(const wasmill_delivery *delivery, const char *name);

/* ---- What a handler answers ------------------------------------------------------------------------------------------- */

typedef enum wasmill_outcome {
    WASMILL_SUCCESS,  /* done, together with all that was published and stored */
    WASMILL_RETRY,    /* all of that is void; again later; uses up an attempt */
    WASMILL_DEFER,    /* void; again after `after_ms`; uses up no attempt */
    WASMILL_REJECT,   /* void; in quarantine at once */
    WASMILL_THROTTLE, /* void; nothing of this message's key for `after_ms`; uses up no attempt */
} wasmill_outcome;

typedef struct wasmill_result {
    wasmill_outcome outcome;
    uint64_t after_ms;  /* of a retry 0: as the consumer's policy says */
    const char *reason; /* of retry and reject; else NULL */
} wasmill_result;

wasmill_result wasmill_ok(void);
wasmill_result wasmill_retry(const char *reason, ...) WASMILL_PRINTF(1, 2);
wasmill_result wasmill_retry_after(uint64_t after_ms, const char *reason, ...) WASMILL_PRINTF(2, 3);
wasmill_result wasmill_defer(uint64_t after_ms);
wasmill_result wasmill_reject(const char *reason, ...) WASMILL_PRINTF(1, 2);
wasmill_result wasmill_throttle(uint64_t after_ms);

/* Make `function` the handler of this component. Once, in one file. */
#define WASMILL_HANDLER(function) \
    wasmill_result wasmill_handle(const wasmill_delivery *delivery) { return function(delivery); }

wasmill_result wasmill_handle(const wasmill_delivery *delivery);

/* ---- What can go wrong ------------------------------------------------------------------------------------------------ */

typedef enum wasmill_status {
    WASMILL_OK,
    WASMILL_INVALID_TOPIC,   /* publish: empty words, wildcards, over 255 bytes */
    WASMILL_INVALID_MESSAGE, /* publish: the key, the content type or a header */
    WASMILL_TOO_LARGE,       /* data, a value of state, or an answer by HTTP */
    WASMILL_INVALID_KEY,     /* state: keys are 1 to 255 bytes */
    WASMILL_NOT_AN_INTEGER,  /* state: the value to increment is none */
    WASMILL_UNAVAILABLE,     /* state: the host could not read its store; let the delivery run again */
    WASMILL_INVALID_CONFIG,  /* configuration: the value is no number */
    WASMILL_HTTP_INVALID,    /* the URL, the method or a header is none */
    WASMILL_HTTP_DENIED,     /* the operator does not let this handler go there */
    WASMILL_HTTP_TIMED_OUT,
    WASMILL_HTTP_FAILED,
} wasmill_status;

/* Its name, such as "invalid-topic". */
const char *wasmill_status_name(wasmill_status status);
/* What went wrong last in this delivery, in the host's words; "" when there are none. */
const char *wasmill_detail(void);
/* A retry that says what went wrong. */
wasmill_result wasmill_failed(const char *doing, wasmill_status status);

/* Return from the handler with a retry when a call did not work. */
#define WASMILL_TRY(call) \
    do { \
        wasmill_status wasmill_status_ = (call); \
        if (wasmill_status_ != WASMILL_OK) return wasmill_failed(#call, wasmill_status_); \
    } while (0)

/* ---- Publish ---------------------------------------------------------------------------------------------------------- */

/* A message to be published when, and only when, this delivery commits. Leave out what you do not need. */
typedef struct wasmill_outgoing {
    const char *topic;
    const char *key;
    const char *content_type;
    const wasmill_pair *headers;
    size_t headers_len;
    wasmill_bytes data;
    uint64_t delay_ms;         /* 0: at once */
    uint64_t expires_after_ms; /* 0: never */
} wasmill_outgoing;

/* `id` may be NULL; it is the same in each attempt of this delivery. */
wasmill_status wasmill_publish(const wasmill_outgoing *message, const char **id);
/* `key` may be NULL. */
wasmill_status wasmill_publish_text(const char *topic, const char *key, const char *text);

/* ---- State: durable keys and values of this handler, stored when this delivery commits ---------------------------------- */

/* `value->ptr` is NULL when there is none. */
wasmill_status wasmill_state_get(const char *key, wasmill_bytes *value);
wasmill_status wasmill_state_set(const char *key, wasmill_bytes value);
wasmill_status wasmill_state_delete(const char *key);
wasmill_status wasmill_state_exists(const char *key, bool *exists);
/* Of a decimal number; a missing key counts as 0. It reads nothing, so it never conflicts with another increment. */
wasmill_status wasmill_state_increment(const char *key, int64_t delta);

typedef struct wasmill_key_page {
    const char *const *keys; /* in ascending order of their bytes, at most 1,000 */
    size_t keys_len;
    const char *next; /* give it to the next call as `after`; NULL: this was the last page */
} wasmill_key_page;

/* `after` is NULL for the first page. */
wasmill_status wasmill_state_list_keys(const char *prefix, const char *after, wasmill_key_page *page);

/* ---- Configuration, and secrets by their names -------------------------------------------------------------------------- */

/* NULL when there is none. */
const char *wasmill_config(const char *key);
/* `otherwise` when there is none. */
wasmill_status wasmill_config_number(const char *key, double otherwise, double *number);
/* All of them but secrets. Answers how many. */
size_t wasmill_config_all(const wasmill_pair **values);

/* ---- Memory and text ---------------------------------------------------------------------------------------------------- */

/* Never NULL: a handler that has no memory left ends. It is zero. */
void *wasmill_alloc(size_t bytes);
char *wasmill_format(const char *format, ...) WASMILL_PRINTF(1, 2);
/* The bytes of a string, without a copy. */
wasmill_bytes wasmill_text(const char *text);
bool wasmill_is_utf8(wasmill_bytes bytes);

#ifdef __cplusplus
}
#endif
#endif
