/* The functions of wasmill.h in a component: between its types and those of the generated bindings. */
#ifdef __wasm__

#include "wasmill_internal.h"

#include <stdlib.h>
#include <string.h>

/* What the bindings would free is the arena's. */
#define free(pointer) ((void)(pointer))
#include "bindings/contract.c"
#undef free

/* The bindings ask for an object file with the contract. `wasmill componentize` adds it instead. */
void __component_type_object_force_link_contract(void) {}

/* ---- Types -------------------------------------------------------------------------------------------------------------- */

static contract_string_t lower(const char *text) {
    return (contract_string_t){ (uint8_t *)text, text == NULL ? 0 : strlen(text) };
}

static contract_option_string_t lower_option(const char *text) {
    return (contract_option_string_t){ .is_some = text != NULL, .val = lower(text) };
}

static const char *lift(contract_string_t text) {
    return (const char *)text.ptr;
}

static const char *lift_option(contract_option_string_t text) {
    return text.is_some ? lift(text.val) : NULL;
}

static const wasmill_pair *lift_pairs(contract_list_tuple2_string_string_t list) {
    wasmill_pair *pairs = wasmill_alloc(list.len * sizeof(wasmill_pair));
    for (size_t i = 0; i < list.len; i++) pairs[i] = (wasmill_pair){ lift(list.ptr[i].f0), lift(list.ptr[i].f1) };
    return pairs;
}

/* ---- The handler -------------------------------------------------------------------------------------------------------- */

/* stdout, if something of the program uses it; naming it must not link it. */
extern FILE *const used_stdout __asm__("stdout") __attribute__((__weak__));

static void log_by_line(void) {
    static bool is_set;
    if (is_set || &used_stdout == NULL) return;
    is_set = true;
    setvbuf(used_stdout, NULL, _IOLBF, 0);
}

static bool answer(wasmill_result result, exports_wasmill_handler_handler_failure_t *failure) {
    memset(failure, 0, sizeof *failure);
    switch (result.outcome) {
    case WASMILL_SUCCESS: return true;
    case WASMILL_RETRY:
        failure->tag = WASMILL_HANDLER_TYPES_FAILURE_RETRY;
        failure->val.retry.reason = lower(result.reason);
        failure->val.retry.after.is_some = result.after_ms > 0;
        failure->val.retry.after.val = result.after_ms;
        return false;
    case WASMILL_DEFER:
        failure->tag = WASMILL_HANDLER_TYPES_FAILURE_DEFER;
        failure->val.defer = result.after_ms;
        return false;
    case WASMILL_REJECT:
        failure->tag = WASMILL_HANDLER_TYPES_FAILURE_REJECT;
        failure->val.reject = lower(result.reason);
        return false;
    case WASMILL_THROTTLE:
        failure->tag = WASMILL_HANDLER_TYPES_FAILURE_THROTTLE;
        failure->val.throttle = result.after_ms;
        return false;
    }
    abort();
}

bool exports_wasmill_handler_handler_handle(exports_wasmill_handler_handler_delivery_t *given,
                                            exports_wasmill_handler_handler_failure_t *failure) {
    contract_list_u8_t data = given->message.data;
    wasmill_delivery delivery = {
        .id = lift(given->message.id),
        .topic = lift(given->message.topic),
        .key = lift_option(given->message.key),
        .content_type = lift_option(given->message.content_type),
        .headers = lift_pairs(given->message.headers),
        .headers_len = given->message.headers.len,
        .data = { (const char *)data.ptr, data.len },
        .published_at_ms = given->message.published_at,
        .queue = lift(given->queue),
        .sequence = given->sequence,
        .attempt = given->attempt,
        .max_attempts = given->max_attempts,
    };
    log_by_line();
    wasmill_forget_detail();
    bool is_ok = answer(wasmill_handle(&delivery), failure);
    fflush(NULL);
    wasmill_arena_done();
    return is_ok;
}

/* ---- Publish ------------------------------------------------------------------------------------------------------------ */

static wasmill_status publish_status(const wasmill_handler_producer_publish_error_t *error) {
    switch (error->tag) {
    case WASMILL_HANDLER_PRODUCER_PUBLISH_ERROR_INVALID_TOPIC:
        return wasmill_fail(WASMILL_INVALID_TOPIC, lift(error->val.invalid_topic));
    case WASMILL_HANDLER_PRODUCER_PUBLISH_ERROR_INVALID_MESSAGE:
        return wasmill_fail(WASMILL_INVALID_MESSAGE, lift(error->val.invalid_message));
    default: {
        unsigned long long max = error->val.too_large;
        return wasmill_fail(WASMILL_TOO_LARGE, wasmill_format("at most %llu bytes", max));
    }
    }
}

