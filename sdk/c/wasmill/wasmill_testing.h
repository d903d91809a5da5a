/* A stand-in for the host, so that unit tests call a handler natively: compile it with the host's compiler, this folder and a test.
 *
 *     wasmill_testing_reset();
 *     wasmill_testing_config("magnitude-min", "6.0");
 *     wasmill_result result = wasmill_testing_deliver("quakes", "{\"magnitude\": 6.1, \"place\": \"Hualien\"}");
 *     assert(result.outcome == WASMILL_SUCCESS);
 *     assert(strcmp(wasmill_testing_published(0)->topic, "alerts") == 0);
 *     assert(strcmp(wasmill_testing_state("seen"), "1") == 0);
 *
 * Effects are applied at once, also those of a failed call, and there are no limits: commits, retries and fuel show in
 * `wasmill test`. What these functions give lives until the next reset; they make no copy of the text that they are given. */
#ifndef WASMILL_TESTING_H
#define WASMILL_TESTING_H

#include "wasmill.h"
#include "wasmill_http.h"

/* Forget everything. */
void wasmill_testing_reset(void);
void wasmill_testing_config(const char *key, const char *value);
void wasmill_testing_set_state(const char *key, const char *value);

/* Call the handler with a message of that text. */
wasmill_result wasmill_testing_deliver(const char *topic, const char *text);
/* Call it with whatever you like; what is NULL or 0 is filled in. */
wasmill_result wasmill_testing_deliver_it(wasmill_delivery delivery);

/* What the handler did. */
size_t wasmill_testing_published_len(void);
const wasmill_outgoing *wasmill_testing_published(size_t index); /* NULL: there are not so many */
const char *wasmill_testing_state(const char *key);              /* NULL: there is none */

/* The next requests get these answers, in this order; one that finds none is refused. */
void wasmill_testing_answer(unsigned status, const char *body);
size_t wasmill_testing_requests_len(void);
const wasmill_request *wasmill_testing_request(size_t index); /* NULL: there are not so many */

#endif
