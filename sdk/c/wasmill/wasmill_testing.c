#ifndef __wasm__

#include "wasmill_testing.h"

#include "wasmill_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* More than a unit test should need; one that passes it ends with a message. */
#define ITEMS_MAX 1000

typedef struct item {
    const char *key; /* NULL: deleted */
    wasmill_bytes value;
} item;

static item state[ITEMS_MAX];
static size_t state_len;
static wasmill_pair config[ITEMS_MAX];
static size_t config_len;
static wasmill_outgoing published[ITEMS_MAX];
static size_t published_len;
static wasmill_request requests[ITEMS_MAX];
static size_t requests_len;
static wasmill_response answers[ITEMS_MAX];
static size_t answers_len;

static size_t next(size_t *len, const char *what) {
    if (*len == ITEMS_MAX) {
        fprintf(stderr, "wasmill_testing: more than %d %s; call wasmill_testing_reset in each test\n", ITEMS_MAX, what);
        abort();
    }
    return (*len)++;
}

void wasmill_testing_reset(void) {
    state_len = config_len = published_len = requests_len = answers_len = 0;
    wasmill_arena_reset();
}

/* ---- Copies: the handler's own memory may be gone when the test looks ----------------------------------------------------- */

static wasmill_bytes copy(wasmill_bytes bytes) {
    if (bytes.ptr == NULL) return bytes;
    char *text = wasmill_alloc(bytes.len + 1);
    if (bytes.len > 0) memcpy(text, bytes.ptr, bytes.len);
    return (wasmill_bytes){ text, bytes.len };
}

static const char *copy_text(const char *text) {
    return copy(wasmill_text(text)).ptr;
}

static const wasmill_pair *copy_pairs(const wasmill_pair *pairs, size_t len) {
    wasmill_pair *copies = wasmill_alloc(len * sizeof *copies);
    for (size_t i = 0; i < len; i++) copies[i] = (wasmill_pair){ copy_text(pairs[i].name), copy_text(pairs[i].value) };
    return copies;
}

/* ---- What a test sets and asks -------------------------------------------------------------------------------------------- */

void wasmill_testing_config(const char *key, const char *value) {
    config[next(&config_len, "values of configuration")] = (wasmill_pair){ key, value };
}

void wasmill_testing_set_state(const char *key, const char *value) {
    wasmill_state_set(key, wasmill_text(value));
}

const char *wasmill_testing_state(const char *key) {
    wasmill_bytes value;
    wasmill_state_get(key, &value);
    return value.ptr;
}

wasmill_result wasmill_testing_deliver(const char *topic, const char *text) {
    return wasmill_testing_deliver_it((wasmill_delivery){ .topic = topic, .data = wasmill_text(text) });
}

wasmill_result wasmill_testing_deliver_it(wasmill_delivery delivery) {
    if (delivery.id == NULL) delivery.id = "test-1";
    if (delivery.topic == NULL) delivery.topic = "test";
    if (delivery.queue == NULL) delivery.queue = "test";
    if (delivery.data.ptr == NULL) delivery.data = wasmill_text("");
    if (delivery.published_at_ms == 0) delivery.published_at_ms = UINT64_C(1767225600000);
    if (delivery.sequence == 0) delivery.sequence = 1;
    if (delivery.attempt == 0) delivery.attempt = 1;
    if (delivery.max_attempts == 0) delivery.max_attempts = 5;
    wasmill_forget_detail();
    return wasmill_handle(&delivery);
}

size_t wasmill_testing_published_len(void) {
    return published_len;
}

const wasmill_outgoing *wasmill_testing_published(size_t index) {
    return index < published_len ? &published[index] : NULL;
}

void wasmill_testing_answer(unsigned status, const char *body) {
    answers[next(&answers_len, "answers")] = (wasmill_response){ .status = status, .body = wasmill_text(body) };
}

size_t wasmill_testing_requests_len(void) {
    return requests_len;
}

const wasmill_request *wasmill_testing_request(size_t index) {
    return index < requests_len ? &requests[index] : NULL;
}

/* ---- What the host does --------------------------------------------------------------------------------------------------- */

