/* The SDK natively, against its own stand-in for the host. */
#undef NDEBUG
#include "wasmill_http.h"
#include "wasmill_json.h"
#include "wasmill_testing.h"

#include <assert.h>
#include <string.h>

/* The handler calls whatever the test wants called. */
static wasmill_result (*handler)(const wasmill_delivery *);
static wasmill_result on_message(const wasmill_delivery *delivery) {
    return handler(delivery);
}
WASMILL_HANDLER(on_message)

static bool is(const char *left, const char *right) {
    return left != NULL && strcmp(left, right) == 0;
}

static wasmill_result ask_answers(const wasmill_delivery *delivery) {
    (void)delivery;
    wasmill_result result = wasmill_retry("%d of %s", 1, "2");
    assert(result.outcome == WASMILL_RETRY && is(result.reason, "1 of 2") && result.after_ms == 0);
    result = wasmill_retry_after(5, "later");
    assert(result.outcome == WASMILL_RETRY && result.after_ms == 5);
    result = wasmill_reject("not UTF-8: %s", "a\xff\xc3|b");
    assert(result.outcome == WASMILL_REJECT && is(result.reason, "not UTF-8: a??|b"));
    assert(wasmill_defer(7).outcome == WASMILL_DEFER && wasmill_defer(7).after_ms == 7);
    assert(wasmill_throttle(8).outcome == WASMILL_THROTTLE && wasmill_throttle(8).after_ms == 8);
    WASMILL_TRY(wasmill_state_set("", wasmill_text("x")));
    return wasmill_ok();
}

static void answers(void) {
    handler = ask_answers;
    wasmill_result result = wasmill_testing_deliver("any", "");
    assert(result.outcome == WASMILL_RETRY);
    assert(strstr(result.reason, "invalid-key: keys are 1 to 255 bytes") != NULL);
}

static wasmill_result ask_for_a_detail(const wasmill_delivery *delivery) {
    if (delivery->sequence == 1) return wasmill_state_delete("") == WASMILL_OK ? wasmill_retry("no error") : wasmill_ok();
    return wasmill_failed("asking", WASMILL_UNAVAILABLE);
}

static void details_are_of_their_delivery(void) {
    handler = ask_for_a_detail;
    assert(wasmill_testing_deliver_it((wasmill_delivery){ .sequence = 1 }).outcome == WASMILL_SUCCESS);
    assert(is(wasmill_detail(), "keys are 1 to 255 bytes"));
    assert(is(wasmill_testing_deliver_it((wasmill_delivery){ .sequence = 2 }).reason, "asking: unavailable"));
    wasmill_state_delete("");
    wasmill_testing_reset();
    assert(is(wasmill_detail(), ""));
}

