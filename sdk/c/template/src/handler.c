/* Counts every earthquake, and publishes an alert for the strong ones. */
#include "wasmill.h"
#include "wasmill_json.h"

static wasmill_result on_quake(const wasmill_delivery *delivery) {
    const cJSON *quake = wasmill_json_parse(delivery->data);
    if (quake == NULL) return wasmill_reject("not a quake: %s", wasmill_detail());
    const cJSON *magnitude = cJSON_GetObjectItemCaseSensitive(quake, "magnitude");
    const cJSON *place = cJSON_GetObjectItemCaseSensitive(quake, "place");
    if (!cJSON_IsNumber(magnitude) && !cJSON_IsNull(magnitude)) return wasmill_reject("not a quake: magnitude must be a number or null");
    if (!cJSON_IsString(place)) return wasmill_reject("not a quake: place must be a string");

    WASMILL_TRY(wasmill_state_increment("seen", 1));
    double strength = cJSON_IsNull(magnitude) ? 0 : magnitude->valuedouble, strong;
    WASMILL_TRY(wasmill_config_number("magnitude-min", 5.0, &strong));
    if (strength < strong) return wasmill_ok();

    printf("strong: %.1f, %s\n", strength, place->valuestring);
    cJSON *alert = cJSON_CreateObject();
    cJSON_AddNumberToObject(alert, "magnitude", strength);
    cJSON_AddStringToObject(alert, "place", place->valuestring);
    WASMILL_TRY(wasmill_publish_json("alerts", place->valuestring, alert));
    return wasmill_ok();
}
WASMILL_HANDLER(on_quake)