wasmill_status wasmill_publish(const wasmill_outgoing *message, const char **id) {
    size_t index = next(&published_len, "messages");
    published[index] = *message;
    published[index].topic = copy_text(message->topic);
    published[index].key = copy_text(message->key);
    published[index].content_type = copy_text(message->content_type);
    published[index].headers = copy_pairs(message->headers, message->headers_len);
    published[index].data = copy(message->data.ptr == NULL ? wasmill_text("") : message->data);
    if (id != NULL) *id = wasmill_format("published-%zu", index + 1);
    return WASMILL_OK;
}

static wasmill_status check_key(const char *key) {
    size_t len = strlen(key);
    return len >= 1 && len <= 255 ? WASMILL_OK : wasmill_fail(WASMILL_INVALID_KEY, "keys are 1 to 255 bytes");
}

static item *find(const char *key) {
    for (size_t i = 0; i < state_len; i++)
        if (strcmp(state[i].key, key) == 0) return &state[i];
    return NULL;
}

wasmill_status wasmill_state_get(const char *key, wasmill_bytes *value) {
    const item *found = find(key);
    *value = found == NULL ? (wasmill_bytes){ NULL, 0 } : found->value;
    return check_key(key);
}

wasmill_status wasmill_state_set(const char *key, wasmill_bytes value) {
    wasmill_status status = check_key(key);
    if (status != WASMILL_OK) return status;
    item *found = find(key);
    if (found == NULL) {
        found = &state[next(&state_len, "keys")];
        found->key = copy_text(key);
    }
    found->value = copy(value.ptr == NULL ? wasmill_text("") : value);
    return WASMILL_OK;
}

wasmill_status wasmill_state_delete(const char *key) {
    item *found = find(key);
    if (found != NULL) *found = state[--state_len];
    return check_key(key);
}

wasmill_status wasmill_state_exists(const char *key, bool *exists) {
    *exists = find(key) != NULL;
    return check_key(key);
}

static int64_t add(int64_t number, int64_t delta) {
    if (delta > 0 && number > INT64_MAX - delta) return INT64_MAX;
    if (delta < 0 && number < INT64_MIN - delta) return INT64_MIN;
    return number + delta;
}

wasmill_status wasmill_state_increment(const char *key, int64_t delta) {
    const item *found = find(key);
    int64_t number = 0;
    if (found != NULL) {
        char *end;
        number = strtoll(found->value.ptr, &end, 10);
        if (found->value.len == 0 || *end != '\0') return wasmill_fail(WASMILL_NOT_AN_INTEGER, "");
    }
    return wasmill_state_set(key, wasmill_text(wasmill_format("%" PRId64, add(number, delta))));
}

static int by_bytes(const void *left, const void *right) {
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

wasmill_status wasmill_state_list_keys(const char *prefix, const char *after, wasmill_key_page *page) {
    const char **keys = wasmill_alloc(state_len * sizeof *keys);
    size_t len = 0;
    for (size_t i = 0; i < state_len; i++) {
        bool is_after = after == NULL || strcmp(state[i].key, after) > 0;
        if (is_after && strncmp(state[i].key, prefix, strlen(prefix)) == 0) keys[len++] = state[i].key;
    }
    qsort(keys, len, sizeof *keys, by_bytes);
    *page = (wasmill_key_page){ keys, len, NULL };
    return WASMILL_OK;
}

const char *wasmill_config(const char *key) {
    for (size_t i = 0; i < config_len; i++)
        if (strcmp(config[i].name, key) == 0) return config[i].value;
    return NULL;
}

size_t wasmill_config_all(const wasmill_pair **values) {
    *values = config;
    return config_len;
}

wasmill_status wasmill_http_send(const wasmill_request *request, wasmill_response *response) {
    size_t index = next(&requests_len, "requests");
    requests[index] = *request;
    requests[index].method = copy_text(request->method == NULL ? "GET" : request->method);
    requests[index].url = copy_text(request->url);
    requests[index].headers = copy_pairs(request->headers, request->headers_len);
    requests[index].body = copy(request->body);
    if (index >= answers_len) return wasmill_fail(WASMILL_HTTP_FAILED, "connection refused");
    *response = answers[index];
    return WASMILL_OK;
}

#endif
