/* The handler of the conformance suite in C: does what the topic says (../README.md). */
#include "wasmill.h"
#include "wasmill_http.h"
#include "wasmill_json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static wasmill_result say(const char *text) {
    WASMILL_TRY(wasmill_publish_text("out", NULL, text));
    return wasmill_ok();
}

static wasmill_result say_json(const cJSON *json) {
    WASMILL_TRY(wasmill_publish_json("out", NULL, json));
    return wasmill_ok();
}

static const char *text_of(const cJSON *object, const char *name) {
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static uint64_t number_of(const cJSON *object, const char *name) {
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(number) ? (uint64_t)number->valuedouble : 0;
}

static void add_text_or_null(cJSON *object, const char *name, const char *text) {
    cJSON_AddItemToObject(object, name, text == NULL ? cJSON_CreateNull() : cJSON_CreateString(text));
}

static const wasmill_pair *pairs_of(const cJSON *object, size_t *len) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, "headers");
    wasmill_pair *pairs = wasmill_alloc((size_t)cJSON_GetArraySize(list) * sizeof *pairs);
    *len = 0;
    const cJSON *pair;
    cJSON_ArrayForEach(pair, list) {
        const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(pair, 0));
        const char *value = cJSON_GetStringValue(cJSON_GetArrayItem(pair, 1));
        pairs[(*len)++] = (wasmill_pair){ name, value };
    }
    return pairs;
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static wasmill_result echo(const wasmill_delivery *delivery) {
    wasmill_outgoing message = {
        .topic = "out",
        .key = delivery->key,
        .content_type = delivery->content_type,
        .headers = delivery->headers,
        .headers_len = delivery->headers_len,
        .data = delivery->data,
    };
    WASMILL_TRY(wasmill_publish(&message, NULL));
    return wasmill_ok();
}

static wasmill_result fields(const wasmill_delivery *delivery) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", delivery->id);
    cJSON_AddStringToObject(json, "topic", delivery->topic);
    add_text_or_null(json, "key", delivery->key);
    add_text_or_null(json, "contentType", delivery->content_type);
    cJSON *headers = cJSON_AddArrayToObject(json, "headers");
    for (size_t i = 0; i < delivery->headers_len; i++) {
        const char *pair[] = { delivery->headers[i].name, delivery->headers[i].value };
        cJSON_AddItemToArray(headers, cJSON_CreateStringArray(pair, 2));
    }
    cJSON_AddNumberToObject(json, "length", (double)delivery->data.len);
    cJSON_AddNumberToObject(json, "publishedAt", (double)delivery->published_at_ms);
    cJSON_AddStringToObject(json, "queue", delivery->queue);
    cJSON_AddNumberToObject(json, "sequence", (double)delivery->sequence);
    cJSON_AddNumberToObject(json, "attempt", delivery->attempt);
    cJSON_AddNumberToObject(json, "maxAttempts", delivery->max_attempts);
    return say_json(json);
}

static wasmill_result publish(const cJSON *asked) {
    size_t headers_len;
    const wasmill_pair *headers = pairs_of(asked, &headers_len);
    wasmill_outgoing message = {
        .topic = text_of(asked, "topic"),
        .key = text_of(asked, "key"),
        .content_type = text_of(asked, "contentType"),
        .headers = headers,
        .headers_len = headers_len,
        .data = wasmill_text(text_of(asked, "text")),
        .delay_ms = number_of(asked, "delayMs"),
        .expires_after_ms = number_of(asked, "expiresAfterMs"),
    };
    const char *id;
    wasmill_status status = wasmill_publish(&message, &id);
    return say(status == WASMILL_OK ? id : wasmill_format("error: %s", wasmill_status_name(status)));
}

static wasmill_status list_keys(const char *prefix, const char *after, cJSON **answer) {
    wasmill_key_page page;
    wasmill_status status = wasmill_state_list_keys(prefix, after, &page);
    *answer = cJSON_CreateObject();
    cJSON_AddItemToObject(*answer, "keys", cJSON_CreateStringArray(page.keys, (int)page.keys_len));
    add_text_or_null(*answer, "next", page.next);
    return status;
}

static cJSON *state_step(const cJSON *step) {
    const char *what = cJSON_GetStringValue(cJSON_GetArrayItem(step, 0)), *key = cJSON_GetStringValue(cJSON_GetArrayItem(step, 1));
    const cJSON *argument = cJSON_GetArrayItem(step, 2);
    wasmill_status status = WASMILL_OK;
    cJSON *answer = cJSON_CreateNull();
    if (strcmp(what, "get") == 0) {
        wasmill_bytes value;
        status = wasmill_state_get(key, &value);
        if (value.ptr != NULL) answer = cJSON_CreateString(value.ptr);
    } else if (strcmp(what, "set") == 0) {
        status = wasmill_state_set(key, wasmill_text(argument->valuestring));
    } else if (strcmp(what, "delete") == 0) {
        status = wasmill_state_delete(key);
    } else if (strcmp(what, "exists") == 0) {
        bool exists = false;
        status = wasmill_state_exists(key, &exists);
        answer = cJSON_CreateBool(exists);
    } else if (strcmp(what, "increment") == 0) {
        status = wasmill_state_increment(key, (int64_t)argument->valuedouble);
    } else if (strcmp(what, "list") == 0) {
        status = list_keys(key, cJSON_GetStringValue(argument), &answer);
    }
    if (status == WASMILL_OK) return answer;
    cJSON *error = cJSON_CreateObject();
    cJSON_AddStringToObject(error, "error", wasmill_status_name(status));
    return error;
}