wasmill_status wasmill_publish(const wasmill_outgoing *message, const char **id) {
    contract_tuple2_string_string_t *headers = wasmill_alloc(message->headers_len * sizeof *headers);
    for (size_t i = 0; i < message->headers_len; i++) {
        headers[i].f0 = lower(message->headers[i].name);
        headers[i].f1 = lower(message->headers[i].value);
    }
    wasmill_handler_producer_outgoing_t outgoing = {
        .topic = lower(message->topic),
        .key = lower_option(message->key),
        .content_type = lower_option(message->content_type),
        .headers = { headers, message->headers_len },
        .data = { (uint8_t *)message->data.ptr, message->data.len },
        .delay = { message->delay_ms > 0, message->delay_ms },
        .expires_after = { message->expires_after_ms > 0, message->expires_after_ms },
    };
    contract_string_t given;
    wasmill_handler_producer_publish_error_t error;
    if (!wasmill_handler_producer_publish(&outgoing, &given, &error)) return publish_status(&error);
    if (id != NULL) *id = lift(given);
    return WASMILL_OK;
}

/* ---- State -------------------------------------------------------------------------------------------------------------- */

static wasmill_status state_status(bool is_ok, const wasmill_handler_state_state_error_t *error) {
    if (is_ok) return WASMILL_OK;
    switch (error->tag) {
    case WASMILL_HANDLER_STATE_STATE_ERROR_INVALID_KEY: return wasmill_fail(WASMILL_INVALID_KEY, lift(error->val.invalid_key));
    case WASMILL_HANDLER_STATE_STATE_ERROR_TOO_LARGE: {
        unsigned long long max = error->val.too_large;
        return wasmill_fail(WASMILL_TOO_LARGE, wasmill_format("at most %llu bytes", max));
    }
    case WASMILL_HANDLER_STATE_STATE_ERROR_NOT_AN_INTEGER: return wasmill_fail(WASMILL_NOT_AN_INTEGER, "");
    default: return wasmill_fail(WASMILL_UNAVAILABLE, lift(error->val.unavailable));
    }
}

wasmill_status wasmill_state_get(const char *key, wasmill_bytes *value) {
    contract_string_t name = lower(key);
    contract_option_list_u8_t found = { 0 };
    wasmill_handler_state_state_error_t error;
    bool is_ok = wasmill_handler_state_get(&name, &found, &error);
    *value = is_ok && found.is_some ? (wasmill_bytes){ (const char *)found.val.ptr, found.val.len } : (wasmill_bytes){ NULL, 0 };
    return state_status(is_ok, &error);
}

wasmill_status wasmill_state_set(const char *key, wasmill_bytes value) {
    contract_string_t name = lower(key);
    contract_list_u8_t bytes = { (uint8_t *)value.ptr, value.len };
    wasmill_handler_state_state_error_t error;
    return state_status(wasmill_handler_state_set(&name, &bytes, &error), &error);
}

wasmill_status wasmill_state_delete(const char *key) {
    contract_string_t name = lower(key);
    wasmill_handler_state_state_error_t error;
    return state_status(wasmill_handler_state_delete(&name, &error), &error);
}

wasmill_status wasmill_state_exists(const char *key, bool *exists) {
    contract_string_t name = lower(key);
    wasmill_handler_state_state_error_t error;
    return state_status(wasmill_handler_state_exists(&name, exists, &error), &error);
}

wasmill_status wasmill_state_increment(const char *key, int64_t delta) {
    contract_string_t name = lower(key);
    wasmill_handler_state_state_error_t error;
    return state_status(wasmill_handler_state_increment(&name, delta, &error), &error);
}

wasmill_status wasmill_state_list_keys(const char *prefix, const char *after, wasmill_key_page *page) {
    contract_string_t begin = lower(prefix), behind = lower(after);
    wasmill_handler_state_key_page_t found;
    wasmill_handler_state_state_error_t error;
    *page = (wasmill_key_page){ 0 };
    bool is_ok = wasmill_handler_state_list_keys(&begin, after == NULL ? NULL : &behind, &found, &error);
    if (!is_ok) return state_status(false, &error);
    const char **keys = wasmill_alloc(found.keys.len * sizeof *keys);
    for (size_t i = 0; i < found.keys.len; i++) keys[i] = lift(found.keys.ptr[i]);
    *page = (wasmill_key_page){ keys, found.keys.len, lift_option(found.next) };
    return WASMILL_OK;
}

/* ---- Configuration. The host has it in memory: its errors never come. ----------------------------------------------------- */

const char *wasmill_config(const char *key) {
    contract_string_t name = lower(key);
    contract_option_string_t found;
    wasi_config_store_error_t error;
    return wasi_config_store_get(&name, &found, &error) ? lift_option(found) : NULL;
}

size_t wasmill_config_all(const wasmill_pair **values) {
    contract_list_tuple2_string_string_t found;
    wasi_config_store_error_t error;
    if (!wasi_config_store_get_all(&found, &error)) return 0;
    *values = lift_pairs(found);
    return found.len;
}

#endif
