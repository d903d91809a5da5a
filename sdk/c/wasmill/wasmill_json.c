#include "wasmill_json.h"

#include "wasmill_internal.h"

static void freed_with_the_delivery(void *pointer) {
    (void)pointer;
}

__attribute__((__constructor__)) static void use_the_arena(void) {
    cJSON_Hooks hooks = { wasmill_alloc, freed_with_the_delivery };
    cJSON_InitHooks(&hooks);
}

/* cJSON takes all control characters for white space, zero bytes too. JSON has only these. */
static bool is_of_json(unsigned char byte) {
    return byte >= 0x20 || byte == '\t' || byte == '\n' || byte == '\r';
}

cJSON *wasmill_json_parse(wasmill_bytes text) {
    if (text.len == 0) {
        wasmill_fail(WASMILL_OK, "no data");
        return NULL;
    }
    if (!wasmill_is_utf8(text)) {
        wasmill_fail(WASMILL_OK, "broken JSON: not UTF-8");
        return NULL;
    }
    size_t at = 0;
    while (at < text.len && is_of_json(text.ptr[at])) at++;
    cJSON *json = NULL;
    if (at == text.len) {
        const char *end = NULL;
        /* With the zero byte that is behind it, so that nothing else can follow. */
        json = cJSON_ParseWithLengthOpts(text.ptr, text.len + 1, &end, true);
        at = end == NULL ? 0 : (size_t)(end - text.ptr);
    }
    if (json == NULL) {
        wasmill_fail(WASMILL_OK, wasmill_format("broken JSON at byte %zu of %zu", at, text.len));
    }
    return json;
}

wasmill_bytes wasmill_json_print(const cJSON *json) {
    return wasmill_text(cJSON_PrintUnformatted(json));
}

wasmill_status wasmill_publish_json(const char *topic, const char *key, const cJSON *json) {
    wasmill_outgoing message = {
        .topic = topic, .key = key, .content_type = "application/json", .data = wasmill_json_print(json)
    };
    return wasmill_publish(&message, NULL);
}