static wasmill_result state(const cJSON *steps) {
    cJSON *answers = cJSON_CreateArray();
    const cJSON *step;
    cJSON_ArrayForEach(step, steps) cJSON_AddItemToArray(answers, state_step(step));
    return say_json(answers);
}

static wasmill_result state_size(const cJSON *asked) {
    size_t len = (size_t)number_of(asked, "bytes");
    char *value = wasmill_alloc(len);
    memset(value, 'x', len);
    wasmill_status status = wasmill_state_set(text_of(asked, "key"), (wasmill_bytes){ value, len });
    return say(status == WASMILL_OK ? "ok" : wasmill_format("error: %s", wasmill_status_name(status)));
}

static wasmill_result config(const char *key) {
    const char *value = wasmill_config(key);
    return say(value == NULL ? "(none)" : value);
}

static wasmill_result config_all(void) {
    const wasmill_pair *values = NULL;
    size_t len = wasmill_config_all(&values);
    cJSON *json = cJSON_CreateObject();
    for (size_t i = 0; i < len; i++) cJSON_AddStringToObject(json, values[i].name, values[i].value);
    return say_json(json);
}

static wasmill_result random_bytes(void) {
    unsigned char bytes[16];
    if (getentropy(bytes, sizeof bytes) != 0) return wasmill_retry("no random bytes");
    char digits[2 * sizeof bytes + 1];
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(digits + 2 * i, 3, "%02x", bytes[i]);
    return say(digits);
}

static wasmill_result http(const cJSON *asked) {
    size_t headers_len;
    const wasmill_pair *headers = pairs_of(asked, &headers_len);
    wasmill_request request = {
        .method = text_of(asked, "method"),
        .url = text_of(asked, "url"),
        .headers = headers,
        .headers_len = headers_len,
        .body = wasmill_text(text_of(asked, "text")),
    };
    wasmill_response response;
    wasmill_status status = wasmill_http_send(&request, &response);
    cJSON *json = cJSON_CreateObject();
    if (status == WASMILL_OK) {
        cJSON_AddNumberToObject(json, "status", response.status);
        cJSON_AddStringToObject(json, "text", response.body.ptr);
    } else {
        fprintf(stderr, "%s: %s\n", wasmill_status_name(status), wasmill_detail());
        cJSON_AddTrueToObject(json, "error");
    }
    return say_json(json);
}

static wasmill_result retry(const cJSON *asked) {
    return wasmill_retry_after(number_of(asked, "afterMs"), "%s", text_of(asked, "reason"));
}

static bool is_due(const wasmill_delivery *delivery, uint64_t after_ms) {
    return now_ms() >= delivery->published_at_ms + after_ms;
}

static wasmill_result voided(void) {
    WASMILL_TRY(wasmill_state_set("void", wasmill_text("1")));
    WASMILL_TRY(wasmill_publish_text("out", NULL, "void"));
    return wasmill_reject("all of it is void");
}

/* What C calls an error is a status that is not OK. */
static wasmill_result fail(const char *text) {
    return wasmill_failed(text, WASMILL_UNAVAILABLE);
}

static wasmill_result spin(void) {
    for (volatile uint64_t i = 0;; i++) {}
}

static wasmill_result allocate(void) {
    enum { STEP_BYTES = 1024 * 1024 };
    for (;;) {
        volatile char *more = malloc(STEP_BYTES);
        if (more == NULL) abort();
        more[0] = more[STEP_BYTES - 1] = 1;
    }
}

static wasmill_result on_message(const wasmill_delivery *delivery) {
    const char *topic = delivery->topic, *text = delivery->data.ptr;
    if (strncmp(topic, "do.", 3) != 0) return wasmill_reject("unknown topic");
    const char *what = topic + 3;
    const cJSON *json = wasmill_json_parse(delivery->data);
    if (strcmp(what, "echo") == 0) return echo(delivery);
    if (strcmp(what, "fields") == 0) return fields(delivery);
    if (strcmp(what, "publish") == 0) return publish(json);
    if (strcmp(what, "state") == 0) return state(json);
    if (strcmp(what, "state-size") == 0) return state_size(json);
    if (strcmp(what, "config") == 0) return config(text);
    if (strcmp(what, "config-all") == 0) return config_all();
    if (strcmp(what, "clock") == 0) return say(wasmill_format("%" PRIu64, now_ms()));
    if (strcmp(what, "random") == 0) return random_bytes();
    if (strcmp(what, "log") == 0) {
        printf("%s\n", text);
        fprintf(stderr, "err: %s\n", text);
        return wasmill_ok();
    }
    if (strcmp(what, "http") == 0) return http(json);
    if (strcmp(what, "retry") == 0) return retry(json);
    if (strcmp(what, "defer") == 0) {
        uint64_t after_ms = number_of(json, "afterMs");
        return is_due(delivery, after_ms) ? say("ran") : wasmill_defer(after_ms);
    }
    if (strcmp(what, "throttle") == 0) {
        uint64_t after_ms = number_of(json, "afterMs");
        return is_due(delivery, after_ms) ? say("ran") : wasmill_throttle(after_ms);
    }
    if (strcmp(what, "reject") == 0) return wasmill_reject("%s", text);
    if (strcmp(what, "error") == 0) return fail(text);
    if (strcmp(what, "panic") == 0) abort();
    if (strcmp(what, "void") == 0) return voided();
    if (strcmp(what, "spin") == 0) return spin();
    if (strcmp(what, "allocate") == 0) return allocate();
    if (strcmp(what, "exit") == 0) exit(1);
    return wasmill_reject("unknown topic");
}
WASMILL_HANDLER(on_message)
