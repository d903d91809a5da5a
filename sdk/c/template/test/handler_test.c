/* Runs natively: ./build.sh test */
#undef NDEBUG
#include "wasmill_testing.h"

#include <assert.h>
#include <string.h>

static void strong_quakes_are_published(void) {
    wasmill_testing_reset();
    wasmill_result result = wasmill_testing_deliver("quakes", "{\"magnitude\": 6.1, \"place\": \"Hualien, Taiwan\"}");
    assert(result.outcome == WASMILL_SUCCESS);
    assert(wasmill_testing_published_len() == 1);
    const wasmill_outgoing *alert = wasmill_testing_published(0);
    assert(strcmp(alert->topic, "alerts") == 0);
    assert(strcmp(alert->key, "Hualien, Taiwan") == 0);
    assert(strcmp(alert->data.ptr, "{\"magnitude\":6.1,\"place\":\"Hualien, Taiwan\"}") == 0);
    assert(strcmp(wasmill_testing_state("seen"), "1") == 0);
}

static void what_is_strong_is_configured(void) {
    wasmill_testing_reset();
    wasmill_testing_config("magnitude-min", "6.5");
    wasmill_testing_deliver("quakes", "{\"magnitude\": 6.4, \"place\": \"Suva, Fiji\"}");
    wasmill_testing_deliver("quakes", "{\"magnitude\": null, \"place\": \"Nevada\"}");
    assert(wasmill_testing_published_len() == 0);
    assert(strcmp(wasmill_testing_state("seen"), "2") == 0);
}

static void what_is_no_quake_is_rejected(void) {
    const char *wrong[] = { "", "{\"magnitude\": 6.1", "{\"place\": \"Tonga\"}", "{\"magnitude\": 6.1, \"place\": \"Tonga\"} x" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        wasmill_testing_reset();
        wasmill_result result = wasmill_testing_deliver("quakes", wrong[i]);
        assert(result.outcome == WASMILL_REJECT);
        assert(strncmp(result.reason, "not a quake: ", 13) == 0);
        assert(wasmill_testing_state("seen") == NULL);
    }
}

static void a_count_that_is_no_number_is_tried_again(void) {
    wasmill_testing_reset();
    wasmill_testing_set_state("seen", "many");
    wasmill_result result = wasmill_testing_deliver("quakes", "{\"magnitude\": 1, \"place\": \"Nevada\"}");
    assert(result.outcome == WASMILL_RETRY);
    assert(strstr(result.reason, "not-an-integer") != NULL);
}

int main(void) {
    strong_quakes_are_published();
    what_is_strong_is_configured();
    what_is_no_quake_is_rejected();
    a_count_that_is_no_number_is_tried_again();
    puts("4 passed");
    return 0;
}
