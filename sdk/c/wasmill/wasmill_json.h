/* JSON, by cJSON (https://github.com/DaveGamble/cJSON, MIT). What it makes is freed when the handler returns, like all that
 * Wasmill gives: cJSON_Delete is not needed. */
#ifndef WASMILL_JSON_H
#define WASMILL_JSON_H

#include "cjson/cJSON.h"
#include "wasmill.h"

#ifdef __cplusplus
extern "C" {
#endif

/* NULL when it is no JSON, with all that follows it; wasmill_detail() says what is wrong. */
cJSON *wasmill_json_parse(wasmill_bytes text);
wasmill_bytes wasmill_json_print(const cJSON *json);
/* `key` may be NULL. */
wasmill_status wasmill_publish_json(const char *topic, const char *key, const cJSON *json);

#ifdef __cplusplus
}
#endif
#endif