static void text_is_utf8(void) {
    const char *good[] = { "", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x94\xa5", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert(wasmill_is_utf8(wasmill_text(good[i])));
    /* A lone continuation, overlong forms, a surrogate, beyond the last character, cut off. */
    const char *bad[] = { "\x80", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert(!wasmill_is_utf8(wasmill_text(bad[i])));
}

static void memory_is_zero_and_apart(void) {
    size_t sizes[] = { 0, 1, 15, 16, 17, 65535, 65536, 1000000 };
    for (int round = 0; round < 3; round++) {
        wasmill_testing_reset();
        char *before = NULL;
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            char *given = wasmill_alloc(sizes[i]);
            assert(given != before && (uintptr_t)given % 16 == 0);
            for (size_t at = 0; at < sizes[i]; at++) assert(given[at] == 0);
            memset(given, 'x', sizes[i]);
            before = given;
        }
    }
}

static void state_is_kept(void) {
    wasmill_bytes value;
    assert(wasmill_state_get("a", &value) == WASMILL_OK && value.ptr == NULL);
    assert(wasmill_state_set("a", wasmill_text("")) == WASMILL_OK);
    assert(wasmill_state_get("a", &value) == WASMILL_OK && value.ptr != NULL && value.len == 0);
    assert(wasmill_state_increment("n", 5) == WASMILL_OK && wasmill_state_increment("n", -7) == WASMILL_OK);
    assert(is(wasmill_testing_state("n"), "-2"));
    assert(wasmill_state_increment("a", 1) == WASMILL_NOT_AN_INTEGER);
    assert(wasmill_state_set("big", wasmill_text("9223372036854775807")) == WASMILL_OK);
    assert(wasmill_state_increment("big", 1) == WASMILL_OK && is(wasmill_testing_state("big"), "9223372036854775807"));
    wasmill_key_page page;
    assert(wasmill_state_list_keys("", "a", &page) == WASMILL_OK && page.keys_len == 2 && is(page.keys[0], "big"));
    bool exists = true;
    assert(wasmill_state_delete("a") == WASMILL_OK && wasmill_state_exists("a", &exists) == WASMILL_OK && !exists);
}

static void configuration(void) {
    double number;
    assert(wasmill_config_number("limit", 2.5, &number) == WASMILL_OK && number == 2.5);
    wasmill_testing_config("limit", "4");
    assert(wasmill_config_number("limit", 2.5, &number) == WASMILL_OK && number == 4);
    wasmill_testing_config("wrong", "4 or 5");
    assert(wasmill_config_number("wrong", 2.5, &number) == WASMILL_INVALID_CONFIG);
    assert(strstr(wasmill_detail(), "'4 or 5'") != NULL);
}

static void json(void) {
    assert(wasmill_json_parse(wasmill_text("")) == NULL && is(wasmill_detail(), "no data"));
    assert(wasmill_json_parse(wasmill_text("{} {}")) == NULL && is(wasmill_detail(), "broken JSON at byte 3 of 5"));
    assert(wasmill_json_parse(wasmill_text("\"\xff\"")) == NULL && is(wasmill_detail(), "broken JSON: not UTF-8"));
    wasmill_bytes garbage = { "{}\0{}", 5 }, zeros = { "{}\0\0", 4 };
    assert(wasmill_json_parse(garbage) == NULL && is(wasmill_detail(), "broken JSON at byte 2 of 5"));
    assert(wasmill_json_parse(zeros) == NULL && is(wasmill_detail(), "broken JSON at byte 2 of 4"));
    assert(wasmill_json_parse(wasmill_text("[\x01 1]")) == NULL && is(wasmill_detail(), "broken JSON at byte 1 of 5"));
    assert(wasmill_json_parse(wasmill_text("\t[\r\n\"\\u0000\"]")) != NULL);
    const cJSON *list = wasmill_json_parse(wasmill_text(" [1, \"\\u00e4\", 1767225600000] "));
    assert(is(wasmill_json_print(list).ptr, "[1,\"\xc3\xa4\",1767225600000]"));
    assert(wasmill_publish_json("t", NULL, list) == WASMILL_OK);
    assert(is(wasmill_testing_published(0)->content_type, "application/json") && wasmill_testing_published(0)->key == NULL);
    assert(wasmill_testing_published(1) == NULL);
}

static void http(void) {
    wasmill_request request = { .url = "https://example.com/" };
    wasmill_response response;
    assert(wasmill_http_send(&request, &response) == WASMILL_HTTP_FAILED);
    wasmill_testing_reset();
    wasmill_testing_answer(503, "busy");
    assert(wasmill_http_send(&request, &response) == WASMILL_OK && response.status == 503 && is(response.body.ptr, "busy"));
    assert(is(wasmill_testing_request(0)->method, "GET") && wasmill_testing_request(1) == NULL);
}

static wasmill_result ask_headers(const wasmill_delivery *delivery) {
    assert(is(wasmill_header(delivery, "b"), "2") && wasmill_header(delivery, "c") == NULL);
    assert(delivery->attempt == 3 && delivery->max_attempts == 5 && is(delivery->id, "test-1"));
    return wasmill_ok();
}

static void headers(void) {
    handler = ask_headers;
    wasmill_pair pairs[] = { { "a", "1" }, { "b", "2" }, { "b", "3" } };
    wasmill_delivery delivery = { .headers = pairs, .headers_len = 3, .attempt = 3 };
    assert(wasmill_testing_deliver_it(delivery).outcome == WASMILL_SUCCESS);
}

int main(void) {
    void (*tests[])(void) = { answers, details_are_of_their_delivery, text_is_utf8, memory_is_zero_and_apart,
                              state_is_kept, configuration, json, http, headers };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        wasmill_testing_reset();
        tests[i]();
    }
    printf("%zu passed\n", sizeof tests / sizeof *tests);
    return 0;
}
