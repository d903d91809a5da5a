//! What became of a message: what caused it, what it caused, and how far each consumer is.

use axum::{Json, Router, extract::State, routing::get};
use wasmill_delivery::name::MessageId;
use wasmill_runtime::WhyAnswer;

use super::{App, extract::Params, problem::Problem};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/messages/{id}/why", get(why))
}

async fn why(State(app): State<App>, Params(id): Params<String>) -> Result<Json<WhyAnswer>, Problem> {
    let id = MessageId::new(id)?;
    let found = app.host.why(id.clone()).await?;
    found.map(Json).ok_or_else(|| {
        let detail = format!(
            "nothing is kept of message {id} or of what it caused: it never was, or every consumer has settled it and \
             its queue has no retention"
        );
        Problem::unknown("unknown-message", detail)
    })
}
