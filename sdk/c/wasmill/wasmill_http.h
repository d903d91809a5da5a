/* HTTP requests to where the operator lets this handler go ([handler.NAME.grants] of the host's configuration).
 *
 *     wasmill_pair headers[] = { { "authorization", wasmill_format("Bearer %s", wasmill_config("API_KEY")) } };
 *     wasmill_request request = {
 *         .method = "POST", .url = "https://api.example.com/notes", .headers = headers, .headers_len = 1, .body = delivery->data,
 *     };
 *     wasmill_response response;
 *     WASMILL_TRY(wasmill_http_send(&request, &response));
 *     if (response.status == 429) return wasmill_defer(30000);
 *
 * The delivery may run again, so let the receiver tell repeats apart: send the message's id along. While a handler waits it
 * uses no fuel, and its limit of wall clock goes on. Redirects are not followed. A component imports HTTP only when it uses this. */
#ifndef WASMILL_HTTP_H
#define WASMILL_HTTP_H

#include "wasmill.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wasmill_request {
    const char *method; /* NULL: GET */
    const char *url;    /* https://host:port/path?query */
    const wasmill_pair *headers; /* the host writes `host` and what belongs to the connection */
    size_t headers_len;
    wasmill_bytes body;
    uint64_t timeout_ms; /* how long to wait for the answer to begin; 0: as long as the attempt may last */
} wasmill_request;

typedef struct wasmill_response {
    unsigned status;
    const wasmill_pair *headers; /* names are lower case */
    size_t headers_len;
    wasmill_bytes body;
} wasmill_response;

/* Send it, and wait for all of the answer. A status such as 503 is an answer, and no error. */
wasmill_status wasmill_http_send(const wasmill_request *request, wasmill_response *response);
/* The first header of that name (in lower case), or NULL. */
const char *wasmill_response_header(const wasmill_response *response, const char *name);

#ifdef __cplusplus
}
#endif
#endif
